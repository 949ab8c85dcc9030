"""A change confirmed over the network: by its word alone, and only by whom it is served to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from certstore import InProcess, Receipt, Source, State, Store
from certstore.atomic import Disk
from tests.controlling import control_api, controller_of, now
from tests.forwarding import Peer, Rig, forwarding
from tests.pki import Issued, Pki
from tests.storing import candidate_of
from tlsproxy import policy_changes as policy
from tlsproxy.boottime import boot_clock
from tlsproxy.control.values import candidate_to_json
from tlsproxy.forward.site import ClientFacts
from tlsproxy.wire import Awaited, WireConfirmation, find
from tlsproxy.word import Judgement, hash_of, make_word
from tlsproxy.workers.asking import Asking
from tlsproxy.workers.messages import ConfirmAsked, ConfirmJudged

PATH = "/.well-known/tlsproxy/confirm"
WORD = b"0123456789abcdef0123456789abcdef"
FACTS = ClientFacts("192.0.2.7", "https", bundle="b" * 64, generation=3)


def confirm(word: bytes = WORD, method: str = "POST", path: str = PATH, more: str = "") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: device.test\r\nContent-Length: {len(word)}\r\n{more}\r\n"
    return head.encode() + word


@dataclass
class Judge:
    """Answers as the test says, and notes what it was asked."""

    judgement: Judgement = Judgement.CONFIRMED
    words: list[bytes] = field(default_factory=list)

    async def __call__(self, word: bytes, client: ClientFacts) -> Judgement:
        await trio.lowlevel.checkpoint()
        assert client is FACTS
        self.words.append(word)
        return self.judgement


@asynccontextmanager
async def judged(judge: Judge) -> AsyncIterator[Rig]:
    async with forwarding(facts=FACTS) as rig:
        rig.site = replace(rig.site, confirm=judge)
        yield rig


class TestAtTheClient:
    async def test_yes_is_204_and_the_connection_goes_on(self):
        judge = Judge()
        async with judged(judge) as rig:
            client = await rig.connect()
            await client.send(confirm(WORD + b"\n"))
            assert (await client.head()).startswith(b"HTTP/1.1 204 No Content\r\n")
            assert (await client.ask()).status == 200, "and the next request goes to its upstream"
        assert judge.words == [WORD]
        assert not any(WORD in record.target for record in rig.records)
        assert (rig.records[0].status, rig.records[0].upstream) == (204, "")

    @pytest.mark.parametrize(
        ("judgement", "status", "code"),
        [
            (Judgement.NOT_HERE, 409, b"not_confirmed"),
            (Judgement.TOO_OFTEN, 429, b"confirmed_too_often"),
            (Judgement.FAILED, 503, b"confirmation_failed"),
        ],
    )
    async def test_no_ends_the_connection_so_that_a_new_one_is_made(self, judgement, status, code):
        async with judged(Judge(judgement)) as rig:
            client = await rig.connect()
            await client.send(confirm())
            got = await client.everything()
            assert got.startswith(b"HTTP/1.1 %d " % status)
            assert b"\r\nConnection: close\r\n" in got
            assert code in got
            assert WORD not in got

    async def test_a_word_that_comes_in_pieces_is_read_whole(self):
        judge = Judge()
        async with judged(judge) as rig:
            client = await rig.connect()
            request = confirm()
            for at in range(0, len(request), 7):
                await client.send(request[at : at + 7])
                await rig.settle()
            assert (await client.head()).startswith(b"HTTP/1.1 204 ")
        assert judge.words == [WORD]

    @pytest.mark.parametrize(
        ("request_", "status"),
        [
            (confirm(b"x" * (policy.WORD_BYTES + 1)), 413),
            (confirm(b""), 413),
            (b"POST %b HTTP/1.1\r\nHost: x\r\n\r\n" % PATH.encode(), 413),
            (b"POST %b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" % PATH.encode(), 411),
            (confirm(more="Expect: 100-continue\r\n"), 417),
        ],
    )
    async def test_what_can_be_no_word_is_refused_unjudged(self, request_, status):
        judge = Judge()
        async with judged(judge) as rig:
            client = await rig.connect()
            await client.send(request_)
            assert (await client.answer()).status == status
        assert judge.words == []

    @pytest.mark.parametrize(
        "request_", [confirm(method="PUT"), confirm(path=PATH + "/x"), confirm(path="/")]
    )
    async def test_everything_else_is_the_upstream_s(self, request_):
        async def upstream(peer: Peer) -> None:
            await peer.head()
            await peer.exactly(len(WORD))
            await peer.send(b"HTTP/1.1 418 I'm a teapot\r\nContent-Length: 0\r\n\r\n")

        judge = Judge()
        async with forwarding(upstream, facts=FACTS) as rig:
            rig.site = replace(rig.site, confirm=judge)
            client = await rig.connect()
            await client.send(request_)
            assert (await client.answer()).status == 418
        assert judge.words == []


class TestInTheWorker:
    async def test_only_the_hash_of_a_word_leaves_it_and_the_answer_comes_to_who_asked(self):
        sent: list[ConfirmAsked] = []
        asking, got = Asking(sent.append), {}

        async def ask(word: bytes) -> None:
            got[word] = await asking.confirm(word, FACTS)

        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                for word in (b"one", b"two"):
                    nursery.start_soon(ask, word)
                await trio.testing.wait_all_tasks_blocked()
                for asked in sent:
                    yes = asked.word == hash_of(b"two")
                    asking.judged(
                        ConfirmJudged(asked.number, Judgement.CONFIRMED if yes else Judgement.NOT_HERE)
                    )
        assert got == {b"one": Judgement.NOT_HERE, b"two": Judgement.CONFIRMED}
        assert {(asked.bundle, asked.generation) for asked in sent} == {(FACTS.bundle, 3)}
        asking.judged(ConfirmJudged(99, Judgement.CONFIRMED))  # nobody waits for it

    async def test_who_guesses_is_slowed_down_before_the_supervisor_hears_of_it(
        self, autojump_clock, monkeypatch
    ):
        monkeypatch.setattr(policy, "CONFIRM_PER_S", 0.0)
        sent: list[ConfirmAsked] = []
        asking = Asking(sent.append)

        async def ask() -> None:
            assert await asking.confirm(b"x", FACTS) in {Judgement.FAILED, Judgement.TOO_OFTEN}

        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(ask)
        assert len(sent) == policy.CONFIRM_BURST
        other = replace(FACTS, peer="192.0.2.8")
        assert await asking.confirm(b"x", other) is Judgement.FAILED, "another address asks all the same"
        assert len(sent) == policy.CONFIRM_BURST + 1
        assert await asking.confirm(b"x", FACTS) is Judgement.TOO_OFTEN

    async def test_many_addresses_together_are_bounded_and_so_is_what_is_kept_of_them(
        self, autojump_clock, monkeypatch
    ):
        monkeypatch.setattr(policy, "CONFIRM_PER_S_ALL", 0.0)
        sent: list[ConfirmAsked] = []
        asking = Asking(sent.append)

        async def ask(number: int) -> None:
            await asking.confirm(b"x", replace(FACTS, peer=str(number)))

        async with trio.open_nursery() as nursery:
            for number in range(policy.CONFIRM_ADDRESSES * 2):
                nursery.start_soon(ask, number)
        assert len(sent) == policy.CONFIRM_BURST_ALL
        assert len(asking._for_each) == policy.CONFIRM_ADDRESSES

    async def test_an_answer_of_a_version_to_come_is_no_yes(self):
        sent: list[ConfirmAsked] = []
        asking = Asking(sent.append)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._never_confirmed, asking)
            await trio.testing.wait_all_tasks_blocked()
            asking.judged(ConfirmJudged(sent[0].number, "of course"))

    async def _never_confirmed(self, asking: Asking) -> None:
        assert await asking.confirm(b"x", FACTS) is Judgement.FAILED


hashes = st.sampled_from([hash_of(b"1"), hash_of(b"2"), hash_of(b"3"), ""])
awaited = st.builds(Awaited, st.text(), hashes, st.text(), st.integers(0, 9))


@given(st.lists(awaited), st.builds(ConfirmAsked, st.just(1), hashes, st.text(), st.integers(0, 9)))
def test_a_word_finds_only_what_it_was_made_for(all_of_them, asked):
    found = find(all_of_them, asked)
    meant = [one for one in all_of_them if one.word == asked.word and one.word]
    assert found == (meant[-1] if meant else None)


@dataclass
class Scene:
    store: Store
    wire: WireConfirmation
    told: list[Receipt]
    fails: list[bool]

    def propose(self, issued: Issued) -> tuple[str, ConfirmAsked]:
        """Put a change on probation, and give what its client would ask."""
        word, its_hash = make_word()
        receipt = self.store.propose(
            candidate_of(issued),
            source=Source.CUSTOMER,
            via="x",
            examiner=InProcess(),
            confirm_within_s=600,
            word=its_hash,
        )
        assert receipt.generation is not None
        return receipt.id, ConfirmAsked(1, hash_of(word.encode()), issued.bundle().id, receipt.generation)


class TestInTheSupervisor:
    @pytest.fixture
    def scene(self, tmp_path: Path):
        fails: list[bool] = []

        def before(_step: str, path: Path) -> None:
            if fails and "slots" in path.parts:
                raise OSError(28, "No space left on device")

        told: list[Receipt] = []
        with Store.open(tmp_path / "s", clock=now, boot_clock=boot_clock(), disk=Disk(before)) as store:
            controller = controller_of(store, told.append)
            yield Scene(store, WireConfirmation(store, controller.confirm_by_wire), told, fails)

    async def test_the_right_word_over_the_right_connection_confirms(self, scene, pki):
        id_, asked = scene.propose(pki.leaf())
        assert await scene.wire.judge(asked) is Judgement.CONFIRMED
        receipt = scene.store.receipt(id_)
        assert (receipt.state, receipt.findings[-1].words) == (State.CONFIRMED, "confirmed via wire")
        assert scene.told == [receipt]

    async def test_whose_answer_got_lost_is_told_again(self, scene, pki):
        _, asked = scene.propose(pki.leaf())
        for _ in range(3):
            assert await scene.wire.judge(asked) is Judgement.CONFIRMED
        assert len(scene.told) == 1

    @pytest.mark.parametrize(
        "other",
        [
            {"word": hash_of(b"guessed")},
            {"word": ""},
            {"word": "\xe4"},
            {"bundle": "c" * 64},
            {"generation": 0},
        ],
        ids=str,
    )
    async def test_whatever_else_confirms_nothing(self, scene, pki, other):
        id_, asked = scene.propose(pki.leaf())
        wrong = ConfirmAsked(
            1,
            other.get("word", asked.word),
            other.get("bundle", asked.bundle),
            other.get("generation", asked.generation),
        )
        assert await scene.wire.judge(wrong) is Judgement.NOT_HERE
        assert scene.store.receipt(id_).state is State.LIVE

    async def test_a_later_generation_that_serves_it_still_will_do(self, scene, pki):
        _, asked = scene.propose(pki.leaf())
        later = ConfirmAsked(1, asked.word, asked.bundle, asked.generation + 5)
        assert await scene.wire.judge(later) is Judgement.CONFIRMED

    async def test_who_gets_the_half_that_was_here_before_confirms_nothing_of_the_new_one(self, scene, pki):
        old = pki.leaf(key="rsa")
        terms = {"source": Source.CUSTOMER, "via": "x", "examiner": InProcess()}
        scene.store.propose(candidate_of(old), **terms)
        word, its_hash = make_word()
        comes = pki.leaf()
        receipt = scene.store.propose(
            candidate_of(comes), **terms, beside=True, confirm_within_s=600, word=its_hash
        )
        assert receipt.generation is not None
        known = hash_of(word.encode())
        by_old = ConfirmAsked(1, known, old.bundle().id, receipt.generation)
        assert await scene.wire.judge(by_old) is Judgement.NOT_HERE
        assert scene.store.receipt(receipt.id).state is State.LIVE
        by_new = ConfirmAsked(2, known, comes.bundle().id, receipt.generation)
        assert await scene.wire.judge(by_new) is Judgement.CONFIRMED

    async def test_the_word_of_a_change_that_another_took_the_place_of_confirms_nothing(self, scene, pki):
        _, first = scene.propose(pki.leaf())
        id_, _ = scene.propose(pki.leaf())
        assert await scene.wire.judge(first) is Judgement.NOT_HERE
        assert scene.store.receipt(id_).state is State.LIVE

    async def test_what_cannot_be_written_down_is_not_confirmed(self, scene, pki):
        id_, asked = scene.propose(pki.leaf())
        scene.fails.append(True)
        assert await scene.wire.judge(asked) is Judgement.FAILED
        assert scene.store.receipt(id_).state is State.LIVE
        scene.fails.clear()
        assert await scene.wire.judge(asked) is Judgement.CONFIRMED

    async def test_more_than_can_wait_are_told_to_come_again(self, scene):
        class Worker:
            def __init__(self):
                self.sent: list[ConfirmJudged] = []

            @property
            def channel(self):
                return self

            def send(self, message):
                self.sent.append(message)

        worker = Worker()
        for number in range(policy.CONFIRM_WAITING + 3):
            scene.wire.ask(worker, ConfirmAsked(number, hash_of(b"x"), "", 0))
        assert [one.judgement for one in worker.sent] == [Judgement.TOO_OFTEN] * 3
        async with trio.open_nursery() as nursery:
            nursery.start_soon(scene.wire.run)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert len(worker.sent) == policy.CONFIRM_WAITING + 3


async def test_the_word_stands_in_one_answer_and_nowhere_else(tmp_path: Path, pki: Pki) -> None:
    async with control_api(tmp_path) as api:
        upload = partial(api.ask, "POST", json=candidate_to_json(candidate_of(pki.leaf()), "test"))
        document = (await upload("/v1/candidates?confirm_within_s=600")).json()
        word = document["confirm_word"]
        assert len(bytes.fromhex(word)) == policy.WORD_RANDOM_BYTES
        (one,) = api.store.probations()
        assert one.word == hash_of(word.encode())
        for target in (f"/v1/receipts/{document['id']}", "/v1/slots", "/v1/status", "/v1/generations/1"):
            assert word not in (await api.ask("GET", target)).text
        for path in api.store.path.rglob("*"):
            assert not path.is_file() or word.encode() not in path.read_bytes(), path
        for_good = await api.ask(
            "POST", "/v1/candidates", json=candidate_to_json(candidate_of(pki.leaf()), "test")
        )
        assert "confirm_word" not in for_good.json()


def test_a_probation_of_before_there_were_words_is_read(tmp_path: Path, pki: Pki) -> None:
    root = tmp_path / "s"
    with Store.open(root, clock=now, boot_clock=boot_clock()) as store:
        store.propose(
            candidate_of(pki.leaf()),
            source=Source.CUSTOMER,
            via="x",
            examiner=InProcess(),
            confirm_within_s=600,
        )
    path = root / "probation.json"
    path.write_text(path.read_text().replace('"word"', '"unknown"'))
    with Store.open(root, clock=now, boot_clock=boot_clock()) as store:
        assert [one.word for one in store.probations()] == [""]
        assert store.recovered == ()
