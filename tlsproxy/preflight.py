"""The pre-flight of a reload: the new interpreter, code and configuration prove themselves in a child.

Runs in a process of its own, started by the supervisor with the command line by which it was started itself,
so that what is tried is exactly what will be executed. Promises: nothing that runs is touched; whatever would
keep the new image from serving is an error with words. What could only go wrong later (a disk that fails in
between) is not covered.
"""

from __future__ import annotations

import errno
from contextlib import closing
from importlib import import_module

import trio

from certstore import StoreError, read_generation
from tlsproxy import handover, policy
from tlsproxy.config import Config
from tlsproxy.config.addresses import parse_listen
from tlsproxy.errors import ListenError, ReloadError, WorkerError
from tlsproxy.handover import HandedOver
from tlsproxy.listening import Doors
from tlsproxy.net.listeners import open_listeners
from tlsproxy.notify.renewal import MODULE as RENEWED
from tlsproxy.upstreamterms import mistakes, terms_of
from tlsproxy.workers.birth import Birth
from tlsproxy.workers.memory import Memory
from tlsproxy.workers.papers import Papers
from tlsproxy.workers.publishing import published
from tlsproxy.workers.remote import Place, RemoteWorker

__all__ = ["ENVIRONMENT", "run"]

ENVIRONMENT = "TLSPROXY_PREFLIGHT"


async def run(config: Config, state_fd: int) -> None:
    """Try everything that a new image will need. Raises ReloadError, ListenError or WorkerError."""
    state = handover.read(state_fd)
    _refuse_what_cannot_change(config, state)
    if config.notify.is_on or config.acme.dns_hook:
        import_module(RENEWED)  # the helper will execute itself anew, and has nobody to try it out
    _try_addresses(config, state)
    terms = terms_of(config.routes)
    for mistake in mistakes(terms):
        raise ReloadError(mistake.why, mistake.hint)
    with closing(Papers(terms)) as papers:
        await _try_worker(config, papers)


def _refuse_what_cannot_change(config: Config, state: HandedOver) -> None:
    for key, now, then in (("store", state.store, config.store), ("runtime", state.runtime, config.runtime)):
        if str(then) != now:
            raise ReloadError(f"{key} can't change from {now} to {then} while it runs", "restart the service")
    if state.kept is not None and not state.kept.may_write(config.inbox):
        why = f"the inbox can't become {config.inbox}: what runs may write only where it could at its start"
        raise ReloadError(why, "restart the service")
    key_log = config.tls.key_log
    if key_log is not None and state.kept is not None and not state.kept.may_write(key_log):
        why = f"the key log can't become {key_log}: what runs may write only where it could at its start"
        raise ReloadError(why, "restart the service")


def _try_addresses(config: Config, state: HandedOver) -> None:
    """Open and close the listeners that are new."""
    ports = {parse_listen(door.address)[1]: door.address for door in state.doors}
    for listener in config.listeners:
        if all(listener.address != door.address for door in state.doors):
            try:
                groups = open_listeners(listener.host, listener.port)
            except ListenError as error:
                if state.kept is not None and state.kept.was_root and _is_forbidden(error):
                    raise ListenError(error.address, _ROOT_IS_GONE, _ROOT_COMES_BACK) from error
                ours = ports.get(listener.port)
                if ours is None or getattr(error.__cause__, "errno", None) != errno.EADDRINUSE:
                    raise
                why = f"{listener.address} can't be opened beside {ours}, which is listened on now"
                raise ReloadError(why, "restart the service") from error
            for group in groups:
                for sock in group:
                    sock.close()


def _is_forbidden(error: ListenError) -> bool:
    return isinstance(error.__cause__, PermissionError)


_ROOT_IS_GONE = "ports below 1024 are opened at the start, before root's power is given up"
_ROOT_COMES_BACK = "restart the service, or take a higher port"


async def _try_worker(config: Config, papers: Papers) -> None:
    """Start a worker without sockets, and have it serve what is active now, to nobody."""
    with closing(Memory()) as memory:
        worker = Birth(config, Doors(()), memory, 1, papers=papers).bear(Place(0, 0))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.run, _unheard)
            try:
                with trio.fail_after(policy.WORKER_START_S):
                    await _prove(config, worker)
            except trio.TooSlowError:
                raise WorkerError(None, "a worker of the new version doesn't start in time") from None
            finally:
                worker.kill()
                with trio.CancelScope(shield=True):
                    await worker.ended.wait()


async def _prove(config: Config, worker: RemoteWorker) -> None:
    await worker.started.wait()
    try:
        generation = read_generation(config.store)
    except StoreError:
        generation = None  # what is served then is the running proxy's own matter
    if generation is not None:
        why = await worker.prepare(published(generation))
        if why:
            raise WorkerError(None, f"a worker of the new version can't serve what is active: {why}")
    if worker.vacated.is_set():
        await worker.ended.wait()
        raise WorkerError(worker.exit_code, "a worker of the new version ends at once")


def _unheard(_worker: RemoteWorker, _message: object) -> None:
    """Nobody listens to what a trial worker says to the log."""
