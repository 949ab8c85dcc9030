"""What the kernel knows of a TCP connection: how many bytes it has carried.

Costs half a microsecond for a connection that is asked about, and nothing for a request.
"""

from __future__ import annotations

import socket
import struct

__all__ = ["carried_bytes"]

# Offsets in Linux's struct tcp_info, which only grows at its end (include/uapi/linux/tcp.h).
_RECEIVED = struct.Struct("=Q")  # at 128, since Linux 4.1
_NOT_SENT = struct.Struct("=I")  # at 144, since 4.6
_SENT_AND_AGAIN = struct.Struct("=QQ")  # at 200, since 4.19: sent in all, and of that sent again
_SIZE = 216


def carried_bytes(sock: socket.socket) -> tuple[int, int]:
    """Say how many bytes were received and sent (in the send queue too); zeros where nobody knows.

    That is what TCP carried: TLS records and handshakes, without headers and without what was sent again. The
    peer's end (FIN) counts as one byte received.
    """
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _SIZE)
    except OSError:
        return 0, 0  # closed, or a UNIX socket
    if len(info) < _SIZE:
        return 0, 0
    sent, again = _SENT_AND_AGAIN.unpack_from(info, 200)
    return _RECEIVED.unpack_from(info, 128)[0], sent - again + _NOT_SENT.unpack_from(info, 144)[0]
