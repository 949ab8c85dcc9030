"""Signals that wait in the kernel while tasks run, whatever threads there are."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import trio

from tlsproxy.signals import SIGNALS, Gate

# In a process of its own: helper threads that other tests have left would take the signal.
HELD_BACK = """
import os, signal, trio
from tlsproxy.signals import Gate

async def main():
    gate = Gate()
    with gate.in_force(), trio.open_signal_receiver(signal.SIGTERM) as signals, trio.fail_after(20):
        gate.open()
        await trio.to_thread.run_sync(os.getpid)  # there is a thread from now on, and it idles
        with gate.closed():
            os.kill(os.getpid(), signal.SIGTERM)
            for _ in range(10):
                await trio.lowlevel.checkpoint()
            assert signal.SIGTERM in signal.sigpending()
        assert await anext(signals) == signal.SIGTERM

trio.run(main)
"""


def test_no_helper_thread_takes_a_signal_that_comes_while_tasks_run() -> None:
    """Were one of them to take it, it would be noted for this loop; and lost by an exec."""
    subprocess.run([sys.executable, "-c", HELD_BACK], check=True, timeout=60)


async def test_a_signal_wakes_a_loop_that_waits() -> None:
    gate = Gate()
    with gate.in_force(), trio.open_signal_receiver(signal.SIGHUP) as signals, trio.fail_after(20):
        gate.open()
        await trio.run_process(["kill", "-HUP", str(os.getpid())])
        assert await anext(signals) == signal.SIGHUP


async def test_afterwards_signals_come_as_before() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with Gate().in_force():
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) >= set(SIGNALS)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


# A helper thread idles here, and an exec follows at once, which ends it.
BEFORE = """
import os, signal, sys, trio
from tlsproxy.signals import Gate

async def main():
    gate = Gate()
    with gate.in_force(), trio.open_signal_receiver(signal.SIGTERM), trio.fail_after(20):
        gate.open()
        await trio.to_thread.run_sync(os.getpid)
        with gate.closed():
            os.kill(os.getpid(), signal.SIGTERM)
            os.execv(sys.executable, [sys.executable, "-c", sys.argv[1]])

trio.run(main)
"""
AFTER = "import signal; print(sorted(number.name for number in signal.sigpending()))"


def test_a_signal_that_comes_just_before_an_exec_waits_for_the_image_after_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", BEFORE, AFTER], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("['SIGTERM']\n", "")
