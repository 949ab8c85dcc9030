"""An issuer on a folder of its own, whose time is trio's, so that years pass in a moment."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import trio

from certstore import layout
from certstore.atomic import Disk
from certstore.issuers.acme.issuing import Issuer, Surroundings
from tests.authorities.scripted import EPOCH, Scripted

T = TypeVar("T")


async def at_once(do: Callable[[], T], /) -> T:
    """Do it here: a virtual clock would run on while a thread works."""
    await trio.lowlevel.checkpoint()
    done = do()
    await trio.lowlevel.checkpoint()
    return done


def open_issuer(
    root: Path, authority: Scripted, skew: timedelta = timedelta(), disk: Disk | None = None
) -> Issuer:
    """Open it as a start does; `skew`: how far the device's clock is ahead."""
    for folder in layout.folders():
        (root / folder).mkdir(mode=0o700, parents=True, exist_ok=True)
    surroundings = Surroundings(
        clock=lambda: EPOCH + skew + timedelta(seconds=trio.current_time()),
        random=random.Random(7).random,
        transport=lambda _: authority,
        offload=at_once,
    )
    issuer = Issuer(root, disk or Disk(), surroundings)
    assert issuer.load() == ()
    return issuer
