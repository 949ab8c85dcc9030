"""Proofs by DNS records that a command of the device's maker sets: real name server, real authority."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from tests.authorities.pebble import Pebble
from tests.live.peers import http_service
from tests.live.proxy_process import Proxy, running, tlsproxy, write_config
from tests.live.test_acme import DEADLINE_S, acme, directory, shown
from tests.live.test_acme_dns import values
from tests.live.test_reload import reload

# As a maker's would be: called as lego calls one, it changes a zone.
HOOK = """#!{python}
import os, sys
import dns.name, dns.query, dns.tsig, dns.update
from certstore.issuers.acme.nameserver import TsigKey

told, device, action, name, value = sys.argv[1:]
key = TsigKey.read(open({key!r}).read())
called = dns.name.from_text(key.name)
keyring = {{called: dns.tsig.Key(called, key.secret)}}
update = dns.update.UpdateMessage("test.", keyring=keyring, keyname=called)
if action == "present":
    update.add(name, 60, "TXT", value)
else:
    update.delete(name, "TXT", value)
assert dns.query.tcp(update, "127.0.0.1", port={port}, timeout=10).rcode() == 0
with open(told, "a") as file:
    file.write(" ".join([device, action, name, value, *sorted(os.environ)]) + "\\n")
"""


def hook_in(folder: Path, body: str) -> Path:
    path = folder / "dns hook"
    path.write_text(body)
    path.chmod(0o755)
    return path


@asynccontextmanager
async def scene(folder: Path, pebble: Pebble, table: str) -> AsyncIterator[tuple[Proxy, Path]]:
    async with http_service() as http:
        listener, routes = f"127.0.0.1:{pebble.tls}", {"/": f"http://127.0.0.1:{http}"}
        config = write_config(folder, routes, listener=listener, more=table, top="workers = 1")
        async with running(config) as proxy:
            yield proxy, config


async def test_a_command_sets_and_removes_the_records_also_after_a_reload(tmp_path, asked, knot) -> None:
    told = tmp_path.parent / f"{tmp_path.name}-told"  # outside of what the proxy itself may write
    root = Path(__file__).parents[2]
    body = HOOK.format(python=sys.executable, key=str(knot.key_file), port=knot.port)
    hook = hook_in(tmp_path, body.replace("import dns", f"sys.path.insert(0, {str(root)!r})\nimport dns", 1))
    table = f'[acme]\ndns_hook = ["{hook}", "{told}", "unit 7"]\n'
    words = ("--challenge", "dns-01", "--name", "*.device.test", "--name", "device.test")
    with trio.fail_after(DEADLINE_S):
        async with scene(tmp_path, asked, table) as (proxy, _):
            seen = await acme(proxy, "preflight", *directory(asked, tmp_path)[:-1], *words)
            assert [one["works"] for one in seen["challenges"]] == ["yes"]
            first = await acme(proxy, "enable", *directory(asked, tmp_path), *words)
            assert (first["dns_hook"], first["name_server"]) == (True, None)
            assert await shown(proxy.port) == first["sha256"]
            assert await values(knot, "_acme-challenge.device.test") == set()
            calls = [line.split() for line in told.read_text().splitlines()]
            assert sorted(call[2] for call in calls) == ["cleanup"] * 2 + ["present"] * 2
            assert {(*call[:2], call[3]) for call in calls} == {("unit", "7", "_acme-challenge.device.test.")}
            assert {one for call in calls for one in call[5:]} <= {"PATH", "LANG", "LC_CTYPE"}
            assert await reload(proxy) == (0, "")
            second = await acme(proxy, "renew")
            assert await shown(proxy.port) == second["sha256"] != first["sha256"]
            more = [line.split()[2:5] for line in told.read_text().splitlines()[4:]]
            assert len(more) <= 4  # see PEBBLE_AUTHZREUSE
            values_of = {what: {one[2] for one in more if one[0] == what} for what in ("present", "cleanup")}
            assert values_of["present"] == values_of["cleanup"] != set()


async def test_why_a_command_fails_is_told_in_its_last_line_and_steers_no_terminal(tmp_path, asked) -> None:
    body = "#!/bin/sh\necho first; printf 'no zone \\033[2J for it\\n\\n' >&2; exit 3\n"
    words = ("--challenge", "dns-01", "--name", "device.test")
    with trio.fail_after(DEADLINE_S):
        async with scene(tmp_path, asked, f'[acme]\ndns_hook = ["{hook_in(tmp_path, body)}"]\n') as (
            proxy,
            _,
        ):
            failed = await acme(proxy, "enable", *directory(asked, tmp_path), *words, code=1)
            assert failed["last_failure"]["code"] == "acme_challenge_unanswered"
            why = "the command dns_hook: it ended with exit code 3: no zone  [2J for it"
            assert failed["last_failure"]["words"].endswith(why)
            done = await tlsproxy("acme", "status", "--store", str(proxy.store))
            assert why.encode() in done.stdout


async def test_one_that_hangs_is_killed_in_time(tmp_path, asked) -> None:
    hook = hook_in(tmp_path, "#!/bin/sh\nsleep 1000\n")
    words = ("--challenge", "dns-01", "--name", "device.test")
    with trio.fail_after(DEADLINE_S):
        table = f'[acme]\ndns_hook = ["{hook}"]\ndns_hook_s = 0.5\n'
        async with scene(tmp_path, asked, table) as (proxy, _):
            failed = await acme(proxy, "enable", *directory(asked, tmp_path), *words, code=1)
            assert "it did not end within 0.5 s" in failed["last_failure"]["words"]


async def test_without_a_command_and_without_a_name_server_nobody_enrols(tmp_path, asked) -> None:
    words = ("--challenge", "dns-01", "--name", "device.test", *directory(asked, tmp_path))
    with trio.fail_after(DEADLINE_S):
        async with scene(tmp_path, asked, "") as (proxy, _):
            done = await tlsproxy("acme", "enable", *words, "--store", str(proxy.store))
            assert done.returncode == 1
            assert b"nobody sets records for dns-01" in done.stderr
            assert not (proxy.store / "authority" / "accounts" / "enrolment.json").exists()
