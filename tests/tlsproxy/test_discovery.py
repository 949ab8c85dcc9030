"""Names that the network knows us by: proposed where they lead back, doubted with a reason where not."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from pathlib import Path

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from tlsproxy import policy_requests as policy
from tlsproxy.cli import main
from tlsproxy.discovery import discover, read_domains
from tlsproxy.errors import ExitCode
from tlsproxy.proposals import Proposals, judge, search_domains, worth_asking

HERE = "192.0.2.7"
Zone = Mapping[str, tuple[str, ...] | int | None]


class Resolver(trio.abc.HostnameResolver):
    """Answers from a zone: values, an error's number, or (None) never."""

    def __init__(self, zone: Zone) -> None:
        self.zone = zone
        self.asked: list[str] = []

    async def _answer(self, about: str) -> tuple[str, ...]:
        self.asked.append(about)
        answer = self.zone.get(about, socket.EAI_NONAME)
        if answer is None:
            await trio.sleep_forever()
        if isinstance(answer, int):
            raise socket.gaierror(answer, "as the zone says")
        assert answer is not None
        return answer

    async def getaddrinfo(self, host, *_rest, **_more):
        host = host.decode() if isinstance(host, bytes) else host
        found = await self._answer(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in found]

    async def getnameinfo(self, sockaddr, flags):
        assert flags & socket.NI_NAMEREQD, "an address is no name"
        return (await self._answer(sockaddr[0]))[0], "0"


async def found_in(zone: Zone, *addresses: str, host: str = "", domains: tuple[str, ...] = ()) -> Proposals:
    trio.socket.set_custom_hostname_resolver(Resolver(zone))
    return await discover(addresses or (HERE,), host, domains)


async def test_a_name_that_leads_back_is_proposed_with_the_reason():
    found = await found_in({HERE: ("Pump-7.Site.Example.",), "pump-7.site.example": ("10.9.9.9", HERE)})
    assert found.proposed == {"pump-7.site.example": f"{HERE} is called so, and the name leads to {HERE}"}
    assert not found.doubtful


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (("203.0.113.1",), "leads to 203.0.113.1, which is not this device"),
        ((), "leads nowhere"),
        (socket.EAI_NONAME, "leads nowhere"),
        (socket.EAI_AGAIN, "nobody answered"),
    ],
)
async def test_a_name_that_leads_elsewhere_is_doubted(answer, words):
    found = await found_in({HERE: ("bank.example",), "bank.example": answer})
    assert not found.proposed
    assert words in found.doubtful["bank.example"]


async def test_the_hosts_own_name_is_asked_for_in_its_domains_and_by_multicast():
    zone = {"pump-7.site.example": (HERE,), "pump-7.local": (HERE,), "pump-7.old.example": ("203.0.113.1",)}
    found = await found_in(zone, host="pump-7", domains=("site.example", "old.example"))
    assert list(found.proposed) == ["pump-7.site.example", "pump-7.local"]
    assert all("see that other machines know it too" in why for why in found.proposed.values())
    assert list(found.doubtful) == ["pump-7.old.example"]


async def test_a_resolver_that_says_nothing_is_told_and_holds_nobody_up(autojump_clock):
    began = trio.current_time()
    zone = {HERE: None, "192.0.2.8": ("a.example",), "a.example": None, "b.c.example": ("192.0.2.8",)}
    found = await found_in(zone, HERE, "192.0.2.8", host="b", domains=("c.example",))
    assert trio.current_time() - began <= policy.DISCOVERY_S
    assert list(found.proposed) == ["b.c.example"]
    assert found.doubtful[HERE] == "nobody answered in time what it is called"
    assert "nobody answered in time where" in found.doubtful["a.example"]


async def test_so_many_are_asked_about_and_no_more():
    resolver = Resolver({f"10.0.0.{n}": (f"n{n}.example",) for n in range(100)})
    trio.socket.set_custom_hostname_resolver(resolver)
    await discover([f"10.0.0.{n}" for n in range(100)], "pump", ("a.example",))
    assert len(resolver.asked) == policy.ADDRESSES_ASKED + policy.NAMES_ASKED


@pytest.mark.parametrize(
    "name",
    [
        *("localhost", "localhost.site.example", "a.localhost", "pump", "pump.localdomain", "x.invalid"),
        *("7.2.0.192.in-addr.arpa", "192.0.2.7", "*.site.example", "a b.example", "", "\x1b[2J.example"),
    ],
)
def test_what_is_nobodys_name_is_not_even_asked_for(name):
    assert worth_asking({HERE: (name,)}, "localhost", ()) == ()
    assert name not in worth_asking({}, name, ("localdomain",))


@given(
    st.dictionaries(
        st.sampled_from(["a.x", "b.x", "c.x"]), st.none() | st.lists(st.ip_addresses().map(str)).map(tuple)
    ),
    st.lists(st.ip_addresses(v=4).map(str), max_size=4),
)
def test_nothing_is_proposed_that_does_not_lead_to_us_and_nothing_is_lost(forward, addresses):
    found = judge(dict.fromkeys(addresses, ("a.x",)), forward, "", ())
    assert {*found.proposed, *found.doubtful} == {*forward}
    for name in found.proposed:
        assert {*(forward[name] or ())} & {*addresses}


def test_the_last_line_of_a_resolv_conf_counts_and_a_missing_one_says_nothing(tmp_path: Path):
    assert search_domains("search a.example\n# search b.example\nsearch C.example . c.example\n\n") == (
        "c.example",
    )
    assert search_domains("domain site.example\nnameserver 192.0.2.1\n") == ("site.example",)
    assert read_domains(tmp_path / "none") == ()
    (tmp_path / "resolv.conf").write_bytes(b"search \xff site.example\n")
    assert read_domains(tmp_path / "resolv.conf") == ("site.example",)


class TestTheCommand:
    """By the system's own functions, in threads, with the network's answers put in."""

    @pytest.fixture(autouse=True)
    def network(self, monkeypatch):
        names = {HERE: ("pump-7.site.example", "0")}
        places = {b"pump-7.site.example": HERE, "pump-7.site.example": HERE}

        def getnameinfo(sockaddr, flags):
            return names[sockaddr[0]]

        def getaddrinfo(host, *rest, **more):
            if host not in places:
                raise socket.gaierror(socket.EAI_NONAME, "unknown")
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (places[host], 0))]

        monkeypatch.setattr("socket.getnameinfo", getnameinfo)
        monkeypatch.setattr("socket.getaddrinfo", getaddrinfo)
        monkeypatch.setattr("socket.gethostname", lambda: "pump-9")
        monkeypatch.setattr("tlsproxy.net.addresses.stable_addresses", lambda: (HERE,))

    def test_it_says_what_to_type(self, capsys):
        assert main(["certs", "csr", "names"]) == ExitCode.DONE
        said = capsys.readouterr().out.splitlines()
        assert said[0].startswith("proposed: pump-7.site.example: ")
        assert said[-1] == "to ask for one: tlsproxy certs csr --name pump-7.site.example"
        assert any(line.startswith("not proposed: pump-9.local: ") for line in said)

    def test_programs_get_json_and_nothing_is_made(self, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        assert main(["certs", "csr", "names", "--json"]) == ExitCode.DONE
        told = json.loads(capsys.readouterr().out)
        assert [one["name"] for one in told["proposed"]] == ["pump-7.site.example"]
        assert not list(tmp_path.iterdir())

    def test_a_request_without_a_name_leads_here(self, tmp_path, capsys):
        assert main(["certs", "csr", "--store", str(tmp_path / "store")]) == ExitCode.MISUSE
        assert "tlsproxy certs csr names" in capsys.readouterr().err
