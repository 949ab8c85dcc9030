"""What an examiner and an examination say to each other, and how that goes over a socket.

Promises: a message is whole, of a known form and no longer than agreed, or hearing it raises; nothing waits
beyond the deadline. Private keys and pass phrases go this way: the socket is a pair that two processes hold
and nobody else can reach, and no message has a repr. Refuses to know what is asked, and who is right.

    examiner (holds the store)                 examination (holds a stranger's files)
    Files | Whole | File | TrustFiles  ->
                                  <-           WantKey      (as often as a leaf has no key with it)
    Lent                          ->
                                  <-           Assembled | Refused
                                               (to a File: Contained; to TrustFiles: Brought)
    Judge, or the end             ->
                                  <-           Judged | Refused

    Reply                         ->
                                  <-           Weighed      (an authority's answer, about our own)
"""

from __future__ import annotations

import socket
import struct
import time
from datetime import datetime
from typing import Final, Generic, TypeAlias, TypeVar

import msgspec

from certstore import Circumstances, Comparison, Content, Finding, Judgement, Way
from tlsproxy.policy_tls import TLSPolicy
from tlsproxy.tls.engines import EngineName

__all__ = [
    "OUT_OF_MEMORY",
    "STATUS",
    "Answer",
    "Assembled",
    "Brought",
    "Contained",
    "Failed",
    "File",
    "Files",
    "Judge",
    "Judged",
    "Lent",
    "Manner",
    "NonsenseError",
    "Question",
    "Refused",
    "Reply",
    "Talk",
    "TooLongError",
    "TrustFiles",
    "WantKey",
    "Weighed",
    "Whole",
    "name_from_bytes",
    "name_to_bytes",
]

OUT_OF_MEMORY: Final = 71  # how an examination ends that wants more than its limit (sysexits.h: EX_OSERR)
STATUS: Final = struct.Struct("!i")  # how it ended, as waitpid gives it

_LENGTH: Final = struct.Struct("!I")


class _Message(msgspec.Struct, frozen=True, tag=True):
    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"


class Manner(_Message, frozen=True):
    """How TLS is spoken, and what to compare with: the first word to a new examiner process."""

    policy: TLSPolicy
    engine: EngineName
    comparison: Comparison | None = None


class File(_Message, frozen=True):
    """The question what this file holds. Names are bytes: some can't stand in a text (`name_to_bytes`)."""

    name: bytes
    content: bytes


class Files(_Message, frozen=True):
    """The question whether these make a bundle, opened by these pass phrases where they are protected."""

    files: tuple[tuple[bytes, bytes], ...]
    passphrases: tuple[bytes, ...] = ()


class TrustFiles(_Message, frozen=True):
    """The question which authorities and revocation lists are in these."""

    files: tuple[tuple[bytes, bytes], ...]


class Whole(_Message, frozen=True):
    """A bundle of ours, yet to be judged."""

    key_pem: bytes
    chain_pem: bytes


class Lent(_Message, frozen=True):
    """The key that was wanted, where it is here."""

    key_pem: bytes | None


class Judge(_Message, frozen=True):
    """The question whether clients would take the bundle, by these circumstances."""

    around: Circumstances


class Reply(_Message, frozen=True):
    """The question what an authority's answer says of a certificate; it and its issuer's in DER."""

    way: Way
    answer: bytes
    leaf: bytes
    issuer: bytes
    at: datetime


class WantKey(_Message, frozen=True):
    """The question whether the key with this SPKI hash is there."""

    spki: str


class Assembled(_Message, frozen=True):
    """The bundle that the files make. `lent` names the key by its SPKI hash where it need not come back."""

    key_pem: bytes
    lent: str | None
    chain_pem: bytes
    findings: tuple[Finding, ...]


class Judged(_Message, frozen=True):
    """Clients would take it."""

    findings: tuple[Finding, ...]


class Refused(_Message, frozen=True):
    """They wouldn't, or the files make no bundle."""

    findings: tuple[Finding, ...]


class Contained(_Message, frozen=True):
    """What a file holds."""

    content: Content


class Weighed(_Message, frozen=True):
    """What it says; or else why it counts for nothing."""

    judgement: Judgement | None
    finding: Finding | None


class Brought(_Message, frozen=True):
    """The authorities and revocation lists that files hold, in DER."""

    anchors: tuple[bytes, ...]
    crls: tuple[bytes, ...]
    findings: tuple[Finding, ...]


class Failed(_Message, frozen=True):
    """The examination itself went wrong; `why` names the place in our code."""

    why: str


Question: TypeAlias = File | Files | TrustFiles | Whole | Lent | Judge | Reply
Answer: TypeAlias = WantKey | Assembled | Judged | Refused | Contained | Brought | Weighed | Failed
HeardT = TypeVar("HeardT")


class NonsenseError(Exception):
    """What came is no message, or not one that belongs here."""


class TooLongError(Exception):
    """What is to be said is longer than was agreed."""


class Talk(Generic[HeardT]):
    """One side of a conversation over a connected stream socket, which stays its maker's."""

    def __init__(
        self,
        sock: socket.socket,
        decoder: msgspec.msgpack.Decoder[HeardT],
        limits: tuple[int, int],
        deadline: float | None,
    ) -> None:
        """Take the most bytes of a message, said and heard, and when to give up (monotonic; None: never)."""
        self._sock, self._decoder, self._deadline = sock, decoder, deadline
        self._most_said, self._most_heard = limits

    def say(self, message: Question | Answer) -> None:
        """Send one message. Raises TooLongError, TimeoutError, or OSError."""
        data = msgspec.msgpack.encode(message)
        if len(data) > self._most_said:
            raise TooLongError
        self._hurry()
        self._sock.sendall(_LENGTH.pack(len(data)) + data)

    def hear(self) -> HeardT:
        """Wait for one message. Raises EOFError, NonsenseError, TimeoutError, or OSError."""
        (size,) = _LENGTH.unpack(self._take(_LENGTH.size))
        if size > self._most_heard:
            raise NonsenseError
        try:
            return self._decoder.decode(self._take(size))
        except (msgspec.MsgspecError, ValueError) as error:
            raise NonsenseError from error

    def _take(self, size: int) -> bytearray:
        data = bytearray(size)
        rest = memoryview(data)
        while rest:
            self._hurry()
            taken = self._sock.recv_into(rest)
            if not taken:
                raise EOFError
            rest = rest[taken:]
        return data

    def _hurry(self) -> None:
        """Let the next call on the socket last no longer than there is time."""
        if self._deadline is not None:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._sock.settimeout(left)


def name_to_bytes(name: str) -> bytes:
    """Give a file's name for a message, surrogates and all: undecodable names have them (PEP 383)."""
    return name.encode("utf-8", "surrogatepass")


def name_from_bytes(name: bytes) -> str:
    """Give the very name back."""
    return name.decode("utf-8", "surrogatepass")
