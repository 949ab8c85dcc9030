"""Who answers in tests: a web server for http-01, the mock DNS for dns-01, and one that only remembers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

import trio

from certstore.issuers.acme.challenges import Answer
from tests.authorities.pebble import Pebble


class Recorder:
    """Remembers what is given now, and all that ever was."""

    def __init__(self) -> None:
        self.given: list[Answer] = []
        self.ever: list[Answer] = []

    async def publish(self, answers: Sequence[Answer]) -> None:
        await trio.lowlevel.checkpoint()
        self.given += answers
        self.ever += answers

    async def withdraw(self, answers: Sequence[Answer]) -> None:
        await trio.lowlevel.checkpoint()
        self.given = [one for one in self.given if one not in answers]


class ByHttp(Recorder):
    """Answers on a port of its own, as RFC 8555 section 8.3 has it."""

    @classmethod
    @asynccontextmanager
    async def on(cls, port: int) -> AsyncIterator[ByHttp]:
        answering = cls()
        async with trio.open_nursery() as nursery:
            await nursery.start(trio.serve_tcp, answering._serve, port)
            yield answering
            nursery.cancel_scope.cancel()

    async def _serve(self, stream: trio.SocketStream) -> None:
        head = b""
        async with stream:
            while b"\r\n\r\n" not in head and (part := await stream.receive_some(4096)):
                head += part
            path = head.split(b" ")[1].decode()
            known = {f"/.well-known/acme-challenge/{one.token}": one for one in self.given}
            found = known.get(path)
            status, body = ("200 OK", found.key_authorization) if found else ("404 Not Found", "")
            answer = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}"
            await stream.send_all(answer.encode())


class ByDns(Recorder):
    """Has the mock DNS answer (section 8.4)."""

    def __init__(self, pebble: Pebble) -> None:
        super().__init__()
        self._pebble = pebble

    async def publish(self, answers: Sequence[Answer]) -> None:
        await super().publish(answers)
        for one in answers:
            facts = {"host": f"_acme-challenge.{one.name}.", "value": one.txt}
            await trio.to_thread.run_sync(partial(self._pebble.set_dns, "set-txt", **facts))

    async def withdraw(self, answers: Sequence[Answer]) -> None:
        await super().withdraw(answers)
        for name in {one.name for one in answers}:
            host = f"_acme-challenge.{name}."
            await trio.to_thread.run_sync(partial(self._pebble.set_dns, "clear-txt", host=host))
