"""The doctor at our own proxy: at rest, running, silent, wrongly configured, and beside strangers."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
import trio

from certstore import InProcess, Source, Store
from tests.controlling import control_api
from tests.pki import Pki
from tests.tlsproxy.test_doctor_server import both, context_of, serving, speak_tls
from tlsproxy import policy_doctor
from tlsproxy.cli.places import Whereabouts, find_place
from tlsproxy.cli.status import read_status
from tlsproxy.doctor.diagnosis import Diagnosis
from tlsproxy.doctor.own import Patient, diagnose_ourselves
from tlsproxy.doctor.surroundings import look_around
from tlsproxy.errors import ConfigError
from tlsproxy.observe.status import ListenerStatus

CONFIG = """\
store = "store"
[[listener]]
address = "127.0.0.1:8443"
[[route]]
upstream = "{upstream}"
"""


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def place_of(folder: Path) -> Whereabouts:
    store = folder / "store"
    return Whereabouts((store, store / "inbox"), store / "run" / "control.sock")


def diagnosed(place: Whereabouts, file: Path | None = None) -> Diagnosis:
    return diagnose_ourselves(Patient(place, file, None, lambda: read_status(place)), now())


def codes(found: Diagnosis) -> list[str]:
    return [finding.code for finding in found.findings]


def put(folder: Path, *issued) -> None:
    with Store.open(folder / "store", clock=now) as store:
        for one in issued:
            store.propose(one.bundle(), source=Source.CUSTOMER, via="test", examiner=InProcess())


@contextmanager
def silence(path: Path) -> Iterator[None]:
    """Listen where the control socket is, and answer nobody."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        sock.listen()
        yield


def test_without_a_store_it_says_so(tmp_path: Path):
    found = diagnosed(place_of(tmp_path))
    assert codes(found) == ["store_missing", "proxy_not_running"]
    assert not found.is_well


def test_at_rest_what_ends_is_told_by_the_store_alone(tmp_path: Path, pki: Pki):
    put(tmp_path, pki.leaf(start=now() - timedelta(days=95), days=100))
    found = diagnosed(place_of(tmp_path))
    assert codes(found) == ["proxy_not_running", "expiry_urgent"]
    assert dict(found.facts)["proxy"] == "not running"
    assert "device.test" in dict(found.facts)["served"]


def test_each_certificate_that_is_served_is_told(tmp_path: Path, pki: Pki):
    put(tmp_path, pki.leaf(), pki.leaf(("other.test",)))
    served = dict(diagnosed(place_of(tmp_path)).facts)["served"]
    assert {one.split(",")[0] for one in served.split("; ")} == {"device.test", "other.test"}


def test_the_last_refusal_is_told(tmp_path: Path, pki: Pki):
    put(tmp_path, pki.leaf(), pki.leaf(("other.test",), ca=True))
    found = diagnosed(place_of(tmp_path))
    assert codes(found) == ["proxy_not_running", "last_refused"]
    assert "ca_as_leaf" in found.findings[1].words


def test_a_store_that_others_can_look_into_and_a_disk_without_room_are_told(tmp_path, pki: Pki, monkeypatch):
    put(tmp_path, pki.leaf())
    (tmp_path / "store").chmod(0o755)
    monkeypatch.setattr(policy_doctor, "FREE_BYTES", 1 << 62)
    found = diagnosed(place_of(tmp_path))
    assert codes(found) == ["store_open", "disk_nearly_full", "proxy_not_running"]
    assert "mode 0755" in found.findings[0].words


@pytest.mark.parametrize(
    ("user", "expected"),
    [(os.getuid(), []), (os.getuid() + 1, ["store_foreign"]), ("nobody-of-this-name", ["config_advice"])],
)
def test_a_store_of_another_user_than_the_proxys_is_told(tmp_path, pki: Pki, user, expected):
    put(tmp_path, pki.leaf())
    file = tmp_path / "tlsproxy.toml"
    file.write_text(f'user = "{user}"\n' + CONFIG.format(upstream=f"unix:{tmp_path}/nobody"))
    found = diagnosed(find_place(None, file), file)
    assert codes(found) == [*expected, "proxy_not_running", "upstream_silent"]


def test_a_damaged_store_is_told_and_the_rest_is_looked_at(tmp_path: Path, pki: Pki):
    put(tmp_path, pki.leaf())
    (tmp_path / "store" / "active").write_text("nonsense")
    found = diagnosed(place_of(tmp_path))
    assert codes(found)[:2] == ["proxy_not_running", "store_troubled"]


def test_a_proxy_that_does_not_answer_is_given_up_and_its_store_read(tmp_path, pki: Pki, monkeypatch):
    put(tmp_path, pki.leaf())
    monkeypatch.setattr(policy_doctor, "CONNECT_S", 0.2)
    place = place_of(tmp_path)
    with silence(place.control):
        found = diagnosed(place)
    assert codes(found) == ["proxy_silent"]
    assert dict(found.facts)["proxy"] == "not running"


def test_each_mistake_of_the_configuration_is_a_finding_with_its_line(tmp_path: Path):
    file = tmp_path / "tlsproxy.toml"
    file.write_text(CONFIG.format(upstream="ftp://x") + "[limits]\nidle = 3\n")
    with pytest.raises(ConfigError) as caught:
        find_place(None, file)
    found = diagnose_ourselves(Patient(None, file, caught.value), now())
    assert codes(found) == ["config_mistake", "config_mistake"]
    assert "line 5" in found.findings[0].words
    assert "idle_s" in found.findings[1].hint


async def test_a_running_proxy_says_itself_how_it_is(tmp_path: Path, pki: Pki):
    async with control_api(tmp_path) as api:
        place = replace(place_of(tmp_path), control=api.path)
        look = partial(diagnosed, place)
        assert codes(await trio.to_thread.run_sync(look)) == ["serving_nothing"]
        propose = partial(
            api.store.propose, pki.leaf().bundle(), source=Source.CUSTOMER, via="t", examiner=InProcess()
        )
        await trio.to_thread.run_sync(partial(propose, confirm_within_s=600))
        found = await trio.to_thread.run_sync(look)
        assert found.is_well
        assert codes(found) == ["confirmation_waits"]
        assert "tlsproxy certs confirm" in found.findings[0].hint


async def test_a_service_that_is_down_is_told_with_its_route(tmp_path: Path, pki: Pki):
    file = tmp_path / "tlsproxy.toml"
    put(tmp_path, pki.leaf())
    with trio.socket.socket() as sock:  # bound, and not listening
        await sock.bind(("127.0.0.1", 0))
        file.write_text(CONFIG.format(upstream=f"http://127.0.0.1:{sock.getsockname()[1]}"))
        place = find_place(None, file)
        found = await trio.to_thread.run_sync(partial(diagnosed, place, file))
    assert codes(found) == ["proxy_not_running", "upstream_silent"]
    assert "behind / " in found.findings[1].words


async def test_our_ports_are_looked_at_from_outside(tmp_path: Path, pki: Pki):
    ours, strange = pki.leaf(), pki.leaf(("stranger.test",))
    put(tmp_path, ours)
    status = read_status(place_of(tmp_path))

    async def looked_at(port: int, kind: str = "tls") -> list[str]:
        listener = ListenerStatus(f"127.0.0.1:{port}", kind, port)
        return [one.code for one in await look_around(None, replace(status, listeners=(listener,)))]

    async with serving(partial(speak_tls, context_of(tmp_path, both(ours)))) as port:
        assert await looked_at(port) == []
        assert await looked_at(port, "http") == []
    async with serving(partial(speak_tls, context_of(tmp_path, both(strange)))) as port:
        assert await looked_at(port) == ["port_strange"]
    with trio.socket.socket() as sock:
        await sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        assert await looked_at(port) == ["port_silent"]
        assert await looked_at(port, "http") == ["port_silent"]
