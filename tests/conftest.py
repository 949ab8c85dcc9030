"""Fixtures that all tests share."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.pki import Pki
from tests.plugins.tools import tool

__all__ = ["tool"]  # a fixture too


@pytest.fixture(scope="session")
def pki() -> Pki:
    """A certificate authority that is not our issuer; see tests/pki.py for what it can make."""
    return Pki()


@pytest.fixture
def now() -> datetime:
    """The time of this test, aware, in UTC, in whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)
