"""Configuration of what is told: where metrics are offered, and how the log is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from tlsproxy.config import Config, Reading, read

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
