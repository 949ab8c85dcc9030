"""Configuration of what is told: where metrics are offered, and how the log is written."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import pytest

from tlsproxy.config import Config
from tlsproxy.config.reading import Reading, read
from tlsproxy.config.values import LogConfig

DOCS = Path(__file__).parents[2] / "docs" / "configuration.md"

GOOD = """
store = "s"
{top}
[[listener]]
address = "127.0.0.1:8443"
[[route]]
upstream = "http://127.0.0.1:3000"
{more}
"""


def reading(top: str = "", more: str = "") -> Reading:
    return read(GOOD.format(top=top, more=more), Path("/etc/x"))


def config_of(top: str = "", more: str = "") -> Config:
    found = reading(top, more)
    assert found.config is not None, found.mistakes
    return found.config


def mistake_of(top: str = "", more: str = "") -> str:
    (mistake,) = reading(top, more).mistakes
    return str(mistake)


@pytest.mark.parametrize(
    ("text", "host"),
    [("127.0.0.1:9469", "127.0.0.1"), ("[::1]:9469", "::1"), ("localhost:9469", "localhost")],
)
def test_metrics_are_told_on_an_address_of_this_machine(text: str, host: str) -> None:
    metrics = config_of(f'metrics_listen = "{text}"').metrics
    assert metrics is not None
    assert (metrics.host, metrics.port) == (host, 9469)


def test_without_a_word_metrics_have_no_port() -> None:
    assert config_of().metrics is None


@pytest.mark.parametrize("text", ["0.0.0.0:9469", "[::]:9469", ":9469", "192.0.2.1:9469", "device.test:9469"])
def test_an_address_that_others_reach_is_refused_unless_it_is_meant(text: str) -> None:
    assert "can be reached from other machines" in mistake_of(f'metrics_listen = "{text}"')
    found = reading(f'metrics_listen = "{text} unsafe"')
    assert found.config is not None
    assert found.config.metrics is not None
    assert ["metrics are told to everybody" in advice.why for advice in found.advice] == [True]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("9469", "has no host"),
        ("127.0.0.1:9469 safe", "is no address and port"),
        ("127.0.0.1:8443", "is taken by the listener 127.0.0.1:8443"),
    ],
)
def test_what_is_no_place_for_metrics_is_told_in_words(text: str, words: str) -> None:
    assert words in mistake_of(f'metrics_listen = "{text}"')


def test_the_log_is_as_it_was_where_nothing_is_said() -> None:
    log = config_of().log
    assert (log.format, log.level, log.access, log.trace, log.mask_clients) == (
        "auto",
        "info",
        "off",
        False,
        False,
    )


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('format = "xml"', "log.format: 'xml' is none of auto, console, json"),
        ('level = "loud"', "log.level: 'loud' is none of debug, info, warning, error"),
        ("access = true", "log.access: expected"),
        ("access_sample = 0", "log.access_sample: 0 must be more than 0"),
        ("access_sample = 1.5", "log.access_sample: 1.5 must be"),
        ("access_per_s = -1", "log.access_per_s: -1 must be more than 0"),
        ("mask = true", "log.mask: unknown key"),
    ],
)
def test_a_mistake_about_the_log_is_told_with_its_key(line: str, words: str) -> None:
    assert words in mistake_of(more=f"[log]\n{line}")


def test_the_page_gives_the_defaults_that_hold() -> None:
    rows = [line.split("|") for line in DOCS.read_text("utf-8").splitlines() if line.startswith("| `log.")]
    page = {row[1].strip(" `").removeprefix("log."): row[2].strip(" `") for row in rows}
    assert page == {f.name: json.dumps(f.default) for f in fields(LogConfig)}
