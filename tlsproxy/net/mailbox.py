"""Handing a connection to another process of ours, with the bytes that were read from it already.

A mailbox is a pair of UNIX sockets that keep messages apart (SOCK_SEQPACKET, unix(7)): many may hold the end
that posts, one at a time collects at the other. Promises: a connection is either posted, or still the
caller's; nobody waits for a mailbox that is full. Refuses to know what a connection speaks.
"""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Iterator

import trio

__all__ = ["LARGEST_NOTE", "collect", "is_over", "make", "post", "shut", "wait_post"]

# Bytes that go along with a connection: a ClientHello at its largest, in its records, and what came with it.
LARGEST_NOTE = 131_072


def make() -> tuple[socket.socket, socket.socket]:
    """Make one: the end where connections are posted, and the end where they are collected; non-blocking.

    Raises OSError where no descriptor is left.
    """
    posting, collecting = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    posting.setblocking(False)
    collecting.setblocking(False)
    return posting, collecting


def post(mailbox: socket.socket, sock: socket.socket, note: bytes) -> bool:
    """Post `sock`, which stays the caller's to close; False where the mailbox is full, shut or too small."""
    if not note or len(note) > LARGEST_NOTE:
        return False
    try:
        return socket.send_fds(mailbox, [note], [sock.fileno()]) == len(note)
    except OSError:
        return False


async def wait_post(mailbox: socket.socket) -> None:
    """Wait until there is something to collect."""
    await trio.lowlevel.wait_readable(mailbox)


def collect(mailbox: socket.socket) -> Iterator[tuple[socket.socket, bytes]]:
    """Give all that is there, each connection (non-blocking) with its note; never waits."""
    while True:
        try:
            note, fds, _, _ = socket.recv_fds(mailbox, LARGEST_NOTE, 1, socket.MSG_CMSG_CLOEXEC)
        except OSError:
            return
        if not note:  # shut, and empty; or what nobody of ours posts
            for fd in fds:
                os.close(fd)
            return
        for fd in fds:
            sock = socket.socket(fileno=fd)
            sock.setblocking(False)
            yield sock, note


def is_over(mailbox: socket.socket) -> bool:
    """Say whether nothing more can be posted: a mailbox that was shut is readable for ever."""
    poll = select.poll()
    poll.register(mailbox, select.POLLRDHUP)
    return bool(poll.poll(0))


def shut(mailbox: socket.socket) -> None:
    """Let nothing more be posted, by whoever holds the other end; what is there can still be collected."""
    try:
        mailbox.shutdown(socket.SHUT_RD)
    except OSError:
        return  # nobody holds the other end any more
