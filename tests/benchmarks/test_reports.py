"""The pure parts of the benchmark suite: what the kernel and wrk say, ratios, spread, page and chart."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from xml.etree import ElementTree as ET

import pytest

from benchmarks.accounting import Stat, Tree, family, own_cpu_s, parse_pss, parse_stat, parse_tcp
from benchmarks.chart import BAR, LABEL, Panel, svg
from benchmarks.echo import accept_key
from benchmarks.figures import Figure, Results, percentile, spread
from benchmarks.peers.table import OURS, THEIRS
from benchmarks.report import Run, markdown, table, told
from benchmarks.scenarios import wrk
from benchmarks.scenarios.scenario import Scenario
from benchmarks.scenarios.table import SCENARIOS
from benchmarks.server import TEMPLATES, Blank
from benchmarks.targets import TARGETS, Target, Verdict, judge

STAT = "812 (a (strange) name) S 7 812 812 0 -1 4194560 900 20 0 0 150 25 30 5 20 0 4 0 9000 1000 200"

WRK = """Running 3s test @ https://127.0.0.1:1/
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.65ms    0.50ms   9.10ms   90.10%
  Latency Distribution
     50%    1.50ms
     75%    1.80ms
     90%    2.00ms
     99%    3.25ms
  57000 requests in 3.00s, 16.00MB read
  Socket errors: connect 1, read 2, write 3, timeout 4
  Non-2xx or 3xx responses: 7
Requests/sec:  19000.00
"""


def results(**servers: list[float | None]) -> Results:
    made = Results()
    for server, values in servers.items():
        for value in values:
            made.add("cost", server, value)
    return made


def test_a_process_name_with_parentheses_does_not_shift_the_fields_of_stat():
    assert parse_stat(STAT) == Stat(parent=7, ended_ticks=30 + 5)


def test_pss_is_told_in_bytes():
    assert parse_pss("5-7 ---p 0 0:0 0 [rollup]\nRss: 9 kB\nPss:  294 kB\nPss_Dirty: 1 kB\n") == 294 * 1024


def test_a_rollup_without_pss_is_no_rollup():
    with pytest.raises(ValueError, match="no Pss"):
        parse_pss("Rss: 9 kB\nPss_Dirty: 1 kB\n")


def test_the_clock_of_a_process_is_the_one_that_it_reads_itself():
    before = time.process_time()
    assert before <= own_cpu_s(os.getpid()) <= time.process_time()


def test_a_process_that_has_ended_has_used_nothing_any_more():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait(20)
    assert own_cpu_s(process.pid) == 0.0


def test_only_established_connections_to_the_port_are_counted():
    head = (
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    )
    lines = (
        "   0: 0100007F:20FB 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1 0\n"
        "   1: 0100007F:20FB 0201017F:D4A2 01 00000000:00000000 02:00000000 00000000     0        0 12 2 0\n"
        "   2: 0201017F:D4A2 0100007F:20FB 01 00000000:00000000 02:00000000 00000000     0        0 13 2 0\n"
        "   3: 0100007F:20FB 0201017F:D4A4 06 00000000:00000000 03:00000000 00000000     0        0 0 3 0\n"
    )
    assert parse_tcp(head + lines, 0x20FB) == {12}


def test_a_process_is_known_by_the_connections_that_it_holds():
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port), source_address=("127.9.8.7", 0)):
            held, _ = door.accept()
            with held:
                assert Tree(os.getpid()).connections(port)[os.getpid()] == 1
        assert Tree(os.getpid()).connections(port)[os.getpid()] == 0


def test_a_family_has_grandchildren_and_no_strangers():
    assert family(10, {10: 1, 11: 10, 12: 11, 20: 1, 21: 20}) == {10, 11, 12}


def test_a_tree_counts_the_work_of_a_living_child_and_of_one_that_has_ended():
    work = "t = __import__('time'); e = t.process_time() + 0.2\nwhile t.process_time() < e: pass"
    run = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {work!r}])\n"
    outer = run + "print('ended', flush=True)\ninput()"
    process = subprocess.Popen([sys.executable, "-c", outer], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ended\n"
        assert Tree(process.pid).cpu_s() >= 0.19
        assert own_cpu_s(process.pid) < Tree(process.pid).cpu_s()
        assert Tree(os.getpid()).stats().keys() >= {os.getpid(), process.pid}
        assert Tree(process.pid).pss() > 100_000
    finally:
        process.communicate(b"\n", timeout=20)


def test_wrks_report_is_read_whole():
    assert wrk.parse(WRK) == wrk.Run(requests=57000, bad=7, errors=10, p99_ms=3.25)


@pytest.mark.parametrize(("text", "ms"), [("800.00us", 0.8), ("1.20s", 1200.0), ("3.25ms", 3.25)])
def test_wrks_units_become_milliseconds(text, ms):
    assert wrk.parse(WRK.replace("3.25ms", text)).p99_ms == pytest.approx(ms)


def test_a_failing_wrk_is_told_by_its_own_words():
    with pytest.raises(ValueError, match="unable to connect"):
        wrk.parse("unable to connect to 127.0.0.1:1 Connection refused\n")


def test_a_spread_is_the_median_with_the_least_and_the_most():
    assert told(spread([3.0, 1.0, 2.0]), 1) == "2.0 (1.0 to 3.0)"
    assert told(spread([2.04, 2.01]), 1) == "2.0"
    assert told(None, 1) == "-"


def test_a_ratio_is_taken_round_by_round_so_that_a_slowing_machine_changes_nothing():
    made = results(us=[100.0, 200.0, 400.0], them=[50.0, 100.0, 200.0])
    assert made.ratio("cost", "us", "them") == spread([2.0])


def test_a_round_that_failed_on_either_side_has_no_ratio():
    made = results(us=[100.0, None, 90.0], them=[None, 10.0, 30.0], idle=[0.0, 0.0, 0.0])
    assert made.ratio("cost", "us", "them") == spread([3.0])
    assert made.ratio("cost", "us", "idle") is None
    assert made.ratio("cost", "us", "nobody") is None


def test_targets_are_held_to_medians_and_what_is_missing_is_said():
    made = Results()
    for server, value in (("us", 100.0), ("Caddy", 110.0), ("Envoy", 50.0)):
        made.add("request", server, value)
    words = {v.target.peer: v.word for v in judge(made, "us") if v.target.figure == "request"}
    assert words == {
        "Caddy": "reached",
        "Envoy": "missed",
        "Traefik": "not measured",
        "nginx": "not measured",
    }


def test_a_target_is_a_bound_from_above_or_from_below_and_says_which():
    most, least = Target("idle", 25.0), Target("scaling", 0.9, at_least=True)
    assert [Verdict(most, value).word for value in (24.9, 25.0, 25.1)] == ["reached", "reached", "missed"]
    assert [Verdict(least, value).word for value in (0.8, 0.9, 1.0)] == ["missed", "reached", "reached"]
    assert (most.words, least.words) == ("at most 25", "at least 0.9")
    assert Target("request", 3.5, "nginx").words == "at most 3.5 x nginx"


def test_a_percentile_is_the_value_that_this_share_of_the_values_does_not_exceed():
    values = [float(n) for n in range(100, 0, -1)]
    assert percentile(values, 0.99) == 99.0
    assert percentile(values, 1.0) == 100.0
    assert percentile([7.0], 0.99) == 7.0


def test_every_target_names_a_figure_and_a_peer_that_are_measured():
    figures = {figure.key for scenario in SCENARIOS for figure in scenario.figures}
    assert {target.figure for target in TARGETS} <= figures
    assert {target.peer for target in TARGETS if target.peer} <= {peer.name for peer in THEIRS}


def test_a_table_is_one_line_a_row():
    assert table(["", "a"], [["b", "1"]]) == "|  | a |\n| --- | ---: |\n| b | 1 |"


def page(made: Results) -> str:
    scenario = Scenario("work", "Some work", "little", (Figure("cost", "us"),), lambda *_: {})
    run = Run(
        scenarios=[scenario],
        ours=["us"],
        theirs=["them"],
        results=made,
        circumstances=["a quiet day"],
        versions={"us": "1.0"},
        failures=["them: work: they fell over"],
    )
    return markdown(run, "\n## Notes\n\nA person's words.\n")


def test_the_page_tells_medians_ratios_failures_and_the_notes():
    text = page(results(us=[10.0, 12.0], them=[5.0, None]))
    assert "| us | 11 (10 to 12) |" in text
    assert "| them | 2.00 |" in text
    assert "they fell over" in text
    assert text.endswith("A person's words.\n")


def test_the_chart_is_well_formed_and_leaves_out_who_has_no_value():
    panels = [
        Panel(Figure("cost", "us < them & all"), "Some work"),
        Panel(Figure("other", "nothing here"), ""),
    ]
    drawing = svg(panels, results(us=[0.0, 2.0], them=[None]), ["us"], ["them"])
    texts = [element.text for element in ET.fromstring(drawing).iter() if element.text]
    assert "us < them & all" in texts
    assert "us" in texts
    assert "them" not in texts
    assert "nothing here" not in texts


def test_the_chart_shows_the_spread_of_several_values_and_none_of_one():
    for made, lines in ((results(us=[1.0, 2.0]), 2), (results(us=[1.0]), 1)):  # the legend has one, too
        drawing = svg([Panel(Figure("cost", "us"), "")], made, ["us"], [])
        assert drawing.count('stroke-width="1.2"') == lines


def test_a_target_stands_where_it_belongs_even_beyond_every_bar():
    drawing = svg([Panel(Figure("cost", "us"), "", asked=8.0)], results(us=[2.0]), ["us"], [])
    assert f"M{LABEL + BAR:.1f} " in drawing
    assert f'width="{BAR / 4:.1f}"' in drawing


def test_templates_keep_the_dollars_of_nginx_and_have_every_name_filled_in():
    known = {"port", "upstream", "folder", "cert", "key", "both", "credentials", "echo", "workers"}
    assert Blank("$host @port").safe_substitute(port=1) == "$host 1"
    for peer in (*OURS, *THEIRS):
        for template in peer.templates:
            names = set(Blank((TEMPLATES / template).read_text()).get_identifiers())
            assert names <= known | set(peer.values) | {"type"}, template


def test_the_echo_answers_the_example_of_rfc_6455():
    assert accept_key(b"dGhlIHNhbXBsZSBub25jZQ==") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
