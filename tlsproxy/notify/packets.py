"""The packets between supervisor and helper (SOCK_SEQPACKET), as both ends take them."""

from __future__ import annotations

import socket

import trio

from tlsproxy import policy_notices as policy

__all__ = ["receive"]


async def receive(sock: socket.socket) -> bytes:
    """Take a packet, waiting for it; b"" once the other end is gone. `sock` doesn't block."""
    while True:
        await trio.lowlevel.wait_readable(sock)
        try:
            return sock.recv(policy.LETTER_BYTES)
        except BlockingIOError:
            continue
        except OSError:
            return b""
