"""Signals around an exec: none is lost, whichever thread the kernel gave it to."""

from __future__ import annotations

import subprocess
import sys

# Another thread, which blocks nothing, takes the signal between the hold and the exec.
BEFORE = """
import os, signal, sys, threading
from tlsproxy.signals import held_back
signal.signal(signal.SIGTERM, lambda *_: None)
threading.Thread(target=threading.Event().wait, daemon=True).start()
with held_back() as notes:
    os.kill(os.getpid(), signal.SIGTERM)
    while signal.SIGTERM in signal.sigpending():
        pass
    os.set_inheritable(notes, True)
    os.execv(sys.executable, [sys.executable, "-c", sys.argv[1], str(notes)])
"""
AFTER = """
import signal, sys
from tlsproxy.signals import raise_again
raise_again(int(sys.argv[1]))
print(sorted(number.name for number in signal.sigpending()))
"""


def test_a_signal_that_another_thread_took_before_an_exec_is_obeyed_after_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", BEFORE, AFTER], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.stdout, done.stderr) == ("['SIGTERM']\n", "")
