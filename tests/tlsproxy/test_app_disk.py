"""A disk that takes no write any more while clients are served: they are served on, and it is told why."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
import trio

from certstore import State
from certstore.atomic import Disk
from tests.pki import Pki
from tests.whole_proxy import JumpingClock, scene
from tlsproxy.errors import ControlError


class Failing:
    """Stands before every write of every store in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.number = 0
        fill = Disk._fill

        def maybe(disk: Disk, path: Path, content: bytes) -> None:
            if self.number:
                raise OSError(self.number, os.strerror(self.number), str(path))
            fill(disk, path, content)

        monkeypatch.setattr(Disk, "_fill", maybe)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES], ids=errno.errorcode.get)
async def test_a_disk_that_fails_with_a_connection_going_on(
    tmp_path: Path, pki: Pki, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    failing = Failing(monkeypatch)
    with trio.fail_after(120):
        async with scene(tmp_path, JumpingClock()) as at:
            mine = pki.leaf()
            assert (await at.propose(mine)).state is State.CONFIRMED
            fingerprint = mine.bundle().fingerprint
            assert await at.served() == fingerprint

            failing.number = number
            slot = (await at.ask(lambda client: client.slots()))[0]

            def reset(client: Any) -> Any:
                return client.reset(["customer", "identity"], "test")

            for change in (
                lambda: at.propose(pki.leaf()),
                lambda: at.ask(lambda client: client.remove(slot.key, "test")),
                lambda: at.ask(lambda client: client.roll_back(slot.key, "test")),
                lambda: at.ask(reset),
            ):
                with pytest.raises(ControlError, match=os.strerror(number)):
                    await change()
                assert await at.served() == fingerprint

            failing.number = 0
            second = pki.leaf()
            assert (await at.propose(second)).state is State.CONFIRMED
            assert await at.served() == second.bundle().fingerprint
            receipt = await at.ask(reset)
            assert (receipt.state, receipt.codes) == (State.CONFIRMED, ("unlinked_only",))
            async with at.anew() as client:
                assert client.fingerprint == (await at.own()).fingerprint
