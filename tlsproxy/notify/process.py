"""The hook helper: runs hooks and posts to webhooks, tries again, and says what became of each letter.

Promises: each way has a queue of its own, bounded, in order: one that fails holds up nobody else; a letter is
tried again for a day, at random growing intervals, and then given up; the supervisor is told of every try. It
ends when the supervisor has closed the channel. Refuses to know what letters mean.

Theory. It outlives reloads, and would run old code for ever: a successor that the supervisor starts stands
inside the fence. So it executes itself anew when it is told to, in its place: what is tried at that moment is
tried to its end, what waits goes along (renewal.py), and what comes meanwhile waits in the channel.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from types import FrameType
from typing import TypeAlias

import trio

from tlsproxy import policy_notices as policy
from tlsproxy.notify import hook, letters, renewal
from tlsproxy.notify.errands import Errands
from tlsproxy.notify.letters import (
    Done,
    Errand,
    Letter,
    Luggage,
    Renew,
    Report,
    Result,
    Settings,
    Standing,
    Waiting,
    Way,
)
from tlsproxy.notify.packets import receive
from tlsproxy.privilege import capabilities, facts
from tlsproxy.privilege.account import Account
from tlsproxy.privilege.landlock import Verdict
from tlsproxy.privilege.supervisor import become
from tlsproxy.privilege.worker import hide_memory
from tlsproxy.signals import let_in
from tlsproxy.workers.spawn import descriptors

__all__ = ["Postman", "main", "pause_s"]

Try: TypeAlias = Callable[[Letter], Awaitable[tuple[str, str]]]
"""Tries once; gives why it failed ("": it did not) and what was written meanwhile."""
Say: TypeAlias = Callable[[Report], None]


def pause_s(tries: int, chance: float) -> float:
    """Say how long to wait after so many tries; chance: from 0 to 1, at random."""
    return chance * min(policy.RETRY_FIRST_S * 2.0 ** min(tries, 30), policy.RETRY_MOST_S)


class Postman:
    """One way with its queue. `run` works it off until cancelled, or `ended` once nothing may come."""

    def __init__(self, way: Way, attempt: Try, say: Say, waiting: Iterable[Waiting] = ()) -> None:
        self._way, self._attempt, self._say = way, attempt, say
        self._waiting = deque(one for one in waiting if one.way == way)
        self._come = trio.Event()
        self._is_ending = self._is_halted = False

    def take(self, letter: Letter) -> None:
        """Queue a letter; the oldest that waits makes room."""
        if len(self._waiting) >= policy.LETTERS_WAITING:
            dropped = self._waiting.popleft()
            self._tell(dropped.letter, "dropped", dropped.tries, "too many wait")
        self._waiting.append(Waiting(self._way, letter))
        self._come.set()

    def end(self) -> None:
        """Try once what waits, and no more."""
        self._is_ending = True
        self._come.set()

    def halt(self) -> None:
        """Try nothing more; `run` returns when what is being tried was, and `waiting` tells what is left."""
        self._is_halted = True
        self._come.set()

    @property
    def _is_leaving(self) -> bool:
        return self._is_ending or self._is_halted

    @property
    def waiting(self) -> Sequence[Waiting]:
        """What is queued, in its order."""
        return tuple(self._waiting)

    async def run(self) -> None:
        """Work off the queue."""
        while True:
            while self._waiting and not self._is_halted:
                await self._bring(self._waiting.popleft())
            if self._is_leaving:
                return
            await self._come.wait()
            self._come = trio.Event()

    async def _bring(self, waiting: Waiting) -> None:
        letter, tries, since = waiting.letter, waiting.tries, trio.current_time() - waiting.age_s
        while True:
            why, output = await self._try(letter)
            tries += 1
            if not why:
                return self._tell(letter, "delivered", tries, "", output)
            if self._is_ending or trio.current_time() - since >= policy.GIVE_UP_S:
                return self._tell(letter, "given_up", tries, why, output)
            self._tell(letter, "failed", tries, why, output)
            with trio.move_on_after(pause_s(tries, random.random())):  # noqa: S311  no secret: it spreads
                while not self._is_leaving:
                    await self._come.wait()
                    if not self._is_leaving:
                        self._come = trio.Event()
            if self._is_halted:
                self._waiting.appendleft(Waiting(self._way, letter, tries, trio.current_time() - since))
                return None

    async def _try(self, letter: Letter) -> tuple[str, str]:
        try:
            return await self._attempt(letter)
        except Exception as error:  # noqa: BLE001  the border of one try: with this process all that waits is lost
            return f"it failed ({type(error).__name__})", ""

    def _tell(self, letter: Letter, result: Result, tries: int, why: str, output: str = "") -> None:
        self._say(Report(letter.kind, self._way, result, tries, why, output))


class _Office:
    """All ways of one helper, by the settings that came last."""

    def __init__(self, sock: socket.socket, luggage: Luggage) -> None:
        self._sock, self._settings = sock, luggage.settings
        self._postmen: dict[Way, Postman] = {
            "command": Postman("command", self._run_command, self._say, luggage.waiting),
            "webhook": Postman("webhook", self._post, self._say, luggage.waiting),
        }
        self._errands = Errands(self._do)

    async def run(self) -> Luggage | None:
        """Take letters until the supervisor is gone, and try for a moment what is left.

        Or until we are to execute ourselves anew: gives what goes along.
        """
        self._say(_standing())
        async with trio.open_nursery() as nursery:
            for postman in self._postmen.values():
                nursery.start_soon(postman.run)
            nursery.start_soon(self._errands.run)
            is_renewed = await self._listen()
            self._errands.end()
            if is_renewed:
                for postman in self._postmen.values():
                    postman.halt()
            else:
                nursery.cancel_scope.deadline = trio.current_time() + policy.HELPER_END_S
                for postman in self._postmen.values():
                    postman.end()
        waiting = [one for postman in self._postmen.values() for one in postman.waiting]
        return Luggage(self._settings, waiting) if is_renewed else None

    async def _listen(self) -> bool:
        """Obey; True where we are to be renewed, False where nobody is there any more."""
        while packet := await receive(self._sock):
            match letters.decode(packet):
                case Settings() as settings:
                    self._settings = settings
                    self._say(_standing())
                case Renew():
                    return True
                case Errand() as errand:
                    self._errands.take(errand)
                case Letter() as letter:
                    if self._settings.command:
                        self._postmen["command"].take(letter)
                    if self._settings.webhook:
                        self._postmen["webhook"].take(letter)
        return False

    async def _do(self, errand: Errand) -> None:
        settings = self._settings
        if not settings.dns_hook:
            return self._say(Done(errand.id, "no command is configured any more"))
        ended = await hook.run((*settings.dns_hook, *errand.words), b"", settings.dns_hook_s)
        return self._say(Done(errand.id, ended.why, ended.last_line))

    async def _run_command(self, letter: Letter) -> tuple[str, str]:
        settings = self._settings
        if not settings.command:
            return "", ""  # not wanted any more
        line = letter.text.encode() + b"\n"
        ended = await hook.run(settings.command, line, settings.try_s, {"TLSPROXY_EVENT": letter.kind})
        return ended.why, ended.output

    async def _post(self, letter: Letter) -> tuple[str, str]:
        settings = self._settings
        if not settings.webhook:
            return "", ""
        from tlsproxy.notify.webhook import post  # 20 MB, which nobody pays who has no webhook

        why = f"no answer within {settings.try_s:g} s"
        with trio.move_on_after(settings.try_s):
            why = await post(settings.webhook, letter.text.encode(), settings.webhook_ca, settings.try_s)
        return why, ""

    def _say(self, message: Report | Done | Standing) -> None:
        with suppress(OSError):  # nobody listens
            self._sock.send(letters.encode(message))


async def serve(fd: int, luggage: Luggage | None = None) -> None:
    """Be a helper: the first packet says whom to be and what to do; `luggage` where we were one before."""
    with socket.socket(fileno=fd) as sock:
        sock.setblocking(False)
        if luggage is None:
            settings = letters.decode(await receive(sock))
            if not isinstance(settings, Settings):
                return
            _step_down(settings)
            luggage = Luggage(settings, [])
        while (luggage := await _Office(sock, luggage).run()) is not None:
            renewal.execute(luggage, sock.fileno())


def _standing() -> Standing:
    return Standing(facts.look(Verdict(0, "hooks run outside it")))


def _step_down(settings: Settings) -> None:
    """Become the proxy's user, without capabilities; no fence, and setuid programs may still be used."""
    if settings.account is not None:
        become(Account(*settings.account))
    elif os.geteuid() != 0:
        capabilities.hold_only()
    os.umask(0o077)


def main(arguments: Sequence[str]) -> None:
    """Be the hook helper."""
    hide_memory()
    signal.signal(signal.SIGINT, _pass_by)
    signal.signal(signal.SIGHUP, _pass_by)
    signal.signal(signal.SIGTERM, _pass_by)  # a service manager asks all: the supervisor says when we end
    let_in()
    given = descriptors(arguments)
    luggage = renewal.unpacked(given["luggage"]) if "luggage" in given else None
    trio.run(serve, given["channel"], luggage)


def _pass_by(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: unlike SIG_IGN, no hook inherits it."""


if __name__ == "__main__":
    main(sys.argv[1:])
