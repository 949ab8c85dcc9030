"""The store that most of these tests are about: new, with a clock and a publisher that the test owns."""

from __future__ import annotations

import pytest

from certstore.store import Store
from tests.storing import Clock, NotingPublisher


@pytest.fixture
def clock(now):
    return Clock(now)


@pytest.fixture
def publisher():
    return NotingPublisher()


@pytest.fixture
def store(tmp_path, clock, publisher):
    with Store.open(tmp_path / "store", clock=clock, publisher=publisher) as store:
        yield store
