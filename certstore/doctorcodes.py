"""The catalogue's part about what the doctor finds: at a server, and at the device's own proxy.

An error at a server is what clients refuse; at our own proxy what keeps clients from being served as they
should. Refuses to know how it is found (tlsproxy/doctor).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from certstore.entries import Entry, Severity

__all__ = ["DOCTOR"]

_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE

_TABLE: Final[dict[str, Entry]] = {
    # --- a server ---
    "server_unreachable": Entry(
        _E, "{address} can't be reached: {why}", "check name and port, and what lies between (firewalls)"
    ),
    "server_not_tls": Entry(
        _E,
        "{address} does not speak TLS: it answers {answer!r}",
        "perhaps it is a port for plain HTTP: try the one for https",
    ),
    "server_handshake_failed": Entry(
        _E,
        "no TLS handshake succeeds with {address}: {why}",
        "see the server's own log; it may want another name (--servername)",
    ),
    "server_name_mismatch": Entry(
        _E,
        "the certificate does not cover {name}, which was asked for: it covers {covered}",
        "ask for a name that it covers, or have a certificate issued for this one",
    ),
    "server_address_silent": Entry(
        _W,
        "no handshake succeeds with {address}, which is an address of the server too: {why}",
        "clients take any of its addresses: mend this one, or take it out of the DNS",
    ),
    "server_address_differs": Entry(
        _W,
        "{address}, which is an address of the server too, shows another certificate than {other}",
        "clients take any of its addresses: bring the same certificate to all of them",
    ),
    "server_old_version": Entry(
        _W, "the server does not speak TLS 1.3: {why}", "update it: TLS 1.3 is faster, and hides more"
    ),
    "server_new_version_only": Entry(
        _N,
        "the server does not speak TLS 1.2: {why}",
        "nothing to do, unless clients are older than 2018",
    ),
    "server_asks_certificate": Entry(
        _N,
        "the server asks its clients for a certificate; this look has none, and can't tell who is let in",
        "nothing to do, if that is meant; try it with a client's certificate: curl --cert FILE",
    ),
    "server_wants_certificate": Entry(
        _N,
        "the server lets nobody in without a client's certificate, and this look has none: {why}",
        "nothing to do, if that is meant; try it with a client's certificate: curl --cert FILE",
    ),
    "server_chain_disordered": Entry(
        _W,
        "the server sends its chain in the wrong order: some clients refuse it",
        "send the certificate first, then each authority after the one that it issued for",
    ),
    "server_root_sent": Entry(
        _N, "the server sends the root {subject} along, which clients don't need", "leave it out: it is bytes"
    ),
    "server_stranger_sent": Entry(
        _N, "the server sends {subject} along, which is no part of the chain", "leave it out"
    ),
    # --- the device's own proxy ---
    "config_mistake": Entry(_E, "{place}: {why}", "{remedy}"),
    "config_advice": Entry(_N, "{place}: {why}", "{remedy}"),
    "store_missing": Entry(
        _E, "there is no store at {path}", "the first start of the proxy makes it; check the path otherwise"
    ),
    "store_troubled": Entry(_E, "the certificate store can't be read: {why}", "{remedy}"),
    "store_open": Entry(
        _E,
        "others can look into the certificate store {path} (mode {mode})",
        "close it: chmod 700 {path}",
    ),
    "store_foreign": Entry(
        _E,
        "the certificate store {path} belongs to uid {owner}, and the proxy is to run as {user}",
        "give it back: chown -R {user} {path}",
    ),
    "disk_read_only": Entry(
        _E, "the disk under {path} takes no writes: it is mounted read-only", "see the system's log (dmesg)"
    ),
    "disk_nearly_full": Entry(
        _W, "the disk under {path} is nearly full: {left} left", "make room, or no certificate can be renewed"
    ),
    "proxy_not_running": Entry(
        _E, "no proxy runs on this store", "start it (systemctl start tlsproxy), and look at its log"
    ),
    "proxy_silent": Entry(
        _E,
        "the proxy doesn't answer on its control socket: {why}",
        "look at its log; as another user than its own or root, ask an administrator",
    ),
    "port_silent": Entry(
        _E, "nobody answers on {address}, where the proxy should: {why}", "look at the proxy's log"
    ),
    "port_strange": Entry(
        _E,
        "{address} shows a certificate that this proxy does not serve: {subject}",
        "another program may answer there: ss -ltnp",
    ),
    "upstream_silent": Entry(
        _W,
        "the service behind {path} doesn't answer at {upstream}: {why}",
        "is it running, and does it listen where the configuration says?",
    ),
    "version_waits": Entry(
        _N, "version {installed} is installed, {running} is running", "take it up: tlsproxy reload"
    ),
    "confirmation_waits": Entry(
        _N, "the change {id} goes back by itself unless somebody confirms it", "tlsproxy certs confirm {id}"
    ),
    "last_refused": Entry(
        _N,
        "the last certificate that was handed in was refused: {codes}",
        "see tlsproxy certs history",
    ),
    "no_clock": Entry(
        _W, "the clock can't be right: it says {now}", "set the clock; expiry is not judged until then"
    ),
}

DOCTOR: Final[Mapping[str, Entry]] = MappingProxyType(_TABLE)
