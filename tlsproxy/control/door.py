"""The control socket's file: made, guarded, and removed at the end.

Theory: a socket file outlives its process, and two processes must never share one. Whether the file is
stale is asked by connecting: a refusal means that nobody listens. Between that answer and the unlink
another proxy could come up; the store's lock, which its only holder has before it gets here, rules that out
for one store. The socket is bound, then given its mode and group, then listened on: before the last step
nobody can connect, whatever the umask was.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tlsproxy import policy
from tlsproxy.control.peers import Access
from tlsproxy.errors import ControlError
from tlsproxy.observe.log import logger

__all__ = ["listening"]

_log = logger("control")
# sockaddr_un holds 108 bytes with the closing NUL (unix(7)).
_LONGEST_PATH = 107


@contextmanager
def listening(path: Path, access: Access, handed_over: int | None) -> Iterator[socket.socket]:
    """Listen at `path` while the block runs; `handed_over`: the descriptor that does so already.

    Where its file was removed meanwhile another one is made.
    Makes the folder where it is absent: closed to others unless others may ask; leaves the mode of one that
    is there to whoever made it. Raises ControlError.
    """
    try:
        sock = (handed_over is not None and _taken_over(path, access, handed_over)) or _bind(path, access)
        mine = os.stat(path)  # noqa: PTH116  the same question as below
    except OSError as error:
        raise ControlError(str(path), (error.strerror or str(error)).lower(), _hint(error, path)) from error
    try:
        yield sock
    finally:
        sock.close()
        _remove(path, mine)


def _bind(path: Path, access: Access) -> socket.socket:
    if (size := len(os.fsencode(path))) > _LONGEST_PATH:
        why = f"the path has {size} bytes, and the system takes {_LONGEST_PATH}"
        raise ControlError(str(path), why, _ELSEWHERE)
    shared = bool(access.uids or access.gids)
    if not path.parent.is_dir():
        path.parent.mkdir(parents=True)
        path.parent.chmod(0o755 if shared else 0o700)  # whatever the umask is
    _clear(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        sock.bind(str(path))
        _guard(path, access)
        sock.listen(policy.CONTROL_BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def _taken_over(path: Path, access: Access, descriptor: int) -> socket.socket | None:
    """Take the socket of the image before; closed again, and None, where nobody could find it any more."""
    sock = socket.socket(fileno=descriptor)
    try:
        if stat.S_ISSOCK(path.lstat().st_mode):
            _guard(path, access)  # a reload may have changed who may ask
            return sock
    except FileNotFoundError:
        pass
    except BaseException:
        sock.close()
        raise
    sock.close()
    return None


def _guard(path: Path, access: Access) -> None:
    """Set the mode; the group too where there is one group to give it to, and we may (chown(2))."""
    if len(access.gids) == 1:
        (gid,) = access.gids
        try:
            os.chown(path, -1, gid)
        except PermissionError:
            hint = 'make the proxy\'s user a member of it, or say mode = "0666" in [control]'
            _log.warning("control_group_not_given", path=str(path), gid=gid, hint=hint)
    path.chmod(access.mode)
    if access.uids or access.gids:
        _tell_of_closed(path.parent, access)


def _tell_of_closed(folder: Path, access: Access) -> None:
    """Tell where those who may ask can't get to the socket, which stands in a folder of somebody's."""
    facts = folder.stat()
    is_open = facts.st_mode & 0o001 or (facts.st_mode & 0o010 and facts.st_gid in access.gids)
    if not is_open:
        hint = f"let those whom [control] names pass: chmod 755 {folder}, or chgrp it to them"
        _log.warning(
            "control_folder_closed", path=str(folder), mode=f"{facts.st_mode & 0o7777:04o}", hint=hint
        )


def _clear(path: Path) -> None:
    """Remove the socket file of a process that is gone; refuse to touch anything else."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise ControlError(str(path), "a file that is no socket is in the way", f"move it away: {path}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        answer = probe.connect_ex(str(path))
    # EAGAIN: somebody listens, and its queue is full.
    if answer in {0, errno.EAGAIN}:
        hint = "stop the other proxy, or give this one a runtime folder of its own"
        raise ControlError(str(path), "another process listens there", hint)
    if answer not in {errno.ECONNREFUSED, errno.ENOENT}:
        raise OSError(answer, os.strerror(answer))
    path.unlink(missing_ok=True)


def _remove(path: Path, mine: os.stat_result) -> None:
    """Remove the socket file if it is still the one that was made here."""
    try:
        if os.path.samestat(os.stat(path), mine):  # noqa: PTH116  samestat's own partner
            path.unlink()
    except OSError:
        pass  # it is gone, or not ours any more; the next start clears what is stale


_ELSEWHERE = 'name another folder for it: runtime = "/run/tlsproxy"'


def _hint(error: OSError, path: Path) -> str:
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return f"let the proxy's user write to {path.parent}"
    return _ELSEWHERE
