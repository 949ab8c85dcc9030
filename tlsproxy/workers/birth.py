"""How a worker comes into the world: a fresh process with its channel, its sockets and its first word.

Promises: the child inherits the listening sockets, one end of a channel and the memfd for a certificate that
lies in memory only, and nothing else of ours. Refuses to know what becomes of it (remote.py, crew.py).
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Literal

from tlsproxy import policy
from tlsproxy.config import Config, LimitsConfig
from tlsproxy.listening import Doors
from tlsproxy.net import mailbox
from tlsproxy.workers.channel import Channel
from tlsproxy.workers.memory import Memory
from tlsproxy.workers.messages import Checked, ListeningAt, Setup
from tlsproxy.workers.papers import NO_PAPERS, Papers
from tlsproxy.workers.proofs import Answers
from tlsproxy.workers.protocol import MAX_WORD_BYTES, FromWorker, decode_from_worker
from tlsproxy.workers.remote import Place, RemoteWorker
from tlsproxy.workers.sharing import equal_share
from tlsproxy.workers.spawn import spawn
from tlsproxy.workers.stapled import Staples
from tlsproxy.workers.testimony import Names

__all__ = ["Birth", "Mailboxes", "wanted_workers"]

MODULE = "tlsproxy.workers.process"


@dataclass(frozen=True, slots=True)
class Mailboxes:
    """Where workers hand connections to each other, one mailbox a seat; all of them hold all of them."""

    pairs: tuple[tuple[socket.socket, socket.socket], ...] = ()

    @classmethod
    def make(cls, seats: int, stack: ExitStack) -> Mailboxes:
        """Make them, closed with `stack`; none for a single worker. Raises OSError without descriptors."""
        if seats < 2:
            return cls()
        pairs = tuple(mailbox.make() for _ in range(seats))
        for end in (end for pair in pairs for end in pair):
            stack.callback(end.close)
        return cls(pairs)

    @property
    def posting(self) -> list[int]:
        """The descriptors where connections for each seat are posted."""
        return [posting.fileno() for posting, _ in self.pairs]

    @property
    def collecting(self) -> list[int]:
        """The descriptors where they are collected."""
        return [collecting.fileno() for _, collecting in self.pairs]


@dataclass(frozen=True, slots=True)
class Birth:
    """All that a worker of this configuration needs.

    checked: tells which upstreams are down; answers: what ACME authorities look for; staples: what
    is stapled, where authorities are asked at all.
    """

    config: Config
    doors: Doors
    memory: Memory
    seats: int
    mailboxes: Mailboxes = Mailboxes()
    checked: Callable[[], Sequence[Checked]] = tuple
    answers: Callable[[], Answers] = lambda: Answers(0)
    papers: Papers = NO_PAPERS
    staples: Callable[[], Staples] = Staples

    @property
    def groups(self) -> tuple[int, ...]:
        """How many sockets each address has, in the order of `Setup.listening`."""
        return tuple(len(group) for door in self.doors.doors for group in door.groups)

    def bear(self, place: Place) -> RemoteWorker:
        """Start a worker. Raises OSError where no process or descriptor is left."""
        ours, theirs = socket.socketpair()
        with theirs, ExitStack() as failed:
            failed.callback(ours.close)
            setup = self.setup(place.seat)
            process = spawn(
                MODULE,
                fds={"channel": theirs.fileno()},
                engine=self.config.tls.engine,
                policy=self.config.tls.policy,
                unnamed=[
                    self.memory.fd,
                    *self.papers.fds,
                    *(one.fd for one in setup.listening),
                    *self.mailboxes.posting,
                    *self.mailboxes.collecting,
                ],
            )
            failed.callback(_end, process)
            channel: Channel[FromWorker] = Channel(ours, decode_from_worker, most_bytes=MAX_WORD_BYTES)
            worker = RemoteWorker(place, process.pid, channel, process.wait)
            failed.pop_all()
        worker.names = names_of(setup)
        worker.channel.send(setup)
        return worker

    def setup(self, seat: int) -> Setup:
        """Make the first word."""
        config, doors = self.config, self.doors
        return Setup(
            seat=seat,
            store=str(config.store),
            engine=config.tls.engine,
            tls=config.tls.policy,
            ticket_s=config.tls.ticket_s,
            listening=[
                ListeningAt(sock.fileno(), door.config.kind, self._https_port_of(door.port, door.config.kind))
                for door in doors.doors
                for group in door.groups
                for sock in group
            ],
            routes=[(route.path, str(route.upstream)) for route in config.routes],
            trust=[str(network) for network in config.forwarded.trust],
            tell_bundle=config.forwarded.tell_bundle,
            limits=share_of(config.limits, self.seats),
            memory_fd=self.memory.fd,
            log=replace(config.log, access_per_s=config.log.access_per_s / self.seats),
            mailboxes=self.mailboxes.collecting,
            siblings=self.mailboxes.posting,
            health={
                route.path: (route.health_check, route.breaker)
                for route in config.routes
                if route.health_check is not None or route.breaker is not None
            },
            clients=list(config.client_auth),
            checked=list(self.checked()),
            terms_fd=self.papers.fd,
            rooms={
                str(route.upstream): max(route.max_connections // self.seats, 1)
                for route in config.routes
                if route.max_connections is not None
            },
            answers=self.answers(),
            staples=self.staples() if config.checks.revocation else None,
            key_log=str(config.tls.key_log or ""),
        )

    def _https_port_of(self, port: int, kind: str) -> int:
        return self.doors.https_port if kind == "http" else port


def names_of(setup: Setup) -> Names:
    """Say what a worker that gets this first word may count by."""
    paths, upstreams = zip(*setup.routes, strict=True) if setup.routes else ((), ())
    return Names(tuple(paths), tuple(dict.fromkeys(upstreams)))


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def share_of(limits: LimitsConfig, workers: int) -> LimitsConfig:
    """Give what each worker may take, so that all together take what is configured."""
    return replace(
        limits,
        connections=equal_share(limits.connections, workers),
        connections_per_address=equal_share(limits.connections_per_address, workers),
        handshakes=equal_share(limits.handshakes, workers),
    )


def wanted_workers(configured: int | Literal["auto"]) -> int:
    """Say how many workers are meant: "auto" is one a processor that we may use, within a bound."""
    if configured != "auto":
        return configured
    return min(len(os.sched_getaffinity(0)), policy.WORKERS_AUTO_MOST)
