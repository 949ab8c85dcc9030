"""A keeper of revocations with a real store, a real examiner and a real server, and a clock of ours."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import trio

from certstore import InProcess, Source, Store
from tests.errands import LOOPBACK, Library, a_library, answer
from tests.pki import Issued, Pki
from tests.responding import AT, DAY, with_responder
from tests.storing import OpenGate, candidate_of
from tlsproxy.revocationasking import Asker
from tlsproxy.revocationkeeping import Manner, RevocationKeeper
from tlsproxy.workers.examiner import ExaminerProcess
from tlsproxy.workers.stapling import Stapling

MINUTE = timedelta(minutes=1)


class Clock:
    now = AT

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Scene:
    folder: Path
    examiner: ExaminerProcess
    clock: Clock
    library: Library
    store: Store
    can_staple: bool = True
    told: list[str] = field(default_factory=list)
    results: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Begin as after a restart: with what is on the disk."""
        self.stapling = Stapling(self.clock, tuple)
        asker = Asker(self.examiner, self.clock, LOOPBACK)
        manner = Manner(DAY, can_staple=self.can_staple)
        self.keeper = RevocationKeeper(self.store, asker, self.stapling, self.clock, manner)
        self.keeper.tell = lambda finding: self.told.append(finding.code)
        self.keeper.on_asked = self.results.append

    def bring(self, issued: Issued, source: Source = Source.CUSTOMER) -> None:
        receipt = self.store.propose(
            candidate_of(issued), source=source, via="test", examiner=InProcess(OpenGate())
        )
        assert receipt.live_at is not None, receipt

    def respond(self, body: bytes | None) -> None:
        self.library.pages = {} if body is None else {"/ocsp": answer(body)}

    async def turn(self, later: timedelta = timedelta(0)) -> list[str]:
        """Let time go by, and look; gives what came of the questions."""
        self.clock.now += later
        self.results.clear()
        await self.keeper._turn()
        return list(self.results)

    @property
    def staples(self) -> list[bytes]:
        return [one.answer for one in self.stapling.pending().staples]

    @property
    def standing(self) -> list[str]:
        return [finding.code for finding in self.keeper.standing]

    @property
    def words(self) -> str:
        return " ".join(finding.words for finding in self.keeper.standing)


@asynccontextmanager
async def scene_at(
    folder: Path, examiner: ExaminerProcess, *, can_staple: bool = True
) -> AsyncIterator[Scene]:
    clock = Clock()
    with trio.fail_after(60), Store.open(folder / "store", clock=clock) as store:
        async with a_library() as library:
            yield Scene(folder, examiner, clock, library, store, can_staple)


def leaf_of(pki: Pki, scene: Scene, *, must_staple: bool = False, path: str = "/ocsp") -> Issued:
    tweak = with_responder(scene.library.url(path), must_staple=must_staple)
    return pki.leaf(start=AT - DAY, tweak=tweak)
