"""Every worker answers the authority: real worker processes before Let's Encrypt's test authority."""

from __future__ import annotations

import hashlib
import os
import random
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio

from certstore import Answer, AnswersUngiven, Challenge, InProcess, Source, Store, layout
from certstore.atomic import Disk
from certstore.issuers.acme.issuing import Issuer, Surroundings
from certstore.issuers.acme.wishes import Wish
from tests.authorities import pebble as pebbles
from tests.authorities.pebble import Pebble
from tests.tlsproxy.tls_pair import client_context
from tests.tlsproxy.tls_wire import Wire
from tlsproxy import policy_acme
from tlsproxy.config.arguments import from_arguments
from tlsproxy.config.values import ListenerConfig
from tlsproxy.listening import Doors
from tlsproxy.workers.answering import Answering
from tlsproxy.workers.birth import Birth
from tlsproxy.workers.crew import Crew
from tlsproxy.workers.memory import Memory
from tlsproxy.workers.publishing import Publishing
from tlsproxy.workers.remote import Stage

WITHIN_S = 120
WORKERS = 2


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture(scope="module")
def pebble(tmp_path_factory, pki) -> Iterator[Pebble]:
    with pebbles.running(tmp_path_factory.mktemp("pebble"), pki) as running:
        yield running


@dataclass
class Scene:
    """Two workers that serve a certificate of ours, at the ports where the authority looks."""

    crew: Crew
    answering: Answering
    http: int
    tls: int

    async def is_complete(self) -> None:
        while len([one for one in self.crew.workers if one.stage is Stage.ACCEPTING]) < WORKERS:  # noqa: ASYNC110
            await trio.sleep(0.01)

    async def shake_hands(self) -> bytes | None:
        client = Wire(await trio.open_tcp_stream("127.0.0.1", self.tls), client_context(alpn=("http/1.1",)))
        async with client.stream:
            await client.shake_hands()
            assert client.tls.selected_alpn_protocol() == "http/1.1"
            return client.tls.getpeercert(binary_form=True)

    async def text(self, token: str) -> bytes:
        stream = await trio.open_tcp_stream("127.0.0.1", self.http)
        async with stream:
            path = f"/.well-known/acme-challenge/{token}"
            await stream.send_all(
                f"GET {path} HTTP/1.1\r\nHost: d.test\r\nConnection: close\r\n\r\n".encode()
            )
            return b"".join([part async for part in stream])


@asynccontextmanager
async def scene_at(http: int, tls: int, folder: Path, pki) -> AsyncIterator[Scene]:
    config = from_arguments([f"127.0.0.1:{tls}"], ["http://127.0.0.1:9"], folder / "store")
    plain = ListenerConfig(f"127.0.0.1:{http}", "127.0.0.1", http, "http")
    config = replace(config, listeners=(*config.listeners, plain), workers=WORKERS)
    doors, memory = Doors.open(config.listeners, WORKERS), Memory()
    crews: list[Crew] = []
    answering = Answering(now, lambda: crews[0].workers)
    crew = Crew(Birth(config, doors, memory, WORKERS, answers=answering.pending))
    crews.append(crew)
    publishing = Publishing(crew, memory, InProcess())
    try:
        with Store.open(config.store, clock=now, publisher=publishing) as store, trio.fail_after(WITHIN_S):
            publishing.load_from(store.bundle)
            async with trio.open_nursery() as nursery:
                await nursery.start(crew.run)
                bundle = pki.leaf(("device.test",)).bundle()

                def propose() -> None:
                    store.propose(bundle, source=Source.CUSTOMER, via="test", examiner=InProcess())

                await trio.to_thread.run_sync(propose)
                crew.open()
                scene = Scene(crew, answering, http, tls)
                await scene.is_complete()
                yield scene
                nursery.cancel_scope.cancel()
    finally:
        doors.close()
        memory.close()


def make_issuer(root: Path) -> Issuer:
    for folder in layout.folders():
        (root / folder).mkdir(mode=0o700, parents=True, exist_ok=True)
    issuer = Issuer(root, Disk(), Surroundings(now, random.random))
    assert issuer.load() == ()
    return issuer


@pytest.mark.parametrize("kind", [Challenge.HTTP_01, Challenge.TLS_ALPN_01])
async def test_certificates_come_while_clients_shake_hands_and_none_is_disturbed(pebble, tmp_path, pki, kind):
    async with scene_at(pebble.http, pebble.tls, tmp_path, pki) as scene, trio.open_nursery() as nursery:
        issuer, served = make_issuer(tmp_path / "acme"), set[bytes | None]()
        await issuer.register(pebble.server, terms_agreed=True)
        handshakes = 0

        async def disturb_nobody() -> None:
            nonlocal handshakes
            while True:
                served.add(await scene.shake_hands())
                handshakes += 1

        for _ in range(4):
            nursery.start_soon(disturb_nobody)
        for names in (("a.test", "device.test"), ("127.0.0.1",)):
            issued = await issuer.issue(pebble.server, Wish(names), {kind: scene.answering})
            assert issued.names == names
            await issuer.taken(issued)
        assert scene.answering.pending().answers == []
        before = handshakes
        while handshakes < before + 20:  # noqa: ASYNC110
            await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    assert len(served) == 1, "nobody else ever saw a proof"


def answer(token: str = "token-1") -> Answer:
    return Answer(
        Challenge.HTTP_01, "device.test", token, f"{token}.thumbprint", now() + timedelta(minutes=5)
    )


async def test_each_look_finds_the_answer_also_after_a_worker_was_killed(tmp_path, pki):
    http, tls = pebbles.free_ports(2)
    async with scene_at(http, tls, tmp_path, pki) as scene:
        await scene.answering.publish([answer()])
        for _ in range(20):
            assert (await scene.text("token-1")).endswith(b"\r\n\r\ntoken-1.thumbprint")
        victim = scene.crew.workers[0]
        os.kill(victim.pid, signal.SIGKILL)
        await victim.ended.wait()
        await scene.is_complete()
        for _ in range(20):
            assert (await scene.text("token-1")).endswith(b"\r\n\r\ntoken-1.thumbprint")
        await scene.answering.withdraw([answer()])
        await scene.answering.publish([answer("token-2")])
        assert b"thumbprint" not in await scene.text("token-1")


async def test_a_worker_that_hangs_keeps_nobody_waiting_for_ever(tmp_path, pki, monkeypatch):
    monkeypatch.setattr(policy_acme, "ANSWERS_S", 0.2)
    http, tls = pebbles.free_ports(2)
    async with scene_at(http, tls, tmp_path, pki) as scene:
        hung = scene.crew.workers[0]
        os.kill(hung.pid, signal.SIGSTOP)
        with pytest.raises(AnswersUngiven, match=str(hung.pid)):
            await scene.answering.publish([answer()])
        assert scene.answering.pending().answers == []
        os.kill(hung.pid, signal.SIGCONT)


async def test_more_answers_than_there_is_room_for_are_refused(tmp_path, pki):
    http, tls = pebbles.free_ports(2)
    async with scene_at(http, tls, tmp_path, pki) as scene:
        many = [answer(f"t{number}") for number in range(policy_acme.ANSWERS + 1)]
        with pytest.raises(AnswersUngiven, match="more than"):
            await scene.answering.publish(many)
        await scene.answering.publish(many[1:])


def test_a_proof_is_the_digest_of_the_text():
    one = replace(answer(), challenge=Challenge.TLS_ALPN_01)
    assert one.digest == hashlib.sha256(one.key_authorization.encode()).digest()
