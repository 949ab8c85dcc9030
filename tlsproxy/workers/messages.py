"""What a supervisor and its workers say to each other, as values; protocol.py has their form on the wire.

Promises: after a reload a supervisor speaks with workers of an older version, so a message is never given
another meaning: it gets new fields with defaults, or a new name. Keys are in none of them. Refuses to know
sockets and who acts on what.

    supervisor to worker:  Setup, then Prepare and Commit of a generation, AcceptOn, SiblingKeys; Ping, Count;
                           Checked (whether an upstream is up), Answers (to ACME authorities), Staples;
                           Retire (a newer worker has taken over), TurnAway, CloseTunnels; Stop,
                           EndClients (these sets let clients in now, others' end),
                           EndBundles (these are served to nobody any more, and their connections end),
                           ConfirmJudged
    worker to supervisor:  Started; Prepared, Committed, Answering; Pong, Counts; Leaving, Quiet; Said,
                           TicketKeys, BundleLost; Tripped (a breaker has opened, or closed); ConfirmAsked
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, TypeAlias

import msgspec

from tlsproxy.config.values import BreakerConfig, Engine, HealthCheckConfig, LimitsConfig, LogConfig
from tlsproxy.policy_clients import ClientAuth
from tlsproxy.policy_tls import TICKET_S, TLSPolicy
from tlsproxy.privilege.facts import Confined
from tlsproxy.workers.proofs import Answers
from tlsproxy.workers.stapled import Staples

__all__ = [
    "AcceptOn",
    "BundleLost",
    "Checked",
    "CloseTunnels",
    "Commit",
    "Committed",
    "ConfirmAsked",
    "ConfirmJudged",
    "Count",
    "Counts",
    "EndBundles",
    "EndClients",
    "Leaving",
    "ListeningAt",
    "Ping",
    "Pong",
    "Prepare",
    "Prepared",
    "Quiet",
    "Retire",
    "Said",
    "Setup",
    "SiblingKeys",
    "Started",
    "Stop",
    "TicketKeys",
    "Tripped",
    "TurnAway",
]


# Whoever has taken over a worker says what he likes: such numbers can be added and written.
Number: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


@dataclass(frozen=True, slots=True)
class ListeningAt:
    """A listening socket that a worker has inherited: its descriptor, what is spoken, where HTTP is sent."""

    fd: int
    kind: str
    https_port: int


class _Message(msgspec.Struct, frozen=True, tag=True, tag_field="type"):
    pass


class Checked(_Message, frozen=True):
    """What the check of an upstream at this path says: it is down, which holds for `holds_s`; 0: it is up.

    retry_s: in how long it may be up. Said again as long as it is down.
    """

    upstream: str
    path: str
    retry_s: float = 0.0
    holds_s: float = 0.0


class Setup(_Message, frozen=True):
    """The first word to a worker: all that it needs to know.

    routes: (path, upstream as configured) each. limits, log: this worker's share. memory_fd: a memfd which
    holds key and chain while nothing on disk can be served. mailboxes: where connections for
    each seat are collected, none for a single worker; siblings: where they are posted. health: of routes that
    ask for it, by path; checked: which upstreams are down now; rooms: this worker's share of connections
    to an upstream. answers: which are given now. terms_fd: a memfd with the terms of upstreams with TLS, -1
    where none does. clients: who has to show a certificate. staples: which there are now; None: never any.
    key_log: the path of a file for the secrets of sessions, "" for none.
    """

    seat: int
    store: str
    engine: Engine
    listening: list[ListeningAt]
    routes: list[tuple[str, str]]
    trust: list[str]
    tell_bundle: bool
    limits: LimitsConfig
    memory_fd: int
    log: LogConfig = LogConfig()
    tls: TLSPolicy = TLSPolicy()
    ticket_s: float = TICKET_S
    mailboxes: list[int] = []
    siblings: list[int] = []
    health: dict[str, tuple[HealthCheckConfig | None, BreakerConfig | None]] = {}
    checked: list[Checked] = []
    rooms: dict[str, int] = {}
    answers: Answers = Answers(0)
    terms_fd: int = -1
    clients: list[ClientAuth] = []
    staples: Staples | None = None
    key_log: str = ""


class Prepare(_Message, frozen=True):
    """Build what this generation (certstore's JSON) needs; `in_memory`: what is in the memfd instead."""

    number: int
    generation: msgspec.Raw = msgspec.Raw(b"null")
    in_memory: bool = False


class Commit(_Message, frozen=True):
    """Serve what was prepared, from the next hello on."""

    number: int


class AcceptOn(_Message, frozen=True):
    """Accept on exactly these of the listening sockets, as places in `Setup.listening`.

    seats: whose workers accept now, this one among them.
    """

    places: list[int]
    seats: list[int] = []


class SiblingKeys(_Message, frozen=True):
    """The worker in this seat has these ticket keys, too: their names in hex, each with its bundle's id."""

    seat: int
    keys: dict[str, str]


class Ping(_Message, frozen=True):
    """Say that your loop still turns."""

    number: int


class Retire(_Message, frozen=True):
    """A newer worker has your sockets: finish what is open, lose no request, and end.

    last: your mailbox has no other reader.
    """

    last: bool = False


class TurnAway(_Message, frozen=True):
    """To a retired worker: close whoever hasn't said hello yet; there is nothing here to serve them."""


class Stop(_Message, frozen=True):
    """The proxy ends: let exchanges end, and cut what is left after `seconds`."""

    seconds: float


class CloseTunnels(_Message, frozen=True):
    """End tunnels with this WebSocket close code (RFC 6455 section 7.4), and cut what has no end."""

    code: int


class EndBundles(_Message, frozen=True):
    """End the connections that were made with these bundles; what is left of them after `seconds` is cut.

    Exchanges end with their responses, WebSockets are closed with `code`.
    """

    bundles: list[str]
    seconds: float
    code: int


class EndClients(_Message, frozen=True):
    """End the connections of clients that these trust sets (their ids by name) don't let in any more.

    As `EndBundles` in all else.
    """

    trust: dict[str, str]
    seconds: float
    code: int


class ConfirmJudged(_Message, frozen=True):
    """The answer to `ConfirmAsked`: a `Judgement` by its value (forward/site.py)."""

    number: int
    judgement: str


class Started(_Message, frozen=True):
    """The worker has imported, opened and understood everything; it serves nothing yet.

    confined: what it has given up (None: a version that didn't tell).
    """

    pid: Number
    confined: Confined | None = None


class Prepared(_Message, frozen=True):
    """What came of `Prepare`: `why` is empty where all is well."""

    number: int
    why: str = ""


class Committed(_Message, frozen=True):
    """What came of `Commit`."""

    number: int
    why: str = ""


class Pong(_Message, frozen=True):
    """The answer to `Ping`, with the number of open connections; and by generation, once they have one."""

    number: Number
    connections: Number = 0
    generations: Annotated[list[tuple[Number, Number]], msgspec.Meta(max_length=65_536)] = []


class Count(_Message, frozen=True):
    """Say what you have counted."""


class Counts(_Message, frozen=True):
    """What this worker has counted since its start, and what stands open now; also its last word.

    Each series as in observe/metrics.py, its name and labels, with its value. asked, strict, refused: as in
    observe/clientele.py.
    """

    counted: list[tuple[tuple[str, ...], float]]
    now: list[tuple[tuple[str, ...], float]]
    asked: list[tuple[str, float]] = []
    strict: list[tuple[str, bool]] = []
    refused: list[tuple[tuple[str, str], float]] = []


class Leaving(_Message, frozen=True):
    """Somebody asked this worker by a signal to end; it goes on until it is told to retire."""


class Quiet(_Message, frozen=True):
    """A retired worker: no hello is read here any more, so new generations are no longer of interest."""


class TicketKeys(_Message, frozen=True):
    """This worker has made these ticket keys; as in `SiblingKeys`."""

    keys: dict[str, str]


class Said(_Message, frozen=True):
    """An event for the log. `fields` are for people and JSON: text, numbers, lists."""

    level: str
    event: str
    fields: dict[str, object]


class BundleLost(_Message, frozen=True):
    """A bundle that a row names can't be served after all."""

    bundle: str
    why: str


class Tripped(_Message, frozen=True):
    """This worker leaves an upstream alone, since requests to it fail by `kind`; "": it asks it again."""

    upstream: str
    kind: str = ""


class ConfirmAsked(_Message, frozen=True):
    """A client wants to confirm a change: the SHA-256 of its word in hex, and what its connection got."""

    number: Number
    word: str
    bundle: str
    generation: Number
