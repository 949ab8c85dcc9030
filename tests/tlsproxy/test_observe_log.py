"""The log: one event a line, and no secret in it whatever is passed."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from tlsproxy.observe import log

PEM = "-----BEGIN PRIVATE KEY-----\nMIGH\n-----END PRIVATE KEY-----\n"


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def written(style: log.Format, **facts: object) -> str:
    out = io.StringIO()
    log.configure(style, out)
    log.logger("control").info("generation_live", **facts)
    return out.getvalue()


def test_elsewhere_than_on_a_terminal_an_event_is_one_json_object_a_line() -> None:
    text = written("auto", generation=7, source="customer")
    assert text.count("\n") == 1
    event = json.loads(text)
    assert event.pop("timestamp").endswith("Z")
    assert event == {
        "event": "generation_live",
        "level": "info",
        "room": "control",
        "generation": 7,
        "source": "customer",
    }


def test_a_log_that_nobody_reads_any_more_hurts_nobody() -> None:
    class Unread(io.StringIO):
        def write(self, _text: str) -> int:
            raise BrokenPipeError

    closed = io.StringIO()
    closed.close()
    for out in (Unread(), closed):
        log.configure("json", out)
        log.logger("control").info("generation_live")


def test_who_has_no_stderr_at_all_has_no_log_and_no_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", None)
    log.configure("auto")
    log.logger("control").info("generation_live")


@pytest.mark.parametrize("style", ["console", "json"])
@pytest.mark.parametrize("value", [1, True, None, ["a"], {"a": 1}, b"a", "a"])
@pytest.mark.parametrize("name", ["exception", "stack", "exc_info", "stack_info"])
def test_a_fact_by_a_name_of_the_loggers_own_is_written_whatever_it_is(
    name: str, value: object, style: log.Format
) -> None:
    """A worker that somebody had taken over ended the supervisor by one line for its log."""
    assert "generation_live" in written(style, **{name: value})


def test_a_terminal_gets_readable_lines() -> None:
    assert "generation_live" in written("console", generation=7)
    assert "generation=7" in written("console", generation=7)


@pytest.mark.parametrize(
    "facts",
    [
        {"a": PEM},
        {"a": PEM.encode()},
        {"key_pem": "MIGH"},
        {"token": "MIGH"},
        {"a": {"b": [{"key": "MIGH"}, PEM]}},
        {"a": (PEM,)},
        {"a": memoryview(b"MIGH")},
        {"a": ValueError(PEM)},
    ],
    ids=repr,
)
@pytest.mark.parametrize("style", ["json", "console"])
def test_a_secret_is_withheld_wherever_it_lies(style: log.Format, facts: dict[str, object]) -> None:
    text = written(style, **facts)
    assert "MIGH" not in text
    assert "generation_live" in text


@pytest.mark.parametrize("style", ["json", "console"])
def test_a_traceback_shows_no_local_variables(style: log.Format) -> None:
    out = io.StringIO()
    log.configure(style, out)
    passphrase = "sesame" + "42"
    try:
        int(f"no {len(passphrase)}")
    except ValueError:
        log.logger("x").exception("fault")
    assert "'no 8'" in out.getvalue()
    assert "sesame42" not in out.getvalue()


@pytest.mark.parametrize("style", ["json", "console"])
def test_a_strangers_text_cannot_steer_a_terminal_or_forge_a_line(style: log.Format) -> None:
    text = written(style, name="\x1b[2Jx\ny\u202e")
    assert "\x1b[2J" not in text
    assert "\u202e" not in text
    assert text.count("\n") == 1
    text = written(style, **{"\x1b[2J": 1, "nested": {"\x1b[2J": "x"}})
    assert "\x1b" not in text
    try:
        forge()
    except ValueError:
        text = written(style, exc_info=True)
    assert "ValueError: " in text
    assert "\x1b[2J" not in text
    assert "\x07" not in text


def forge() -> None:
    raise ValueError("\x1b[2J\x1b]0;x\x07")


def test_a_thing_that_is_nested_without_end_is_cut() -> None:
    ring: list[object] = []
    ring.append(ring)
    assert "withheld" in written("json", ring=ring)


def test_what_lies_below_the_level_is_not_written() -> None:
    out = io.StringIO()
    log.configure("json", out, logging.WARNING)
    log.logger("x").info("quiet")
    assert not out.getvalue()
