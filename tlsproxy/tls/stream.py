"""TLS on a socket, after its handshake: the same byte stream as a plain socket.

Promises: the ByteStream interface of tlsproxy.net.stream, its errors (trio.BrokenResourceError,
trio.ClosedResourceError) and its fairness. Refuses to know deadlines (the sweeper's; it wakes us by closing)
and HTTP.

Theory. Engine and socket are joined by four rules, each of which prevents a hang or a torn stream:

- *Read until the engine says None before touching the socket.* What came with the client's Finished, or
  behind it in one segment, lies in the engine; the socket may stay silent for ever after.
- *Send what is owed before waiting.* The server's flight, tickets and answers to key updates leave before
  we wait for the client, who may be waiting for them. Until then they stay: tickets travel with the first
  response.
- *Ciphertext leaves in the order in which it was made.* One task may send while another receives, and both
  make ciphertext. What is taken from the engine joins `_owed`; while a sender waits, the receiver only
  appends, and the sender sends that as well. What a client who doesn't read may be owed is bounded.
- *A receiver never waits for the client to read.* It tries once; what the socket won't take stays owed.

The end of a connection without close_notify is told as an end (HTTP frames its messages itself), but
`truncated` says so to whoever needs to know (RFC 8446 section 6.1).
"""

from __future__ import annotations

import contextlib
import socket

import trio
from trio.lowlevel import checkpoint

from tlsproxy import policy
from tlsproxy.policy_clients import ClientAuth
from tlsproxy.readiness import Readiness, notify_closing, wait_writable
from tlsproxy.tls.engines.port import Data, Engine, TLSBroken, TLSFacts


class TLSStream:
    """A client's connection after its handshake. Made by `accept_tls`; whoever has it closes it.

    One task may send while another receives; two senders at once are trio.BusyResourceError.
    """

    __slots__ = (
        "_asked",
        "_engine",
        "_owed",
        "_readiness",
        "_sending",
        "_sent",
        "_shut",
        "_spent",
        "_wait_first",
        "bundle_id",
        "client_chain",
        "rule",
        "sock",
        "truncated",
    )

    def __init__(
        self, sock: socket.socket, engine: Engine, bundle_id: str, readiness: Readiness | None = None
    ) -> None:
        self.sock = sock
        self.bundle_id = bundle_id
        self.rule: ClientAuth | None = None
        """By which rule the client was asked for a certificate."""
        self.client_chain: tuple[bytes, ...] = ()
        """What it has shown, verified; DER, the leaf first."""
        self.truncated = False
        """Whether the client's side ended without close_notify."""
        self._engine = engine
        self._readiness = readiness or Readiness(sock)
        self._wait_first = True  # the socket is empty, as far as we know, and will be for a moment
        self._asked = policy.SMALL_READ_BYTES  # of the socket, by the next read
        self._owed = b""  # ciphertext taken from the engine,
        self._sent = 0  # and how much of it the socket has taken
        self._sending = False
        self._shut = False
        self._spent = 0  # see net.stream: bytes and calls since this stream last let others run

    @property
    def facts(self) -> TLSFacts:
        """What the handshake negotiated."""
        return self._engine.facts()

    async def receive_some(self, max_bytes: int = 65536, /) -> bytes:
        """Return up to `max_bytes` of plaintext, waiting for some; b"" once the client has ended its side.

        Raises trio.BrokenResourceError (reset, forged or malformed records) and trio.ClosedResourceError.
        """
        while True:
            if self._spent > policy.YIELD_BYTES:
                # records without data (key updates, tickets asked for) escape neither fairness nor the bound
                self.offer_owed()
                await self._yield()
            data = self._decrypt(max_bytes)
            if data is not None:
                self._spent += len(data) + policy.YIELD_CALL_BYTES
                return data
            if self.truncated:
                return b""
            await self._fill()

    async def send_all(self, data: Data, /) -> None:
        """Send all of `data` in order, waiting while the client doesn't read. Errors as in `receive_some`.

        A cancelled call may have sent any part of `data`, in whole records.
        """
        if self._spent > policy.YIELD_BYTES:
            await self._yield()
        size = len(data)
        if size > policy.TLS_WRITE_BYTES:
            view = memoryview(data)
            for at in range(0, size, policy.TLS_WRITE_BYTES):
                if not self._write(view[at : at + policy.TLS_WRITE_BYTES]):
                    await self._send_owed()
                if self._spent > policy.YIELD_BYTES:
                    await self._yield()
        elif not self._write(data):
            await self._send_owed()

    async def send_eof(self) -> None:
        """Send close_notify: our side has ended, receiving goes on, and TCP stays open both ways."""
        if self.sock.fileno() < 0:
            raise trio.ClosedResourceError("this stream was already closed")
        if not self._shut:
            self._require_turn()
            self._shut = True
            self._engine.shut()
            await self.send_owed()
        await checkpoint()

    def close(self) -> None:
        """Let go at once, waking whoever waits; close_notify is sent where the socket takes it. Idempotent.

        Not for a message that was cut off and whose only end is the end of the connection: that wants
        `abort`.
        """
        if self.sock.fileno() < 0:
            return
        if not self._shut and not self._sending:
            self._shut = True
            self._engine.shut()
            with contextlib.suppress(trio.BrokenResourceError):
                self.offer_owed()
        self.abort()

    def ask_first(self) -> None:
        """Have the next receive ask the socket before it waits."""
        self._wait_first = False

    def abort(self) -> None:
        """Let go at once without close_notify: the client can tell a cut-off message from a whole one."""
        if self.sock.fileno() >= 0:
            notify_closing(self.sock)
            self.sock.close()

    async def answer_and_wait(self) -> None:
        """Send what is owed, then feed the engine with the answer; it can't be here yet, so wait first."""
        await self.send_owed()
        self._wait_first = True
        await self._fill()

    async def send_owed(self) -> None:
        """Send what the engine has made so far, waiting as long as it takes."""
        self._require_turn()
        self._owe()
        if not self._try_to_send():
            await self._send_owed()

    def offer_owed(self) -> None:
        """Offer the socket, once, what is owed; leave it to the sender where there is one."""
        self._owe()
        if self._owed and not self._sending:
            self._try_to_send()
        if len(self._owed) - self._sent > policy.MAX_OWED_BYTES:
            raise trio.BrokenResourceError("the client makes us answer and doesn't read the answers")

    def _decrypt(self, size: int) -> bytes | None:
        try:
            return self._engine.read(size)
        except TLSBroken as error:
            with contextlib.suppress(trio.BrokenResourceError):
                self.offer_owed()  # the alert
            raise self._broken(error) from error

    async def _fill(self) -> None:
        """Feed the engine with what the client sent, waiting for it."""
        while self._wait_first or not self._feed():
            self.offer_owed()
            await self._wait_readable()

    def _feed(self) -> bool:
        """Feed the engine with what the socket has; False where it has nothing, an end sets `truncated`."""
        try:
            data = self.sock.recv(self._asked)
        except BlockingIOError:
            return False
        except OSError as error:
            raise self._broken(error) from error
        self._spent += policy.YIELD_CALL_BYTES
        if not data:
            self.truncated = True
            return True
        self._engine.feed(data)
        size = len(data)
        self._readiness.emptied = size < self._asked
        much = size >= policy.SMALL_READ_BYTES
        self._wait_first = not much
        self._asked = policy.TLS_READ_BYTES if much else policy.SMALL_READ_BYTES
        return True

    def _write(self, data: Data) -> bool:
        """Encrypt, and offer what is owed to the socket; say whether nothing is owed any more."""
        self._require_turn()
        try:
            self._engine.write(data)
        except TLSBroken as error:
            raise self._broken(error) from error
        self._spent += len(data) + policy.YIELD_CALL_BYTES
        self._owe()
        return self._try_to_send()

    def _require_turn(self) -> None:
        if self._sending:
            raise trio.BusyResourceError("another task is already sending on this stream")

    async def _send_owed(self) -> None:
        """Send all that is owed, and what becomes owed meanwhile, waiting as long as it takes."""
        self._sending = True
        try:
            while not self._try_to_send():
                await self._wait_writable()
        finally:
            self._sending = False

    def _owe(self) -> None:
        """Take what the engine made, behind what is owed already."""
        made = self._engine.take()
        if not self._owed:
            self._owed = made
        elif made:
            self._owed = self._owed[self._sent :] + made
            self._sent = 0

    def _try_to_send(self) -> bool:
        """Offer the socket what is owed; say whether nothing is owed any more."""
        owed = self._owed
        if not owed:
            return True
        try:
            sent = self.sock.send(memoryview(owed)[self._sent :] if self._sent else owed)
        except BlockingIOError:
            return False
        except OSError as error:
            raise self._broken(error) from error
        self._sent += sent
        if self._sent < len(owed):
            return False
        self._owed, self._sent = b"", 0
        return True

    async def _wait_readable(self) -> None:
        self._wait_first = False
        if await self._readiness.wait():
            self._spent = 0

    async def _wait_writable(self) -> None:
        try:
            await wait_writable(self.sock)
        except OSError as error:
            raise self._broken(error) from error
        self._spent = 0

    async def _yield(self) -> None:
        self._spent = 0
        await checkpoint()

    def _broken(self, error: Exception) -> trio.BrokenResourceError | trio.ClosedResourceError:
        if self.sock.fileno() < 0:
            return trio.ClosedResourceError("this stream was already closed")
        why = error.reason if isinstance(error, TLSBroken) else error
        return trio.BrokenResourceError(f"the connection broke: {why}")
