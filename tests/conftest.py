"""Fixtures that all tests share."""

from __future__ import annotations

import os
from datetime import UTC, datetime

import pytest

from tests.pki import Pki
from tests.plugins.tools import tool

__all__ = ["tool"]  # a fixture too

if os.geteuid() == 0:
    # Root's folders in /tmp are closed to other users; tests/live/test_root.py takes care of its own.
    os.environ.setdefault("TLSPROXY_UNSAFE_AS_ROOT", "1")


@pytest.fixture(scope="session")
def pki() -> Pki:
    """A certificate authority that is not our issuer; see tests/pki.py for what it can make."""
    return Pki()


@pytest.fixture
def now() -> datetime:
    """The time of this test, aware, in UTC, in whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)
