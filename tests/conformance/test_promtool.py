"""Prometheus' own tool: it takes our alert rules, their unit tests, and our metrics' names."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

from tlsproxy.observe.exposition import page
from tlsproxy.observe.metrics import FAMILIES, SUM, Counted, Kind

ROOT = Path(__file__).parents[2]
RULES = ROOT / "conf" / "prometheus-alerts.yml"
DASHBOARD = ROOT / "conf" / "grafana-dashboard.json"
TESTS = Path(__file__).parent / "alerts.test.yml"


def said(*words: str, stdin: bytes = b"") -> str:
    done = subprocess.run(words, input=stdin, capture_output=True, check=False, timeout=60)
    text = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, text
    return text


def test_the_alert_rules_are_good(tool):
    assert re.search(r"SUCCESS: \d+ rules found", said(tool("promtool"), "check", "rules", str(RULES)))


def test_the_alert_rules_do_what_their_tests_say(tool):
    assert "SUCCESS" in said(tool("promtool"), "test", "rules", str(TESTS))


def test_every_alert_has_a_test():
    rules, tests = RULES.read_text("utf-8"), TESTS.read_text("utf-8")
    alerts = set(re.findall(r"alert: (\w+)", rules))
    assert alerts == set(re.findall(r"alertname: (\w+)", tests))


def test_the_names_and_help_of_our_metrics_please_the_linter(tool):
    counted: Counted = []
    for family in FAMILIES.values():
        key = (family.name, *("x" for _ in family.labels))
        if family.kind is Kind.HISTOGRAM:
            counted += [((*key, "1.0"), 1.0), ((*key, "+Inf"), 0.0), ((*key, SUM), 1.0)]
        else:
            counted.append((key, 1.0))
    assert not said(tool("promtool"), "check", "metrics", stdin=page(counted)[0])


def test_rules_and_dashboard_name_only_metrics_that_there_are():
    dashboard = json.loads(DASHBOARD.read_text("utf-8"))
    told = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    told += re.findall(r"^\s+(?:expr:|[(/]).*$", RULES.read_text("utf-8"), re.MULTILINE)
    named = set(re.findall(r"tlsproxy_[a-z_]+", "\n".join(told)))
    plain = {re.sub(r"_bucket$", "", name) for name in named}
    assert plain <= set(FAMILIES)
    assert len(plain) > 15
