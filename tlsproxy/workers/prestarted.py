"""The examiner process as its supervisor holds it: started ahead of need, lent to one conversation at a time.

Promises: whatever the process does or suffers, handing a conversation over, asking how it ended and ending
the process return within policy.EXAMINER_END_S; while the process is not warm yet, EXAMINER_START_S.
Refuses to know what is said (conversation.py).
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
from contextlib import suppress
from typing import Final

import msgspec

from certstore import Comparison
from tlsproxy import policy
from tlsproxy.policy_tls import TLSPolicy
from tlsproxy.privilege.facts import Confined
from tlsproxy.tls.engines import EngineName
from tlsproxy.workers.conversation import STATUS, Manner
from tlsproxy.workers.spawn import spawn

__all__ = ["Prestarted"]

MODULE: Final = "tlsproxy.workers.examination"
_WORD_BYTES: Final = 4096


class Prestarted:
    """One examiner process. Who makes it ends it. Not for two threads at once."""

    def __init__(self, tls: TLSPolicy, engine: EngineName, comparison: Comparison | None = None) -> None:
        """Start it; that takes some ms, and the process another 150 until it is warm. Raises OSError."""
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._patience_s: float | None = policy.EXAMINER_START_S  # for the word that it owes us; None: none
        self.confined: Confined | None = None
        """What it has given up, which is its first word; None until that was heard."""
        try:
            with theirs:
                self.process = spawn(MODULE, fds={"control": theirs.fileno()}, engine=engine, policy=tls)
        except BaseException:
            self._control.close()
            raise
        with suppress(OSError):  # it has ended already: the first conversation will tell
            self._control.send(msgspec.msgpack.encode(Manner(tls, engine, comparison)))

    def hand_over(self, conversation: socket.socket) -> None:
        """Let it begin a conversation; raises OSError where it is gone. The caller's end stays the caller's.

        Waits until it is warm, or the fork of the conversation before has ended.
        """
        if self._patience_s is not None and self.status() is None:
            raise BrokenPipeError(None, "its process gives no sign of life")
        socket.send_fds(self._control, [b"?"], [conversation.fileno()])
        self._patience_s = policy.EXAMINER_END_S

    def status(self) -> int | None:
        """Wait until the fork of the last conversation has ended; gives how (as waitpid), None if unknown."""
        return self._hear(self._patience_s)

    def look(self) -> None:
        """Take its first word, if that is here already."""
        if self.confined is None:
            self._hear(0.0)

    def _hear(self, patience_s: float | None) -> int | None:
        self._control.settimeout(patience_s)
        try:
            word = self._control.recv(_WORD_BYTES)
            if self.confined is None:
                self.confined = msgspec.msgpack.decode(word, type=Confined)
                told = 0
            else:
                (told,) = STATUS.unpack(word)
        except (OSError, struct.error, msgspec.DecodeError):
            return None
        self._patience_s = None
        return int(told)

    def end(self) -> int:
        """End the process, in good order or by force; gives its exit code, negative for a signal."""
        self._control.close()
        with suppress(subprocess.TimeoutExpired):
            return self.process.wait(policy.EXAMINER_END_S)
        return self.kill()

    def kill(self) -> int:
        """Kill the process with all that it forked; gives its exit code, negative for a signal."""
        self._control.close()
        if self.process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        return self.process.wait()
