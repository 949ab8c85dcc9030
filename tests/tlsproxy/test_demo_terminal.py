"""What the demo decides and says before and beside the processes: places, addresses, lines, certificates."""

from __future__ import annotations

import socket
import sys
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import pytest

from certstore import Candidate, Circumstances, Receipt, Source, State, assemble, check, found
from tlsproxy.demo import certificate, command, narration
from tlsproxy.demo.front import Certificate
from tlsproxy.demo.places import DEFAULT, Places, here
from tlsproxy.errors import ConfigError, ListenError


@pytest.fixture
def set_up():
    """Set a demo up without running it."""
    with ExitStack() as temporary:
        yield lambda listen, folder: command.set_up(listen, folder, temporary)


# --- where things are


def test_the_line_to_paste_names_the_folder_only_where_it_must():
    assert Places(DEFAULT).certificate_command("tlsproxy") == "tlsproxy demo certificate"
    assert Places(Path("my demo")).certificate_command("p") == "p demo --dir 'my demo' certificate"


def test_the_program_is_written_as_it_can_be_pasted(monkeypatch, tmp_path):
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "tlsproxy"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(sys, "argv", [str(program)])
    assert here() == "bin/tlsproxy"
    monkeypatch.setenv("PATH", str(program.parent))
    assert here() == "tlsproxy"
    monkeypatch.setattr(sys, "argv", ["/somewhere/tlsproxy/__main__.py"])
    assert here().endswith(" -m tlsproxy")


def test_a_demo_on_this_machine_names_only_this_machine(set_up, tmp_path):
    config = set_up("localhost:8443", tmp_path / "demo").config
    assert config.listeners[0].address == "127.0.0.1:8443"
    assert {one.host for one in config.listeners} <= {"127.0.0.1", "::1"}
    assert (config.identity.names, config.identity.addresses) == (("localhost",), False)
    assert config.identity.localhost
    assert config.forwarded.tell_bundle
    assert config.routes[0].upstream.scheme == "unix"


def test_a_demo_seen_from_elsewhere_names_the_device_s_own_names_too(set_up, tmp_path):
    identity = set_up("*:8443", tmp_path / "demo").config.identity
    assert identity.names == ()
    assert identity.addresses is True


def test_an_address_that_is_none_is_refused_like_any_other(set_up, tmp_path):
    with pytest.raises(ConfigError, match="no address and port"):
        set_up("nonsense", tmp_path / "demo")


def test_the_folder_is_its_owner_s_only(set_up, tmp_path):
    set_up("localhost:0", tmp_path / "demo")
    assert (tmp_path / "demo").stat().st_mode & 0o777 == 0o700


def test_a_file_in_the_folder_s_place_gives_way_to_a_temporary_folder(set_up, tmp_path):
    (tmp_path / "demo").write_text("mine")
    stage = set_up("localhost:0", tmp_path / "demo")
    assert stage.places.folder != tmp_path / "demo"
    assert "can't be used" in stage.remarks[0]
    assert (tmp_path / "demo").read_text() == "mine"


# --- certificates


@pytest.mark.parametrize(("key_type", "shown"), [("ec", "EC"), ("rsa", "RSA")])
def test_a_demo_certificate_is_one_that_the_store_has_nothing_against(key_type, shown, now):
    bundle = certificate.make(key_type, now)
    assert bundle.key_type == shown
    assert set(bundle.names) == {"localhost", "127.0.0.1", "::1"}
    findings = check(bundle, Circumstances(now, clock_plausible=True))
    assert not [finding for finding in findings if finding.is_error]


def test_a_demo_certificate_lies_in_the_inbox_whole_and_private(tmp_path, now):
    bundle = certificate.make("ec", now)
    place = certificate.put(tmp_path, bundle)
    assert place.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["demo.pem"]
    read, _ = assemble(Candidate(((place.name, place.read_bytes()),)), lambda _spki: None)
    assert read.id == bundle.id


def test_dropping_where_there_is_no_demo_says_so(tmp_path):
    with pytest.raises(certificate.NoDemoError, match="no demo runs that has its inbox at") as caught:
        certificate.drop(tmp_path)
    assert "tlsproxy demo" in caught.value.hint


def test_nothing_is_dropped_once_the_demo_has_ended(tmp_path):
    inbox = Places(tmp_path).inbox
    inbox.mkdir(parents=True)
    with pytest.raises(certificate.NoDemoError):
        certificate.drop(tmp_path)
    assert not list(inbox.iterdir())


def test_where_the_port_is_taken_the_way_out_keeps_the_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "here", lambda: "tlsproxy")
    # the log is everybody's in this process
    monkeypatch.setattr("tlsproxy.demo.command.log.configure", lambda *_, **__: None)
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ListenError) as caught:
        command.show(f"127.0.0.1:{taken.getsockname()[1]}", tmp_path / "my demo")
    assert f"tlsproxy demo --listen localhost:9443 --dir '{tmp_path / 'my demo'}'; or" in caught.value.hint


# --- lines


def receipt(state: State, now: datetime, *findings, generation: int | None = None) -> Receipt:
    times = {State.RECEIVED: now}
    if state is not State.REFUSED:
        times[State.LIVE] = now + timedelta(milliseconds=52)
    return Receipt("000002-00000000", state, Source.CUSTOMER, "inbox", None, generation, findings, times)


def test_a_live_certificate_is_one_line(pki, now):
    bundle = pki.leaf().bundle()
    line = click.unstyle(narration.line(receipt(State.CONFIRMED, now, generation=2), bundle))
    shown = bundle.fingerprint.upper()
    assert line.startswith("live       generation 2   customer (inbox)   EC    SHA-256 ")
    assert f"{shown[:4]} {shown[4:8]}…" in line
    assert line.endswith("   52 ms")


def test_a_live_certificate_that_cannot_be_read_any_more_is_told_without_its_facts(now):
    line = click.unstyle(narration.line(receipt(State.CONFIRMED, now, generation=2), None))
    assert line == "live       generation 2   customer (inbox)   52 ms"


def test_a_refusal_says_code_words_and_hint_and_leaves_warnings_out(now):
    findings = (found("file_empty", file="a.pem"), found("gate_skipped"))
    head, *rest = click.unstyle(narration.line(receipt(State.REFUSED, now, *findings), None)).splitlines()
    assert head == "refused    file_empty   customer (inbox)"
    assert "a.pem" in rest[0]
    assert rest[1].strip().startswith("hint: ")
    assert not any("gate" in line for line in rest)


def test_the_first_screen_holds_all_that_a_newcomer_needs(pki):
    shown = Certificate(
        fingerprint="ab" * 32,
        subject="localhost",
        issuer="localhost",
        self_signed=True,
        key="EC P-256",
        not_before=datetime(2026, 1, 1, tzinfo=UTC),
        not_after=datetime(2027, 1, 1, tzinfo=UTC),
        names=("localhost",),
    )
    scene = narration.Scene(
        "https://localhost:8443", shown, True, Path(".demo/store/inbox"), "try this", ("note",)
    )
    text = click.unstyle(narration.opening(scene))
    for piece in (
        "https://localhost:8443",
        " ".join(["ABAB"] * 8),
        "made for this device just now",
        ".demo/store/inbox",
        "try this",
        "note",
    ):
        assert piece in text
    assert max(map(len, text.splitlines())) <= 100
