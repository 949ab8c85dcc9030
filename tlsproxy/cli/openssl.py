"""OpenSSL's limits for the `system` engine: this process starts anew with a configuration of ours.

Theory. Before Python 3.15 `ssl` can't limit groups and TLS 1.3 suites, and OpenSSL's own defaults hold some
that cost a server fifty times what X25519 costs (ffdhe8192: 123 ms for a handshake), which is an invitation.
OpenSSL reads OPENSSL_CONF once, when it is first loaded; so the file must be named before that, which only a
new process image does. The file lies in memory, and its descriptor goes along. A configuration that the user
named wins: it may hold a provider for keys in hardware; docs/configuration.md says what it should hold
besides.
"""

from __future__ import annotations

import os
import sys

from tlsproxy.tls.engines import EngineName, resolve


def limit_system_engine(engine: EngineName) -> None:
    """Replace this process by itself with our limits, where `engine` means one that needs them; else return.

    Only for a process that is ours alone: whoever calls the command as a function must not call this.
    """
    if "OPENSSL_CONF" in os.environ or resolve(engine) != "system":
        return
    import ssl

    from tlsproxy.tls.engines.system import openssl_conf

    if hasattr(ssl.SSLContext, "set_groups"):  # Python 3.15: the contexts themselves are limited
        return
    file = os.memfd_create("openssl.cnf")
    os.write(file, openssl_conf().encode("ascii"))
    os.set_inheritable(file, True)
    environment = {**os.environ, "OPENSSL_CONF": f"/proc/self/fd/{file}"}
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)  # noqa: S606  ourselves, again
