"""The API as its own description has it: schemathesis asks what fits and what doesn't, of a running proxy."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from certstore import Candidate, slot_id
from tests.bridging import bridge_to
from tests.pki import Pki
from tests.storing import candidate_of
from tlsproxy import app
from tlsproxy.config.arguments import from_arguments
from tlsproxy.control.application import OPERATIONS
from tlsproxy.control.client import Client

DEADLINE_S = 240
NAMES = ("schemathesis.test",)
# A run draws the same examples each time: a failure here comes from a change, not from luck.
SEED = 20261125

# What is valid by its form may still be refused for what it says: `refused` operations judge certificates.
SETTINGS = """
[parameters]
"path.bundle" = "{bundle}"
"path.slot" = "{slot}"
"path.source" = "customer"
"path.generation" = {generation}

[[operations]]
include-operation-id = [
    "proposeCandidate", "rollBackSlot", "removeSlot", "activateGeneration", "confirmReceipt", "makeRequest",
    "requestFactory", "installFactory", "putTrust", "removeTrust", "enableAcme", "foreseeAcme",
]
checks.positive_data_acceptance.expected-statuses = ["2xx", 404, 422, 502]

[[operations]]
include-operation-id = "followEvents"
checks.positive_data_acceptance.expected-statuses = [426]
"""


def hand_in(path: Path, candidates: list[Candidate]) -> list[tuple[str, int]]:
    """Bring certificates in; gives their bundles and generations."""
    found = []
    with Client(path) as client:
        for candidate in candidates:
            receipt = client.propose(candidate, "test")
            assert receipt.bundle is not None
            assert receipt.generation is not None
            found.append((receipt.bundle, receipt.generation))
    return found


@pytest.mark.slow
async def test_the_api_does_what_its_description_says_whatever_is_asked(tmp_path: Path, pki: Pki) -> None:
    """A proxy with real workers, all checks; a reload is refused, since this proxy is part of the test."""
    config = from_arguments(["127.0.0.1:0"], ["http://127.0.0.1:9"], tmp_path / "store")
    candidates = [candidate_of(pki.leaf(NAMES)) for _ in range(2)]
    with trio.fail_after(DEADLINE_S):
        async with trio.open_nursery() as nursery:
            await nursery.start(app.run, config)
            known = await trio.to_thread.run_sync(hand_in, config.control_socket, candidates)
            bundle, generation = known[0]
            settings = SETTINGS.format(bundle=bundle, generation=generation, slot=slot_id(NAMES))
            await trio.Path(tmp_path / "schemathesis.toml").write_text(settings)
            async with bridge_to(config.control_socket) as port:
                words = ["--checks", "all", "--max-examples", "10", "--seed", str(SEED), "--no-color"]
                done = await trio.run_process(
                    [
                        *(sys.executable, "-m", "schemathesis.cli", "run"),
                        f"http://127.0.0.1:{port}/v1/openapi.json",
                        *(*words, "--request-timeout", "30", "--continue-on-failure"),
                    ],
                    check=False,
                    capture_stdout=True,
                    stderr=subprocess.STDOUT,
                    cwd=tmp_path,
                )
            assert done.returncode == 0, done.stdout.decode()
            asked = len(OPERATIONS) - 1  # it leaves out the description that it has read
            assert re.search(rb"Operations: +%d selected / %d total" % (asked, asked), done.stdout)
            nursery.cancel_scope.cancel()
