"""Waiting for a certificate of an ACME authority: what is waited for is told as it happens, by events.

Promises: nothing is missed, since events are followed from before anything is asked; an event is a hint, and
how things stand is what the proxy then answers. What others say comes to the terminal without what would
steer it. Refuses to know what was asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import click
import trio

from tlsproxy.cli.endings import printable
from tlsproxy.cli.places import somewhere_else
from tlsproxy.control.client import Client
from tlsproxy.control.follower import Follower
from tlsproxy.errors import ControlError, NotRunningError

if TYPE_CHECKING:
    from tlsproxy.cli.places import Whereabouts

__all__ = ["asked_and_followed", "step_words"]

# Nothing is waited for by looking again and again; but who could hear of nothing must not wait for ever.
_LOOK_AGAIN_S = 20.0
_WORDS = {
    "account": "finding the account at {host}",
    "order": "placing the order at {host} for {names}",
    "answering": "preparing the proof of {names} by {challenge}",
    "validation": "waiting for {host} to see the proof of {names} by {challenge}",
    "issuance": "waiting for {host} to issue the certificate",
    "download": "fetching the certificate",
    "taking": "having the certificate examined and served",
}
_MOST_NAMES = 3


def asked_and_followed(
    place: Whereabouts, ask: Callable[[Client], object], *, wait: bool, is_quiet: bool
) -> dict[str, object]:
    """Ask, and follow what comes of it, if that is wanted; gives how things stand then.

    Raises NotRunningError and what Client raises, alone or in a group.
    """
    return trio.run(_Following(place, ask, is_quiet=is_quiet).run, wait)


def step_words(event: Mapping[str, object]) -> str:
    """Say what is waited for, or why it takes another try, in a line."""
    if event.get("why"):
        return f"{event['why']}; trying again"
    names = event.get("names")
    listed = [str(one) for one in names] if isinstance(names, list) else []
    more = f" and {len(listed) - _MOST_NAMES} more" if len(listed) > _MOST_NAMES else ""
    step = str(event.get("step"))
    host = str(event.get("authority", "")).partition("://")[2].partition("/")[0] or "the authority"
    words = _WORDS.get(step, step).format(
        host=host, names=", ".join(listed[:_MOST_NAMES]) + more, challenge=event.get("challenge")
    )
    if event.get("key_type") is not None:
        words += f" ({event['key_type']})"
    until = event.get("until")
    return f"{words}, until {str(until)[11:19]} UTC at the longest" if until is not None else words


class _Following:
    def __init__(self, place: Whereabouts, ask: Callable[[Client], object], *, is_quiet: bool) -> None:
        self._place, self._ask, self._is_quiet = place, ask, is_quiet
        self._news = trio.Event()
        self._has_failed, self._shown = False, ""
        self._failure: ControlError | None = None

    async def run(self, wait: bool) -> dict[str, object]:  # noqa: FBT001  trio.run gives no keywords
        with Client(self._place.control) as client:
            async with trio.open_nursery() as nursery:
                follower = Follower(self._place.control, self._hear)
                nursery.start_soon(self._follow, follower, nursery.cancel_scope)
                await follower.connected.wait()
                await _in_thread(lambda: self._ask(client))
                shown = await self._end(client) if wait else await _in_thread(client.acme)
                nursery.cancel_scope.cancel()
                return shown
        assert self._failure is not None, "nothing else ends it from outside"
        raise self._failure

    async def _follow(self, follower: Follower, everything: trio.CancelScope) -> None:
        try:
            await follower.run()
        except NotRunningError as error:
            self._failure = somewhere_else(error)
        except ControlError as error:
            self._failure = error
        everything.cancel()

    async def _end(self, client: Client) -> dict[str, object]:
        """Wait until nothing more is to come of it for now."""
        while True:
            self._news = trio.Event()
            shown = await _in_thread(client.acme)
            if shown["held"] is not None or not shown["asking"] or self._has_failed:
                return shown
            with trio.move_on_after(_LOOK_AGAIN_S):
                await self._news.wait()

    def _hear(self, event: dict[str, object]) -> None:
        if event["kind"] == "lost":
            self._news.set()
        if event["kind"] != "acme":
            return
        match event.get("state"):
            case "asked":
                self._has_failed = False  # what was told before is about what was wanted before
            case "failed":
                self._has_failed = True
            case "step" if not self._is_quiet:
                self._show(f"{printable(step_words(event))} ...")
                return
        self._news.set()

    def _show(self, line: str) -> None:
        if line != self._shown:  # an account is found once more when the order begins
            click.echo(line, err=True)
        self._shown = line


async def _in_thread(ask: Callable[[], dict[str, object]] | Callable[[], object]) -> dict[str, object]:
    """Ask where nobody waits for it; who ends this command needn't wait for the answer."""
    answer = await trio.to_thread.run_sync(ask, abandon_on_cancel=True)
    return answer if isinstance(answer, dict) else {}
