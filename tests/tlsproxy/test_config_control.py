"""The table [control]: who may ask, and what keeps them from getting there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tlsproxy.config import ControlConfig
from tlsproxy.config.reading import read

GOOD = """
store = "/var/lib/tlsproxy"
{top}
[[listener]]
address = "127.0.0.1:0"
[[route]]
upstream = "http://127.0.0.1:3000"
[control]
{control}
"""


def reading(control: str, top: str = 'runtime = "/run/tlsproxy"'):
    return read(GOOD.format(control=control, top=top), Path("/etc"))


def test_users_groups_and_mode_arrive_as_they_were_meant() -> None:
    config = reading('users = ["device", "1000"]\ngroups = ["DOMAIN\\\\admins"]\nmode = "0666"').config
    assert config is not None
    assert config.control == ControlConfig(("device", "1000"), ("DOMAIN\\admins",), 0o666)


def test_without_the_table_nobody_else_may_ask() -> None:
    config = reading("").config
    assert config is not None
    assert config.control == ControlConfig((), (), 0o660)


@pytest.mark.parametrize(
    ("control", "words"),
    [
        ("mode = 660", "expected text in quotes"),
        ('mode = "rw-rw----"', 'is no mode of a file, as in "0660"'),
        ('mode = "0066"', "keeps out the proxy's own user"),
        ('users = ["a b"]', "no name of a user"),
        ('groups = [""]', "no name of a user"),
        ('groups = ["4294967296"]', "no name of a user"),  # a reload ended the proxy by it
        ('users = ["4294967295"]', "no name of a user"),
        (f'users = ["{"9" * 63}"]', "no name of a user"),
        ("group = []", "unknown key"),
    ],
)
def test_what_is_no_user_group_or_mode_is_a_mistake_with_its_line(control: str, words: str) -> None:
    (mistake,) = reading(control).mistakes
    assert words in mistake.why
    assert mistake.line == 9


@pytest.mark.parametrize(
    ("control", "top", "words"),
    [
        ('users = ["device"]', 'runtime = "/run/tlsproxy"', "keeps out users who aren't in its group"),
        ('groups = ["device"]', "", "it lies in the store"),
        ('users = ["device"]\nmode = "0666"', 'runtime = "/var/lib/tlsproxy/run"', "it lies in the store"),
    ],
)
def test_who_may_ask_and_could_not_get_there_is_advised(control: str, top: str, words: str) -> None:
    (advice,) = reading(control, top).advice
    assert words in advice.why
    assert advice.hint


def test_who_may_ask_and_gets_there_needs_no_advice() -> None:
    assert reading('users = ["device"]\nmode = "0666"').advice == ()
    assert reading('groups = ["device"]').advice == ()
