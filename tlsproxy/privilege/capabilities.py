"""Capabilities (capabilities(7)): root's power in pieces, of which we want one or none.

Promises: after `hold_only` this thread has no capability but those named, nor can it get others where the
system lets it forbid that. Refuses to know which are needed.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from tlsproxy.privilege.libc import call, prctl

__all__ = ["NET_BIND_SERVICE", "close_bounding", "held", "hold_only"]

NET_BIND_SERVICE: Final = 10
"""Binding ports below 1024."""

_PR_CAPBSET_DROP: Final = 24
_VERSION_3: Final = 0x20080522
_HEADER: Final = struct.pack("=Ii", _VERSION_3, 0)
# effective, permitted, inheritable: the low 32 bits of each, then the high ones
_SETS: Final = struct.Struct("=6I")
_MOST: Final = 64

# linux/capability.h, in their order
_NAMES: Final = (  # noqa: SIM905  as a table that can be read
    "chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable "
    "net_bind_service net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio sys_chroot "
    "sys_ptrace sys_pacct sys_admin sys_boot sys_nice sys_resource sys_time sys_tty_config mknod lease "
    "audit_write audit_control setfcap mac_override mac_admin syslog wake_alarm block_suspend audit_read "
    "perfmon bpf checkpoint_restore"
).split()


def held() -> tuple[str, ...]:
    """Name the capabilities that this thread has or could take up (its permitted set)."""
    _, permitted, _ = _get()
    return tuple(
        _NAMES[number] if number < len(_NAMES) else f"cap_{number}"
        for number in range(_MOST)
        if permitted >> number & 1
    )


def hold_only(kept: Iterable[int] = ()) -> None:
    """Give up all capabilities but `kept`, of those that we have. Ambient ones follow (capabilities(7))."""
    mask = sum(1 << number for number in kept)
    _, permitted, inheritable = _get()
    permitted, inheritable = permitted & mask, inheritable & mask
    sets = (permitted, permitted, inheritable)
    halves = [held >> shift & 0xFFFFFFFF for shift in (0, 32) for held in sets]
    with suppress(OSError):  # it only lessens, which is never refused; a filter of system calls may
        call("capset", _HEADER, _SETS.pack(*halves))


def close_bounding() -> None:
    """Let no later exec give us a capability, not even root's; where we may not, nothing happens."""
    with suppress(OSError):  # EINVAL: there are no more; EPERM: we may not (then we aren't root either)
        for number in range(_MOST):
            prctl(_PR_CAPBSET_DROP, number)


def _get() -> tuple[int, int, int]:
    sets = ctypes.create_string_buffer(_SETS.size)
    try:
        call("capget", _HEADER, sets)
    except OSError:
        return 0, 0, 0
    low, high = (_SETS.unpack(sets.raw)[start : start + 3] for start in (0, 3))
    effective, permitted, inheritable = (one | two << 32 for one, two in zip(low, high, strict=True))
    return effective, permitted, inheritable
