"""Handing a connection to another process of ours, with the bytes that were read from it already.

A mailbox is a pair of UNIX sockets that keep messages apart (SOCK_SEQPACKET, unix(7)): many may hold the end
that posts, and the end that collects: each message is collected once. Promises: a connection is either
posted, or still the caller's; nobody waits for a mailbox that is full; what there is no descriptor for stays
in it. Refuses to know what a connection speaks.

Theory. A message whose descriptor has no place here is given without it: the kernel drops the connection and
calls that MSG_CTRUNC (unix(7)). So places are found first, and given back at the moment before; two of them,
since another thread may open a file in that moment. Looking at it by MSG_PEEK would be surer, were there not
others who collect as well.
"""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Iterator

import trio

__all__ = ["LARGEST_NOTE", "collect", "has_post", "is_over", "make", "post", "shut", "wait_post"]

# Bytes that go along with a connection: a ClientHello at its largest, in its records, and what came with it.
LARGEST_NOTE = 131_072
_PLACES = 2
# What clients come by; whoever posts may be no longer himself.
_FAMILIES = frozenset({socket.AF_INET, socket.AF_INET6, socket.AF_UNIX})


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


def collect(mailbox: socket.socket, most: int) -> Iterator[tuple[socket.socket, bytes]]:
    """Give what is there, each connection (non-blocking) with its note; never waits.

    most: how many messages are read, those without a connection among them: a sibling that somebody has
    taken over can post such faster than they are read. Raises OSError where no descriptor or memory is left
    for the next; it is still there then.
    """
    for _ in range(most):
        if not has_post(mailbox):
            return
        _find_places(mailbox)
        try:
            note, fds, _, _ = socket.recv_fds(mailbox, LARGEST_NOTE, 1, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:  # somebody else has collected it
            return
        if not note:  # shut, and empty; or what nobody of ours posts
            for fd in fds:
                os.close(fd)
            return
        for fd in fds:
            if (sock := _socket_of(fd)) is not None:
                yield sock, note


def has_post(mailbox: socket.socket) -> bool:
    """Say whether there is something to collect, or nothing ever more."""
    poll = select.poll()
    poll.register(mailbox, select.POLLIN)
    return bool(poll.poll(0))


def _find_places(mailbox: socket.socket) -> None:
    """See that there is a place for a descriptor that comes. Raises OSError."""
    found: list[int] = []
    try:
        found.extend(os.dup(mailbox.fileno()) for _ in range(_PLACES))
    finally:
        for fd in found:
            os.close(fd)


def _socket_of(fd: int) -> socket.socket | None:
    """Make a socket of a descriptor that came; None, and closed, where it is no client's connection."""
    try:
        sock = socket.socket(fileno=fd)
    except OSError:
        os.close(fd)
        return None
    if sock.type != socket.SOCK_STREAM or sock.family not in _FAMILIES:
        sock.close()
        return None
    sock.setblocking(False)
    return sock


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
