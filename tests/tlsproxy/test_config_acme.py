"""Configuration of ACME: what the device's maker has set up."""

from __future__ import annotations

import pytest

from tests.tlsproxy.test_config_observing import config_of, mistake_of
from tlsproxy.config.values import AcmeConfig


def test_without_a_table_nothing_is_set_up() -> None:
    assert config_of().acme == AcmeConfig()


def test_a_command_sets_records() -> None:
    acme = config_of(more='[acme]\ndns_hook = ["/usr/lib/hook", "--unit", "7"]\ndns_hook_s = 5').acme
    assert (acme.dns_hook, acme.dns_hook_s) == (("/usr/lib/hook", "--unit", "7"), 5.0)


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ('dns_hook = ["hook"]', "line 9: acme.dns_hook: 'hook' is no absolute path"),
        ('dns_hook = "/bin/hook"', "acme.dns_hook: expected a list"),
        ("dns_hook_s = 0", "acme.dns_hook_s: 0 must be more than 0"),
        ("dns_hok = []", "acme.dns_hok: unknown key"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(table: str, why: str) -> None:
    assert why in mistake_of(more=f"[acme]\n{table}")
