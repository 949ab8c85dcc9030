"""Where no thread is to be had: who asked is told, or it is waited for; and nothing else ends."""

from __future__ import annotations

import signal
import threading

import pytest
import structlog
import trio

from tlsproxy import policy_service, threads
from tlsproxy.errors import ThreadError
from tlsproxy.net.dial import resolve
from tlsproxy.signals import SIGNALS, end_is_asked
from tlsproxy.threads import in_thread, in_thread_at_last, in_thread_or_here
from tlsproxy.workers import duties


class Shortage:
    """A system that has no thread left for so many attempts."""

    def __init__(self, times: int) -> None:
        self.left = times
        self._start = threading.Thread.start

    def __call__(self, thread: threading.Thread) -> None:
        if self.left:
            self.left -= 1
            raise RuntimeError("can't start new thread")
        self._start(thread)


@pytest.fixture
def shortage(monkeypatch):
    """Begin one; threads that trio keeps for the next work must be gone."""

    def begin(times: int) -> Shortage:
        made = Shortage(times)
        monkeypatch.setattr(trio._core._thread_cache.THREAD_CACHE, "_idle_workers", {})
        monkeypatch.setattr(threading.Thread, "start", lambda thread: made(thread))  # noqa: PLW0108  a method
        return made

    return begin


async def test_who_asked_is_told_in_an_error_of_ours(shortage) -> None:
    shortage(1)
    with pytest.raises(ThreadError, match="no thread is to be had: can't start new thread"):
        await in_thread(lambda: 1)
    assert await in_thread(lambda: 1) == 1


async def test_a_fault_of_the_work_itself_stays_one() -> None:
    def fail() -> None:
        raise RuntimeError("a bug")

    for way in (in_thread, in_thread_at_last, in_thread_or_here):
        with pytest.raises(RuntimeError, match="a bug"):
            await way(fail)


async def test_what_must_be_done_is_done_as_soon_as_there_is_a_thread_and_its_waiting_told_once(
    shortage, monkeypatch
) -> None:
    monkeypatch.setattr(policy_service, "THREAD_RETRY_S", 0.0)
    monkeypatch.setattr(threads, "policy", policy_service)
    shortage(5)
    with structlog.testing.capture_logs() as log:
        assert await in_thread_at_last(threading.get_ident) != threading.get_ident()
    assert [line["event"] for line in log] == ["thread_awaited"]


async def test_who_waits_for_a_thread_at_a_start_leaves_when_the_end_is_asked_for(shortage) -> None:
    shortage(1_000_000)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        assert not end_is_asked()
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
        with pytest.raises(ThreadError), trio.fail_after(30):
            await in_thread_at_last(lambda: 1, end_is_asked)
    finally:
        assert signal.sigtimedwait([signal.SIGTERM], 5) is not None
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


async def test_what_is_short_is_done_here(shortage) -> None:
    shortage(1)
    assert await in_thread_or_here(threading.get_ident) == threading.get_ident()


async def test_a_worker_without_a_thread_builds_a_generation_all_the_same(shortage) -> None:
    """It ended, with all its connections."""
    shortage(1)
    assert await duties._in_a_thread(lambda: str(threading.get_ident())) == str(threading.get_ident())


async def test_a_name_of_an_upstream_for_which_no_thread_is_left_is_an_error_of_that_connection(
    shortage,
) -> None:
    shortage(1)

    class Address:
        scheme, host, port, path = "http", "localhost", 9, None

    with pytest.raises(OSError, match="no thread"):
        await resolve(Address(), trio.CapacityLimiter(1))
