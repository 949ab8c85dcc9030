"""The proxy's errors: facts in fields, words made last."""

from __future__ import annotations

import pickle

import pytest

from tlsproxy.errors import (
    ClientProtocolError,
    ConfigError,
    ControlError,
    ExitCode,
    Fault,
    HandshakeError,
    ListenError,
    Mistake,
    NotRunningError,
    ProxyError,
    ThreadError,
    UpstreamBusyError,
    UpstreamDownError,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamTLSError,
    UsageError,
)

ALL = [
    ConfigError([Mistake("store", 3, "is missing", "name it")], "x.toml"),
    UsageError("nothing to run", "add --config FILE"),
    ListenError("[::]:443", "another program listens there", "stop it"),
    ControlError("/run/x", "permission denied"),
    NotRunningError("/run/x"),
    ThreadError("can't start new thread"),
    ClientProtocolError(431, "head_too_large", "the request head is too large"),
    HandshakeError("no_shared_cipher"),
    UpstreamProtocolError("bad_status_line", "the status line can't be read"),
    UpstreamError("http://a:80", "connect", reused=True, status=504),
    UpstreamDownError("http://a:80", 7),
    UpstreamBusyError("http://a:80", 7),
    UpstreamTLSError("https://a:443", "tls", "no TLS connection comes about: closed"),
]


@pytest.mark.parametrize("error", ALL, ids=lambda error: type(error).__name__)
def test_every_error_is_one_line_with_a_code_a_fault_and_an_exit_code(error: ProxyError) -> None:
    assert "\n" not in str(error)
    assert not str(error).endswith(".")
    assert error.code.islower()
    assert isinstance(error.fault, Fault)
    assert error.exit_code in {ExitCode.FAILED, ExitCode.MISUSE}
    assert "\n" not in error.hint


@pytest.mark.parametrize(
    "error", [e for e in ALL if not isinstance(e, (NotRunningError, UpstreamError))], ids=lambda e: e.code
)
def test_an_error_keeps_its_facts_when_it_crosses_to_another_process(error: ProxyError) -> None:
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_each_class_has_a_code_of_its_own() -> None:
    codes = [error.code for error in ALL]
    assert len(set(codes)) == len(codes)


def test_a_client_and_an_upstream_are_never_blamed_for_each_other() -> None:
    assert {e.code for e in ALL if e.fault is Fault.CLIENT} == {"head_too_large", "handshake_failed"}
    assert {e.code for e in ALL if e.fault is Fault.UPSTREAM} == {
        "bad_status_line",
        "upstream_busy",
        "upstream_down",
        "upstream_failed",
        "upstream_tls_failed",
    }
