"""A worker process: the data plane behind a channel. Started by workers/birth.py, never by a person.

    python -P -m tlsproxy.workers.process channel=FD

Promises: it does what the supervisor says (duties.py), and whatever it has to tell goes there, logs too
(voice.py). It reads bundles from the store and writes nowhere: once it knows what it is to serve, and before
it can be reached, it gives up the power to do anything else (privilege/worker.py).
"""

from __future__ import annotations

import faulthandler
import gc
import signal
import socket
import sys
import time
import traceback
from collections.abc import Sequence
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from certstore import read_bundle, read_trust
from tlsproxy.net.sweeper import Sweeper
from tlsproxy.observe.counters import Counters
from tlsproxy.privilege.privatefile import open_private
from tlsproxy.privilege.worker import give_up_all_but, hide_memory
from tlsproxy.signals import let_in
from tlsproxy.tls.contexts import Contexts
from tlsproxy.tls.engines import load
from tlsproxy.tls.keylog import KeyLog
from tlsproxy.tls.staples import Staples
from tlsproxy.workers.announcing import Announcing
from tlsproxy.workers.challenges import Challenges
from tlsproxy.workers.channel import Channel
from tlsproxy.workers.counting import Logs, counts_of
from tlsproxy.workers.duties import Duties
from tlsproxy.workers.guarding import guards_of
from tlsproxy.workers.messages import (
    Setup,
)
from tlsproxy.workers.observing import Failures, Say, observer_of
from tlsproxy.workers.protocol import ToWorker, decode_to_worker
from tlsproxy.workers.serving import Serving
from tlsproxy.workers.siblings import Siblings
from tlsproxy.workers.site import capacity_of, dials_of, needs_of, site_of
from tlsproxy.workers.spawn import descriptors
from tlsproxy.workers.voice import Voice
from tlsproxy.workers.worker import Worker

if TYPE_CHECKING:
    from tlsproxy.observe.access import AccessLog

__all__ = ["main"]


async def serve(fd: int) -> None:
    """Serve behind the channel `fd` until told to end."""
    channel: Channel[ToWorker] = Channel(socket.socket(fileno=fd), decode_to_worker)
    async with trio.open_nursery() as nursery:
        await nursery.start(channel.run)
        async with aclosing(channel.receive()) as messages:
            async for setup in messages:
                assert isinstance(setup, Setup), "the first word is Setup"
                await _serve(channel, setup)
                break
        channel.finish()


async def _serve(channel: Channel[ToWorker], setup: Setup) -> None:
    load(setup.engine, setup.tls)
    access = _access_log(setup)  # its code is loaded before the fence, its thread begins with the first line
    voice, sweeper = Voice(channel), Sweeper()
    key_log = _key_log(setup.key_log, voice.say)
    dials, confined = dials_of(setup), give_up_all_but(needs_of(setup))  # in this order: see dials_of
    contexts, siblings = _contexts(setup, voice, key_log), _siblings(setup)
    announcing = Announcing(voice.ticket_keys)
    if siblings.are_there and setup.tls.tickets:
        contexts.on_made = announcing.note
    serving = Serving(contexts)
    serving.load_from(partial(read_bundle, Path(setup.store)))
    failures = Failures(voice.say)
    paths, upstreams = [path for path, _ in setup.routes], [name for _, name in setup.routes]
    counters = Counters(paths, upstreams, failures.exchange)

    def fault(code: str, error: BaseException | None) -> None:
        if code == "connection_fault":
            counters.connection_faulted()
        failures.fault(code, partial(_facts_of, error))

    learn = partial(counters.clientele.learn, is_ours=serving.is_ours)
    observer, guards = observer_of(counters, access), guards_of(setup, voice.tripped)
    with site_of(setup, sweeper, observer, guards, voice.asking.confirm, learn, dials) as site:
        challenges = Challenges(contexts.engine)
        worker = Worker(serving, site, capacity_of(setup), fault, counters, siblings, challenges)
        count = partial(counts_of, counters, worker, Logs(failures, access))
        gc.collect()
        gc.freeze()  # what was made so far stays for good, and need not be looked at again
        async with trio.open_nursery() as nursery:
            await nursery.start(sweeper.run)
            if access is not None:
                nursery.start_soon(access.run)
            if siblings.are_there:
                nursery.start_soon(announcing.run)
            process = Duties(voice, setup, serving, worker, siblings=siblings, confined=confined, count=count)
            await process.run()
            nursery.cancel_scope.cancel()
    if access is not None:
        access.flush()  # in this thread: a worker at its end has nothing else to do, and may get no other


def _key_log(path: str, tell: Say) -> KeyLog | None:
    """Open the key log, where one is wanted; where it can't be, clients are served all the same."""
    if not path:
        return None
    try:
        return KeyLog(open_private(Path(path)))
    except OSError as error:
        tell("error", "key_log_failed", {"path": path, "why": error.strerror or str(error)})
        return None


def _contexts(setup: Setup, voice: Voice, key_log: KeyLog | None) -> Contexts:
    """Make the contexts, with none in it yet."""
    trust_of = partial(read_trust, Path(setup.store))
    clock = partial(time.clock_gettime, time.CLOCK_BOOTTIME)
    staples = Staples(clock) if setup.staples is not None else None
    contexts = Contexts(setup.tls, setup.engine, voice.bundle_lost, setup.clients, trust_of, staples)
    contexts.key_log = key_log
    return contexts


def _siblings(setup: Setup) -> Siblings:
    """Find the mailboxes that were inherited."""
    collecting, posting = (
        [socket.socket(fileno=fd) for fd in fds] for fds in (setup.mailboxes, setup.siblings)
    )
    return Siblings(setup.seat, collecting, posting, time.monotonic)


def _access_log(setup: Setup) -> AccessLog | None:
    """Make the access log, on the stderr that we share with the supervisor; None where it is off."""
    if setup.log.access == "off" or sys.stderr is None:
        return None
    from tlsproxy.observe.access import AccessLog  # nobody pays for it who doesn't want it
    from tlsproxy.observe.outlet import Outlet, manner_of

    stderr = sys.stderr.fileno()
    return AccessLog(setup.log, Outlet(stderr), manner_of(setup.log.format, stderr), time.time)


def _facts_of(error: BaseException | None) -> dict[str, object]:
    """Give a traceback, which holds no values of variables."""
    return {} if error is None else {"exception": "".join(traceback.format_exception(error)).rstrip()}


def main(arguments: Sequence[str]) -> None:
    """Be a worker."""
    hide_memory()  # from the first moment: it will hold keys
    faulthandler.enable()  # a worker that is stuck is asked by SIGABRT to write where it stands
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    let_in()
    trio.run(serve, descriptors(arguments)["channel"])


if __name__ == "__main__":
    main(sys.argv[1:])
