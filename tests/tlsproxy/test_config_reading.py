"""Configuration files: what a good one means, and everything that is wrong with a bad one."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import fields
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsproxy.config import ListenerConfig
from tlsproxy.config.reading import load, parse_route_path, read, read_file
from tlsproxy.config.values import LimitsConfig
from tlsproxy.errors import ConfigError, ExitCode, Mistake
from tlsproxy.routing.table import Route, RouteTable

CONF = Path(__file__).parents[2] / "conf"
DOCS = Path(__file__).parents[2] / "docs" / "configuration.md"
GOOD = """
store = "s"
[[listener]]
address = "127.0.0.1:8443"
[[route]]
upstream = "http://127.0.0.1:3000"
"""


NO_WSS = "'wss://127.0.0.1': upstreams speak HTTP/1.1: write http:// or https:// (WebSockets included)"


def mistakes_of(text: str) -> list[str]:
    return [str(mistake) for mistake in read(text, Path("/etc/x")).mistakes]


def test_five_lines_make_a_configuration_with_safe_defaults() -> None:
    config = read(GOOD, Path("/etc/x")).config
    assert config is not None
    assert config.store == Path("/etc/x/s")
    assert config.runtime == Path("/etc/x/s/run")
    assert config.control_socket == Path("/etc/x/s/run/control.sock")
    assert config.inbox == Path("/etc/x/s/inbox")
    assert config.listeners == (ListenerConfig("127.0.0.1:8443", "127.0.0.1", 8443, "tls"),)
    assert [(route.path, str(route.upstream)) for route in config.routes] == [("/", "http://127.0.0.1:3000")]
    assert config.identity.addresses is True
    assert not config.identity.localhost
    assert config.forwarded.trust == ()
    assert not config.forwarded.tell_bundle
    assert config.limits == LimitsConfig()


def test_every_key_arrives_where_it_belongs() -> None:
    config = load(CONF / "tlsproxy.toml")
    assert config.runtime == Path("/run/tlsproxy")
    assert [listener.kind for listener in config.listeners] == ["tls", "http"]
    assert config.listeners[0].host == "::"
    assert [str(route.upstream) for route in config.routes] == [
        "http://127.0.0.1:3000",
        "unix:/run/device/api.sock",
        "https://127.0.0.1:9443",
    ]
    assert config.watches[0].path == Path("/etc/device/tls")
    assert config.watches[0].slot == "customer"
    assert config.inbox == Path("/var/lib/tlsproxy-inbox")
    assert config.identity.names == ("pump-7.site.example",)
    assert config.identity.serial == "PX-000123"
    assert config.forwarded.trust == (ip_network("10.0.0.0/8"),)
    assert config.limits == LimitsConfig(), "the example shows the defaults"
    assert config.tls.engine == "auto"


@pytest.mark.parametrize("path", sorted(CONF.glob("*.toml")), ids=lambda path: path.name)
def test_each_example_is_good(path: Path) -> None:
    reading = read_file(path)
    assert reading.mistakes == ()
    assert reading.advice == ()


def test_all_mistakes_are_found_each_with_its_key_and_line() -> None:
    text = """\
store = 7
bogus = 1
[[listener]]
address = "[::]:443"
kind = "udp"
[[listener]]
adress = "[::]:80"
[[route]]
path = "api"
upstream = "wss://127.0.0.1"
[[watch]]
slot = "mine"
[limits]
idle_s = inf
header_s = 0
connections = true
drain_s = "8"
[identity]
names = ["ok.example", 7]
addresses = ["10.0.0.300"]
[forwarded]
trust = ["10.0.0.1/8"]
[tls]
engine = "gnutls"
"""
    assert mistakes_of(text) == [
        "line 1: store: expected text in quotes, not a whole number",
        "line 2: bogus: unknown key",
        "line 5: listener[0].kind: 'udp' is none of tls, http",
        "line 6: listener[1].address: is missing",
        "line 7: listener[1].adress: unknown key",
        "line 9: route[0].path: 'api' must start with a slash",
        "line 10: route[0].upstream: " + NO_WSS,
        "line 11: watch[0].path: is missing",
        "line 12: watch[0].slot: 'mine' is none of customer, acme",
        "line 14: limits.idle_s: inf must be at most 86400",
        "line 15: limits.header_s: 0 must be more than 0",
        "line 16: limits.connections: expected a whole number, not true or false",
        "line 17: limits.drain_s: expected a number, not text in quotes",
        "line 19: identity.names: expected text in quotes in the list, not a whole number",
        "line 20: identity.addresses: '10.0.0.300' is no IP address",
        "line 22: forwarded.trust: '10.0.0.1/8' has bits set beyond its length: write 10.0.0.0/8",
        "line 24: tls.engine: 'gnutls' is none of auto, system, bundled",
    ]


def test_a_group_wants_a_user_and_both_are_names_or_numbers() -> None:
    good = read('user = "64001"\ngroup = "adm"\n' + GOOD, Path("/x")).config
    assert good is not None
    assert (good.user, good.group) == ("64001", "adm")
    assert mistakes_of('group = "adm"\n' + GOOD) == ["line 1: group: stands without a user"]
    (mistake,) = mistakes_of('user = "a:b"\n' + GOOD)
    assert mistake == "line 1: user: 'a:b' is no name or number of an account"
    (mistake,) = mistakes_of('user = "4294967296"\n' + GOOD)
    assert mistake == "line 1: user: '4294967296' is no name or number of an account"


def test_an_unknown_key_names_the_one_that_was_meant() -> None:
    (mistake,) = read(GOOD + "[limits]\nidle = 3\n", Path("/x")).mistakes
    assert mistake == Mistake("limits.idle", 8, "unknown key", "did you mean idle_s?")


def test_an_empty_file_misses_a_store_a_listener_and_a_route() -> None:
    assert [m.split(":")[0] for m in mistakes_of("")] == ["store", "listener", "route"]


@pytest.mark.parametrize(
    ("more", "mistake"),
    [
        ('[[listener]]\naddress = "127.0.0.1:8443"', "listener[1].address: 127.0.0.1:8443 is the same as"),
        ('[[listener]]\naddress = "*:8443"', "listener[1].address: *:8443 is already included in"),
        ('[[route]]\nupstream = "http://a"', "route[1].path: / already goes to http://127.0.0.1:3000"),
        ('[[route]]\npath="/a"\nupstream = "http://127.0.0.1:8443"', "is this proxy's own listener"),
        ('[[route]]\npath="/a/../b"\nupstream = "http://a"', "dot segments"),
        ('[[route]]\npath="/a b"\nupstream = "http://a"', "plain text"),
        ('[[route]]\npath="/a;b"\nupstream = "http://a"', "in two ways"),
        ('[[route]]\npath="/.x"\nupstream = "http://a"', "in two ways"),
        ('[[watch]]\npath = "s/inbox"', "watch[0].path: /etc/x/s/inbox is already the inbox"),
        ('[[watch]]\npath = "s/bundles"', "lies in the store"),
        ('[[watch]]\npath = "/a"\n[[watch]]\npath = "/a"', "watch[1].path: /a is already watched"),
        ('[inbox]\npath = "s"', "inbox.path: the inbox can't be the store itself"),
        ('listener = "x"', "listener: expected tables"),
        ("[[limits]]\nidle_s = 3", "limits: expected a table, not a list"),
        ('[identity]\nnames = ["a b"]', "is no host name or address"),
        ('[identity]\nserial = "a\\u0000"', "printable"),
    ],
)
def test_what_cannot_work_together_is_found(more: str, mistake: str) -> None:
    text = GOOD.replace('store = "s"', f'store = "s"\n{more}') if more.startswith("listener") else GOOD + more
    if more.startswith("listener"):
        text = text.replace('[[listener]]\naddress = "127.0.0.1:8443"\n', "")
    found = mistakes_of(text)
    assert len(found) == 1, found
    assert mistake in found[0]


def test_routes_that_differ_only_in_a_slash_at_the_end_are_the_same() -> None:
    more = '[[route]]\npath = "/a"\nupstream = "http://a"\n[[route]]\npath = "/a/"\nupstream = "http://b"'
    assert mistakes_of(GOOD + more) == ["line 11: route[2].path: /a already goes to http://a:80"]


def test_only_http_listeners_would_redirect_to_nothing() -> None:
    assert 'has no listener of kind = "tls"' in mistakes_of(GOOD.replace('8443"', '80"\nkind = "http"'))[0]


def test_a_control_socket_that_the_system_cannot_bind_is_refused_with_the_way_out() -> None:
    text = GOOD.replace('"s"', f'"/{"x" * 100}"')
    (mistake,) = read(text, Path("/x")).mistakes
    assert (mistake.key, mistake.line) == ("runtime", None)
    assert "takes 107" in mistake.why
    assert mistake.hint == 'name a shorter folder for it: runtime = "/run/tlsproxy"'
    assert read(f'runtime = "/run/t"\n{text}', Path("/x")).config is not None


def test_a_syntax_error_stands_alone_with_its_line() -> None:
    (mistake,) = read("store = 's'\nbogus = tru\n", Path("/x")).mistakes
    assert mistake.line == 2
    assert str(mistake) == "line 2: is no TOML: invalid value (column 9)"
    (mistake,) = read("store = 's'\n[limits", Path("/x")).mistakes
    assert mistake.line == 2


def test_an_upstream_on_another_machine_is_allowed_with_advice() -> None:
    reading = read(GOOD.replace("127.0.0.1:3000", "10.0.0.7:3000"), Path("/x"))
    assert reading.config is not None
    (advice,) = reading.advice
    assert (advice.key, advice.line) == ("route[0].upstream", 6)
    assert "in the clear" in advice.why


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"store = '\xff'\n", "is not UTF-8"), (b"#" * 1_100_000, "is larger than"), (b"[" * 5000, "TOML")],
    ids=["not UTF-8", "huge", "deep"],
)
def test_a_file_that_is_no_configuration_is_one_mistake(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(content)
    (mistake,) = read_file(path).mistakes
    assert words in mistake.why


def test_a_file_that_is_not_there_is_a_mistake_too(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file") as caught:
        load(tmp_path / "absent.toml")
    assert caught.value.exit_code is ExitCode.MISUSE
    assert caught.value.hint


def test_an_error_tells_the_first_mistake_and_counts_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text("a = 1\nb = 2\n")
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert len(caught.value.mistakes) == 5
    assert str(caught.value) == f"{path}: store: is missing (and 4 more)"


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(b"\xef\xbb\xbf" + (GOOD + "bogus = 1\n").replace("\n", "\r\n").encode())
    (mistake,) = read_file(path).mistakes
    assert (mistake.key, mistake.line) == ("route[0].bogus", 7)


def documented() -> dict[str, str]:
    rows = (line.split("|") for line in DOCS.read_text().splitlines() if line.startswith("| `"))
    return {row[1].strip().strip("`"): row[2].strip() for row in rows}


def leaves(table: dict[str, Any], before: str = "") -> Iterator[str]:
    """Give the keys of a document as the page writes them: `route[].path`, `limits.idle_s`."""
    for key, value in table.items():
        tables = [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, dict)]
        for one in tables:
            yield from leaves(one, f"{before}{key}{'[]' if isinstance(value, list) else ''}.")
        if not tables:
            yield before + key


def test_the_page_names_every_key_and_the_example_shows_it() -> None:
    example = tomllib.loads((CONF / "tlsproxy.toml").read_text())
    assert set(documented()) == set(leaves(example))


def test_the_page_gives_the_limits_that_hold() -> None:
    page = documented()
    assert {f.name: page[f"limits.{f.name}"] for f in fields(LimitsConfig)} == {
        f.name: f"`{f.default}`" for f in fields(LimitsConfig)
    }


def test_the_page_names_no_key_that_is_not_known() -> None:
    lines = ['store = "s"']
    tables: dict[str, list[str]] = {}
    for key in documented():
        table, _, name = key.rpartition(".")
        tables.setdefault(table, []).append(name)
    for table, names in tables.items():
        if table:
            plain = table.replace("[]", "")  # the latest entry of a list is meant by what lies in it
            lines.append(f"[[{plain}]]" if table.endswith("[]") else f"[{plain}]")
            lines += [f"{name} = 1979-05-27" for name in names]
    assert not [m for m in mistakes_of("\n".join(lines)) if "unknown key" in m]


@given(st.text(st.characters(codec="ascii"), max_size=12).map(lambda text: "/" + text))
def test_whatever_path_is_admitted_makes_a_route(text: str) -> None:
    try:
        path = parse_route_path(text)
    except ValueError:
        return
    RouteTable((Route(path, "x"),))
