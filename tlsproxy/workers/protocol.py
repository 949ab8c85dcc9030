"""The form of what a supervisor and its workers say to each other, on the wire.

Promises: each message is one line of JSON with its `type`; what the other side says in an unknown type is
passed by, since after a reload a supervisor speaks with workers of an older version. Refuses to know sockets
and who acts on what.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from tlsproxy.workers.messages import (
    AcceptOn,
    BundleLost,
    Checked,
    CloseTunnels,
    Commit,
    Committed,
    ConfirmAsked,
    ConfirmJudged,
    Count,
    Counts,
    EndBundles,
    EndClients,
    Leaving,
    Ping,
    Pong,
    Prepare,
    Prepared,
    Quiet,
    Retire,
    Said,
    Setup,
    SiblingKeys,
    Started,
    Stop,
    TicketKeys,
    Tripped,
    TurnAway,
)
from tlsproxy.workers.proofs import Answering, Answers
from tlsproxy.workers.stapled import Staples

__all__ = [
    "MAX_MESSAGE_BYTES",
    "MAX_WORD_BYTES",
    "FromWorker",
    "ToWorker",
    "decode_from_worker",
    "decode_to_worker",
    "encode",
]

# A generation of 10,000 rows and slots has some 6 MB.
MAX_MESSAGE_BYTES = 67_108_864
# What a worker says is short: its counts are the longest, some 500 KB at most (policy.METRIC_SERIES). Reading
# a liar's lists takes the supervisor fifteen times their size, so this costs 130 MB for half a second.
MAX_WORD_BYTES = 8_388_608

ToWorker = (
    Setup
    | Prepare
    | Commit
    | AcceptOn
    | SiblingKeys
    | Ping
    | Count
    | Checked
    | Answers
    | Staples
    | Retire
    | TurnAway
    | Stop
    | CloseTunnels
    | EndBundles
    | EndClients
    | ConfirmJudged
)
FromWorker = (
    Started
    | Answering
    | Prepared
    | Committed
    | Pong
    | Counts
    | Leaving
    | Quiet
    | TicketKeys
    | Said
    | BundleLost
    | Tripped
    | ConfirmAsked
)
M = TypeVar("M")

_encoder = msgspec.json.Encoder()
_to_worker = msgspec.json.Decoder(ToWorker)
_from_worker = msgspec.json.Decoder(FromWorker)


class _Tagged(msgspec.Struct):
    type: str


_tagged = msgspec.json.Decoder(_Tagged)
_KNOWN = frozenset(kind.__name__ for kind in (*ToWorker.__args__, *FromWorker.__args__))


def encode(message: ToWorker | FromWorker) -> bytes:
    """Give a message's line."""
    return _encoder.encode(message) + b"\n"


def decode_to_worker(line: bytes) -> ToWorker | None:
    """Read a line of the supervisor; None for a message that we don't know. Raises ValueError."""
    return _decode(_to_worker, line)


def decode_from_worker(line: bytes) -> FromWorker | None:
    """Read a line of a worker; None for a message that we don't know. Raises ValueError."""
    return _decode(_from_worker, line)


def _decode(decoder: msgspec.json.Decoder[M], line: bytes) -> M | None:
    try:
        return decoder.decode(line)
    except msgspec.ValidationError:
        if _tagged.decode(line).type in _KNOWN:
            raise
        return None
    except RecursionError as error:
        raise ValueError("a message is nested too deeply") from error
