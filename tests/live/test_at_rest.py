"""What each process carries while nothing happens: neither what others do, nor what a library took along.

The memory that a device gives to us at rest is what our three kinds of process have imported, almost all of
it. So a module that comes back by accident is found here, by its name; figures are in benchmarks/RESULTS.md.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio

from tests.live.https_client import Client
from tests.live.peers import http_service
from tests.live.proxy_process import running, write_config

# Python imports a module of this name at each start; here it says at the end what else was imported. Its file
# is opened at once: behind a worker's fence, none can be.
WITNESS = """
import atexit, json, os, pathlib, sys
def tell(file=pathlib.Path(os.environ["WITNESSED"], str(os.getpid())).open("w"), end=os.getpid()):
    if os.getpid() == end:
        file.write(json.dumps([" ".join(sys.orig_argv), *sys.modules]))
        file.flush()
atexit.register(tell)
"""

# Nobody at rest needs these; each was carried once, or would be by a step taken without a thought.
BY_NOBODY = {
    "bcrypt",
    "difflib",
    "dns",
    "httpx2",
    "multiprocessing.pool",
    "pdb",
    "pygments",
    "pytest",
    "rich",
    "sqlite3",
}
BY_NO_CHILD = BY_NOBODY | {
    "asyncio",
    "certstore.recovery",
    "certstore.store",
    "click",
    "http.client",
    "hypercorn",
    "multiprocessing",
    "prometheus_client",
    "psutil",
    "starlette",
    "structlog",
    "tlsproxy.app",
    "tlsproxy.config.reading",
    "tlsproxy.control",
    "tlsproxy.observe.log",
    "tlsproxy.observe.status",
    "tomllib",
    "watchfiles",
    "wsproto",
}
NOT_CARRIED = {
    "tlsproxy.workers.process": BY_NO_CHILD
    | {"certstore.checks", "certstore.decode", "certstore.examination", "certstore.issuers"},
    "tlsproxy.workers.examination": BY_NO_CHILD | {"h11", "tlsproxy.config", "tlsproxy.forward", "trio"},
    "tlsproxy": BY_NOBODY | {"OpenSSL", "psutil", "tlsproxy.demo", "tlsproxy.forward", "tlsproxy.tls.gate"},
}


async def loaded_in(folder: Path, pki, engine: str) -> dict[str, set[str]]:
    """Run a proxy of the least kind, have it take and serve a certificate; what each process had loaded."""
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text(WITNESS)
    (folder / "told").mkdir()
    env = {"PYTHONPATH": str(folder / "site"), "WITNESSED": str(folder / "told")}
    top = f'workers = 1\nruntime = "{folder / "told"}"'  # where there is room for writing in the fence
    async with http_service() as http:
        config = write_config(
            folder, {"/": f"http://127.0.0.1:{http}"}, top=top, more=f'[tls]\nengine = "{engine}"\n'
        )
        async with running(config, env=env) as proxy:
            issued = pki.leaf()
            (proxy.inbox / "both.pem").write_bytes(issued.key_pem + issued.chain_pem)
            await proxy.wait_log("receipt", state="confirmed", bundle=issued.bundle().id)
            async with Client.to(proxy.port) as client:
                assert (await client.get("/")).status == 200
                assert client.fingerprint == issued.bundle().fingerprint
    found = {}
    for told in (folder / "told").iterdir():
        if not (text := told.read_text()):
            continue  # it was killed
        command, *modules = json.loads(text)
        words = command.split()
        found[words[words.index("-m") + 1]] = set(modules)
    return found


@pytest.mark.parametrize("engine", ["system", "bundled"])
async def test_no_process_carries_what_it_does_not_use(tmp_path, pki, engine):
    with trio.fail_after(60):
        found = await loaded_in(tmp_path, pki, engine)
    assert found.keys() == NOT_CARRIED.keys()
    carried = {name: sorted(found[name] & NOT_CARRIED[name]) for name in found}
    assert not any(carried.values()), carried
    assert ("OpenSSL" in found["tlsproxy.workers.process"]) == (engine == "bundled"), (
        "a worker carries one TLS library"
    )
