"""What several of these tests start: a name server, and an ACME authority that asks it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.authorities import knot as knots
from tests.authorities import pebble as pebbles
from tests.authorities.knot import Knot
from tests.authorities.pebble import Pebble
from tests.pki import Pki


@pytest.fixture
def knot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Knot]:
    """Have a name server whose zone `test` can be written to."""
    with knots.running(tmp_path_factory.mktemp("knot")) as running:
        yield running


@pytest.fixture
def asked(tmp_path_factory: pytest.TempPathFactory, pki: Pki, knot: Knot) -> Iterator[Pebble]:
    """Have an authority that asks `knot` for every name."""
    with pebbles.running(tmp_path_factory.mktemp("pebble"), pki, asks=knot.port) as running:
        yield running
