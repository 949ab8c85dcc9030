"""What this machine has to confine processes with, so that tests say honestly what they could not prove."""

from __future__ import annotations

import os

import pytest

from tlsproxy.privilege import landlock

FOUND = landlock.abi()
needs_landlock = pytest.mark.skipif(not FOUND.abi, reason=f"no Landlock here: {FOUND.why}")
needs_landlock_for_tcp = pytest.mark.skipif(FOUND.abi < 4, reason="this kernel's Landlock knows no TCP")
needs_landlock_for_signals = pytest.mark.skipif(
    FOUND.abi < 6, reason="this kernel's Landlock knows no signals"
)
only_root_looks_in = pytest.mark.skipif(
    os.geteuid() != 0, reason="what a process of ours has open is shown to root only: run the tests as root"
)
