"""Who answers in an authority's place, or plays with its answers, gets nothing of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from cryptography import x509

from certstore import Source, Way
from tests.errands import answer, redirect
from tests.responding import Responder
from tests.watching import MINUTE, Scene, leaf_of, scene_at
from tlsproxy.policy_tls import TLSPolicy
from tlsproxy.revocationasking import Asker
from tlsproxy.workers.examiner import ExaminerProcess


@pytest.fixture(scope="module")
def examiner() -> Iterator[ExaminerProcess]:
    with ExaminerProcess(TLSPolicy()) as examiner:
        yield examiner


@pytest.fixture
async def scene(tmp_path: Path, examiner: ExaminerProcess) -> AsyncIterator[Scene]:
    async with scene_at(tmp_path, examiner) as scene:
        yield scene


@pytest.mark.parametrize("place", ["http://[::1", "//[", "http://[nowhere]/"])
async def test_a_redirect_to_what_is_no_url_is_a_failure_like_others(scene, pki, place):
    """It ended the proxy, and each next start of it."""
    issued = leaf_of(pki, scene)
    scene.bring(issued)
    scene.library.pages["/ocsp"] = redirect(place)
    assert await scene.turn() == ["failed"]
    scene.respond(Responder(pki).answer(issued.certificate))
    assert await scene.turn(2 * MINUTE) == ["good"]


async def test_whatever_goes_wrong_with_one_question_leaves_the_others_and_the_proxy_alone(
    scene, pki, monkeypatch
):
    first, second = leaf_of(pki, scene, path="/first"), leaf_of(pki, scene, path="/second")
    scene.bring(first, Source.ACME)
    scene.bring(second)
    for path, issued in (("/first", first), ("/second", second)):
        scene.library.pages[path] = answer(Responder(pki).answer(issued.certificate))
    ask = Asker._ask_at

    async def break_one(self: Asker, way: Way, url: str, *who: x509.Certificate) -> object:
        if url.endswith("/first"):
            raise KeyError("a mistake of ours")
        return await ask(self, way, url, *who)

    monkeypatch.setattr(Asker, "_ask_at", break_one)
    assert sorted(await scene.turn()) == ["failed", "good"]
    assert len(scene.staples) == 1
