"""Starting a child of ours: a fresh interpreter, with exactly the descriptors that it is given.

Promises: the child speaks TLS as `engine` and `policy` want it; it inherits no descriptor that isn't named,
nothing from the folder it is started in, no wish for a key log, and no signal that a terminal sends to us.
Refuses to know what the child does: each has a protocol of its own on the descriptors that it gets.

Theory. Before Python 3.15 `ssl` can't limit groups and TLS 1.3 suites, and OpenSSL's own defaults hold some
that cost a server fifty times what X25519 costs (ffdhe8192: 123 ms for a handshake), which is an invitation.
OpenSSL reads OPENSSL_CONF once, when it is first loaded; so the file must be named before that, which only a
new process image does. The file lies in memory, and its descriptor goes along. A configuration that the user
named wins: it may hold a provider for keys in hardware. One by which we were started ourselves
(cli/openssl.py) lies behind a descriptor that the child does not have, so it is made anew.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from tlsproxy.policy_tls import TLSPolicy
from tlsproxy.tls.engines import EngineName, resolve

if TYPE_CHECKING:
    import subprocess

__all__ = ["descriptors", "limits_in_memory", "spawn"]

_CONF: Final = "OPENSSL_CONF"
_OURS: Final = "/proc/self/fd/"
# Where Python's ssl (create_default_context) and some builds of OpenSSL write the secrets of each session.
_KEY_LOG: Final = "SSLKEYLOGFILE"

# glibc gives threads arenas of their own, eight for each core (mallopt(3)); each reserves 64 MiB of addresses
# and keeps what was freed in it. In our children the main thread does the work, and few others stand by.
_ARENAS: Final = {"MALLOC_ARENA_MAX": "2"}


def spawn(
    module: str,
    *,
    fds: Mapping[str, int],
    engine: EngineName,
    policy: TLSPolicy,
    arguments: Sequence[str] = (),
    unnamed: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start `python -m module` with `arguments`, then each of `fds` as NAME=NUMBER (see `descriptors`).

    It also inherits the descriptors `unnamed`, of which it hears by other ways. The caller's descriptors stay
    the caller's to close. It is the leader of a session of its own, so that its group can be killed whole;
    stdout and stderr are ours. Whoever starts it waits for it. Raises OSError.
    """
    import subprocess  # who only reads `descriptors` back starts nothing

    conf = limits_in_memory(engine, policy)
    try:
        environment = {**_ARENAS, **os.environ}
        environment.pop(_KEY_LOG, None)
        if conf is not None:
            environment[_CONF] = f"{_OURS}{conf}"
        elif _is_ours(environment.get(_CONF)):
            del environment[_CONF]
        named = (f"{name}={fd}" for name, fd in fds.items())
        # -P: the folder that we were started in may be anybody's, and must not hold our modules
        return subprocess.Popen(  # noqa: S603  ourselves
            [sys.executable, "-P", "-m", module, *arguments, *named],
            pass_fds=(*fds.values(), *unnamed, *(() if conf is None else (conf,))),
            stdin=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
    finally:
        if conf is not None:
            os.close(conf)


def descriptors(arguments: Sequence[str]) -> dict[str, int]:
    """Read back in the child what `spawn` was given as `fds`; options and other arguments are passed by."""
    pairs = (argument.partition("=") for argument in arguments)
    return {name: int(number) for name, _, number in pairs if name[:1] != "-" and number.isdecimal()}


def limits_in_memory(engine: EngineName, policy: TLSPolicy) -> int | None:
    """Write a policy's groups and suites into a file in memory, for a process that is to be started.

    Gives its descriptor, which the caller closes; None where nothing is needed: for `bundled`, which is told
    for each context, from Python 3.15 on likewise, and where the user has a configuration.
    """
    named = os.environ.get(_CONF)
    if (named is not None and not _is_ours(named)) or resolve(engine, policy) != "system":
        return None
    import ssl

    from tlsproxy.tls.engines.system import openssl_conf

    if hasattr(ssl.SSLContext, "set_groups"):  # Python 3.15: the contexts themselves are limited
        return None
    file = os.memfd_create("openssl.cnf")
    try:
        os.write(file, openssl_conf(policy).encode("ascii"))
    except BaseException:
        os.close(file)
        raise
    return file


def _is_ours(conf: str | None) -> bool:
    return conf is not None and conf.startswith(_OURS)
