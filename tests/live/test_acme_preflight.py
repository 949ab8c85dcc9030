"""`tlsproxy acme preflight`: the proxy looks at itself, at a real name server and at a real authority."""

from __future__ import annotations

import json
from functools import partial

import pytest
import trio

from certstore import Challenge, NotFound, Store
from certstore.issuers.acme.acmednsaccount import AcmeDnsAccount
from certstore.issuers.acme.nameserver import NameServer, TsigKey
from tests.authorities import knot as knots
from tests.authorities import pebble as pebbles
from tests.controlling import acme_of, controller_of, now
from tests.live.proxy_process import tlsproxy
from tests.live.test_acme import DEADLINE_S, NAMES, acme, directory, scene
from tests.live.test_acme_dns import resolver_at, values
from tlsproxy.acmelookout import Lookout, Question
from tlsproxy.acmeoutlook import Door, Outlook
from tlsproxy.boottime import boot_clock

DOORS = (Door("tls", "127.0.0.1", 443), Door("http", "127.0.0.1", 80))
RECORDS = """
plain A 127.0.0.1
both A 127.0.0.1
both AAAA ::1
alias CNAME plain
empty TXT "no address"
*.below A 127.0.0.1
_acme-challenge.twice CNAME _acme-challenge.once
_acme-challenge.once CNAME Proofs.somewhere
_acme-challenge.round CNAME _acme-challenge.around
_acme-challenge.around CNAME _acme-challenge.round
plain CAA 0 issue "other.test"
below CAA 0 ISSUE "authority.test"
"""


@pytest.fixture
def knot(tmp_path_factory):
    with knots.running(tmp_path_factory.mktemp("knot"), more=RECORDS) as running:
        yield running


@pytest.fixture
def lookout(tmp_path, knot):
    with Store.open(tmp_path / "store", clock=now, boot_clock=boot_clock()) as store:
        books = acme_of(controller_of(store)).books
        yield Lookout(store, books, lambda: DOORS, lambda: (), partial(resolver_at, knot.port))


def seen(outlook: Outlook, kind: Challenge = Challenge.HTTP_01) -> list[str]:
    return next([f.code for f in one.findings] for one in outlook.prospects if one.challenge is kind)


@pytest.mark.parametrize(
    ("name", "codes"),
    [
        ("plain.test", []),
        ("alias.test", []),
        ("a.below.test", []),
        ("both.test", ["acme_address_unserved"]),
        ("empty.test", ["acme_name_unresolved"]),
        ("nobody.test", ["acme_name_unresolved"]),
        ("somebody.elses", ["acme_name_unseen"]),
    ],
)
async def test_where_a_name_leads_the_name_server_says(lookout, name, codes) -> None:
    with trio.fail_after(DEADLINE_S):
        _, outlook = await lookout.look(Question((name,)))
    assert seen(outlook) == codes


async def test_the_records_that_count_are_the_nearest_above(lookout, pki, monkeypatch) -> None:
    from certstore.issuers.acme.messages import Directory
    from tlsproxy.acmeoutlook import Authority, View

    offered = Directory(
        "https://a.test", "https://a.test", "https://a.test", caa_identities=("authority.test",)
    )

    async def authority(_server) -> View:
        await trio.lowlevel.checkpoint()
        return View(authority=Authority("https://a.test/dir", "a.test", offered, is_public=False))

    monkeypatch.setattr(lookout, "_authority", authority)
    with trio.fail_after(DEADLINE_S):
        _, outlook = await lookout.look(Question(("plain.test",)))
        assert seen(outlook) == ["acme_caa_forbids"]
        _, outlook = await lookout.look(Question(("deep.a.below.test", "both.test")))
        assert "acme_caa_forbids" not in seen(outlook)


async def test_a_name_server_is_asked_whether_it_takes_updates_and_nothing_changes(lookout, knot) -> None:
    key = TsigKey.read(knot.key_file.read_text())
    server = NameServer("127.0.0.1", key, knot.port)
    wrong = NameServer("127.0.0.1", TsigKey("device.", "hmac-sha256", b"w" * 32), knot.port)
    with trio.fail_after(DEADLINE_S):
        for one, codes in ((server, []), (wrong, ["acme_records_unreachable"])):
            question = Question(("*.device.test", "device.test"), Challenge.DNS_01, name_server=one)
            _, outlook = await lookout.look(question)
            assert seen(outlook, Challenge.DNS_01) == codes * 2
    assert await values(knot, "_acme-challenge.device.test") == set()


@pytest.mark.parametrize(
    ("leads_to", "codes"),
    [
        ("_acme-challenge.device.test", []),  # an alias leads there from device.elsewhere
        ("other.acme-dns.test", ["acme_records_unreachable"]),
    ],
)
async def test_an_alias_must_lead_to_where_acme_dns_sets_records(lookout, leads_to, codes) -> None:
    account = AcmeDnsAccount("https://acme-dns.test", "me", "secret", "sub", leads_to)
    with trio.fail_after(DEADLINE_S):
        question = Question(("device.elsewhere",), Challenge.DNS_01, acme_dns=account)
        _, outlook = await lookout.look(question)
    assert seen(outlook, Challenge.DNS_01) == codes
    words = " ".join(one.words for prospect in outlook.prospects for one in prospect.findings)
    assert ("_acme-challenge.device.elsewhere. CNAME other.acme-dns.test." in words) is bool(codes)


@pytest.mark.parametrize(
    ("name", "codes", "words"),
    [
        ("plain.test", [], ""),
        ("twice.test", ["acme_proof_alias"], "looks for the record at proofs.somewhere.test"),
        ("*.twice.test", ["acme_proof_alias"], "_acme-challenge.twice.test is an alias"),
        ("round.test", ["acme_records_unreachable"], "the aliases at _acme-challenge.round.test have no end"),
        ("somebody.elses", [], ""),
    ],
)
async def test_where_an_alias_leads_is_told_whose_command_sets_records(lookout, name, codes, words) -> None:
    lookout.has_hook = True
    with trio.fail_after(DEADLINE_S):
        _, outlook = await lookout.look(Question((name,), Challenge.DNS_01))
    assert seen(outlook, Challenge.DNS_01) == codes
    assert words in " ".join(one.words for prospect in outlook.prospects for one in prospect.findings)


async def test_without_a_name_and_without_an_enrolment_there_is_nothing_to_look_at(lookout) -> None:
    with pytest.raises(NotFound, match="no ACME enrolment"):
        await lookout.look(Question())


async def test_a_proxy_says_what_its_authority_wants_and_then_it_comes_true(
    tmp_path, tmp_path_factory, pki
) -> None:
    folder = tmp_path_factory.mktemp("pebble")
    with trio.fail_after(DEADLINE_S), pebbles.running(folder, pki, binding=True) as pebble:
        async with scene(tmp_path, pebble) as (proxy, _):
            where = directory(pebble, tmp_path)[:-1]
            told = await acme(proxy, "preflight", *where, "--ip", "127.0.0.1")
            assert told["works"] is True
            assert [one["code"] for one in told["findings"]] == ["acme_binding_asked", "acme_terms_asked"]
            assert told["authority"]["binding_required"] is True
            assert told["authority"]["public"] is False
            shown = {one["challenge"]: one["works"] for one in told["challenges"]}
            assert shown == {"http-01": "yes", "tls-alpn-01": "yes", "dns-01": "no"}
            await acme(proxy, "preflight", *where, "--ip", "127.0.0.1", "--challenge", "dns-01", code=1)
            none = await acme(proxy, "preflight", "--directory", "https://127.0.0.1:9", "--ip", "::1", code=1)
            assert [one["code"] for one in none["findings"]] == ["acme_unreachable"]
            assert none["findings"][0]["words"].endswith("can't be reached: Connection refused")
            done = await tlsproxy("acme", "preflight", *where, "--name", "a b", "--store", str(proxy.store))
            assert b"'a b' can't stand in a certificate: not a host name or address" in done.stderr
            words = ("acme", "preflight", *where, "--ip", "127.0.0.1", "--profile", "none-such")
            done = await tlsproxy(*words, "--store", str(proxy.store))
            assert done.returncode == 1
            assert b"http-01      can work" in done.stdout
            assert b"[acme_profile_unknown]" in done.stdout
            done = await tlsproxy("acme", "preflight", "--store", str(proxy.store))
            assert (done.returncode, b"there is no ACME enrolment" in done.stderr) == (1, True)
        assert not list((proxy.store / "authority" / "accounts").iterdir()), "it only looks"
    with trio.fail_after(DEADLINE_S), pebbles.running(tmp_path_factory.mktemp("open"), pki) as pebble:
        async with scene(tmp_path, pebble) as (proxy, _):
            await acme(proxy, "enable", *directory(pebble, tmp_path), *NAMES)
            told = await acme(proxy, "preflight", "--challenge", "http-01", "--ip", "127.0.0.1")
            assert told["authority"]["directory"] == pebble.server.directory
            (one,) = json.loads(json.dumps(told["challenges"]))
            assert one["works"] == "yes"
