"""Watching: hints that something may have changed under some paths.

A hint is never more than a reason to look again: events are coalesced, may be missing (network file
systems, a queue that ran over, a directory copied in whole) and may mean nothing. So it promises only this:
a hint within `rescan_s` after any change, and within some 30 ms where the kernel tells; one more hint each
time watching begins anew, so that no gap stays. It refuses to know what changed. It is the only host of
watchfiles.

What could go wrong, and why it is done this way:

- *A watched directory is deleted and made again*, or a symlink in its path is put elsewhere: the kernel
  goes on watching the old inode, and we would be deaf. So parents are watched too (only for that one name),
  an event about a watched directory itself begins everything anew, and so does every slow rescan.
- *A file behind a symlink is written in place*: the event happens in the directory of the target, so that
  one is watched as well.
- *A big tree* (somebody watches /etc): directories are watched one by one, one level deep, never
  recursively.
- *Cancelling*: the thread waits in Rust and only looks at its stop event each step; a cancelled trio task
  waits for its thread. So the stop event is set first, and cancelling takes one step (4.5 s were measured
  without that).
- *A name is no UTF-8*: watchfiles can neither watch such a directory nor tell of such a file, and raises in
  both cases. The first is left to the slow rescan; at the second watching begins anew, which is a hint.
- *The kernel's limits are reached* (fs.inotify.max_user_instances, max_user_watches, threads): that is told
  once, and hints come every `POLL_S` until watching works again.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePath

import trio
from watchfiles import Change, watch

from certstore.findings import Finding, found

__all__ = ["POLL_S", "RESCAN_S", "run"]

RESCAN_S = 30.0  # how long a change that no event told may stay unseen
POLL_S = 2.0  # the same where the kernel can't watch: a look costs some stat calls
MAX_INSIDE = 200  # sub-directories and symlink targets of one path; behind them only the slow rescan sees

# The step is slept between two looks at the events, so a change is told after one to two steps. Measured
# here: 10 ms tell after 17 ms and cost 0.50 % of a core when idle; 20 ms, 30 and 0.34; 50 ms, 89 and 0.16.
_STEP_MS = 20
_DEBOUNCE_MS = 100  # under a storm of events a hint comes this often
_TICK_MS = 100  # how soon after its start the thread says that it is watching

# watchfiles tells each batch to the log at INFO; a hint that may mean nothing isn't worth a line
logging.getLogger("watchfiles").setLevel(logging.WARNING)


_UNNAMEABLE = "decode path"  # what watchfiles says of an event whose path is no UTF-8


def _untold(finding: Finding) -> None:
    """Keep a finding to ourselves."""


async def run(
    paths: Sequence[PurePath],
    on_hint: Callable[[], None],
    *,
    rescan_s: float = RESCAN_S,
    on_trouble: Callable[[Finding], None] = _untold,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Call `on_hint` when something may have changed in these directories, until cancelled.

    It is called in this task's event loop, must not block, and is called once right after the watching began.
    The paths need not exist. `on_trouble` gets `watch_limited` when the kernel can't watch; once each time.
    Cancelling takes one step of the thread (20 ms), which has ended when this returns.
    """
    task_status.started()
    told = False
    while True:
        trouble = await _follow(paths, on_hint, rescan_s)
        if trouble is None:
            told = False
            continue
        if not told:
            told = True
            on_trouble(trouble)
        on_hint()
        await trio.sleep(min(POLL_S, rescan_s))


async def _follow(paths: Sequence[PurePath], on_hint: Callable[[], None], rescan_s: float) -> Finding | None:
    """Watch until something calls for beginning anew (None), or say why watching is impossible."""
    stop = threading.Event()

    async def stop_when_cancelled() -> None:
        try:
            await trio.sleep_forever()
        finally:
            stop.set()

    def follow() -> Finding | None:
        return _watch(paths, lambda: trio.from_thread.run_sync(on_hint), rescan_s, stop)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(stop_when_cancelled)
        # a limiter of its own: a thread that waits for hours must not use up those for short work
        try:
            trouble = await trio.to_thread.run_sync(follow, limiter=trio.CapacityLimiter(1))
        except RuntimeError as error:  # what threading says where no thread is to be had
            trouble = found("watch_limited", why=str(error))
        nursery.cancel_scope.cancel()
    return trouble


def _watch(
    paths: Sequence[PurePath], hint: Callable[[], None], rescan_s: float, stop: threading.Event
) -> Finding | None:
    """Follow the events in this thread; hints when it watches, at each change, and at the end."""
    places = _places(paths)
    if not all(map(_can_be_named, map(os.fspath, paths))):
        return found("watch_limited", why="its path is no UTF-8")
    until = time.monotonic() + rescan_s
    watching = False
    try:
        for changes in watch(
            *places.directories,
            watch_filter=places.concerns,
            debounce=_DEBOUNCE_MS,
            step=_STEP_MS,
            rust_timeout=_TICK_MS,
            yield_on_timeout=True,
            stop_event=stop,
            recursive=False,
            raise_interrupt=False,
        ):
            if changes or not watching:
                watching = True
                hint()
            if time.monotonic() >= until or places.are_moved_by(changes):
                return None
            if changes and _places(paths) != places:
                return None
    except FileNotFoundError:  # a directory went away between looking and watching
        stop.wait(_STEP_MS / 1000)
    except (
        OSError,
        RuntimeError,
    ) as error:  # watchfiles' own error for a refused inotify instance is a RuntimeError
        if _UNNAMEABLE in str(error):
            stop.wait(_STEP_MS / 1000)
            return None
        return found("watch_limited", why=str(error))
    return None


@dataclass(frozen=True, slots=True)
class _Places:
    """What the kernel is asked to watch, and which of its events concern us.

    In `inside` every name counts. `names` are single paths in other directories: ours may appear there.
    """

    inside: frozenset[str]
    names: frozenset[str]
    directories: frozenset[str]

    def concerns(self, _change: Change, path: str) -> bool:
        return os.path.dirname(path) in self.inside or path in self.inside or path in self.names  # noqa: PTH120

    def are_moved_by(self, changes: Iterable[tuple[Change, str]]) -> bool:
        """Whether a directory that we watch or wait for came or went: ours may be another one now."""
        return any(
            change is not Change.modified and (path in self.directories or path in self.names)
            for change, path in changes
        )


def _places(paths: Iterable[PurePath]) -> _Places:
    inside: set[str] = set()
    names: set[str] = set()
    for path in paths:
        top = os.path.abspath(path)  # noqa: PTH100  plain text, as the events have it
        names |= _way_to(top)
        if os.path.isdir(top):  # noqa: PTH112
            inside |= {top, *_inner(top)}
    around = {os.path.dirname(name) for name in names}  # noqa: PTH120
    # what we may not read can't be watched: the slow rescan tells when that changes
    directories = {
        place for place in inside | around if _can_be_named(place) and os.access(place, os.R_OK | os.X_OK)
    }
    return _Places(frozenset(inside), frozenset(names), frozenset(directories))


def _can_be_named(path: str) -> bool:
    """Whether watchfiles can be told of it: bytes that are no UTF-8 stand as surrogates in a name."""
    return path.isascii() or path == path.encode("utf-8", "replace").decode("utf-8")


def _way_to(top: str) -> set[str]:
    """Give the names whose coming or going decides what `top` is: its own, its target's, a missing one's."""
    names = {top, os.path.realpath(top)}
    for name in tuple(names):
        missing = name
        while not os.path.isdir(os.path.dirname(missing)):  # noqa: PTH112, PTH120
            missing = os.path.dirname(missing)  # noqa: PTH120
            names.add(missing)
    return {name for name in names if os.path.isdir(os.path.dirname(name))}  # noqa: PTH112, PTH120


def _inner(top: str) -> set[str]:
    """Give the sub-directories, and the directories of the files that symlinks here and in those lead to."""
    first = _scan(top)
    # isdir and not DirEntry.is_dir: that one raises for a symlink that leads to itself
    inner = [entry.path for entry in first if os.path.isdir(entry.path)][:MAX_INSIDE]  # noqa: PTH112
    links = [entry for entry in first + [e for place in inner for e in _scan(place)] if entry.is_symlink()]
    ends = {os.path.realpath(link.path) for link in links}
    targets = {os.path.dirname(end) for end in ends if not os.path.isdir(end)}  # noqa: PTH112, PTH120
    return {*inner, *sorted(targets)[:MAX_INSIDE]}


def _scan(directory: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError:
        return []
