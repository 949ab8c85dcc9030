"""How each peer is set up for many names: what its configuration has beside the plain one.

The names' files lie in one folder (names.py), a chain and its key in each. nginx takes the file by a
variable, the usual way for many names: it is read at each handshake (Debian's), or kept in a cache (since
1.27.4: the wheel's). The others read all of them at their start.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from benchmarks.names import file_of, make_files, name_of, store_of_files
from benchmarks.peers.rotation import Rotating
from benchmarks.peers.table import Peer

# Beside the servers' folders, so made once for all.
FOLDER = "@folder/../names"
READY_S = 60.0
Edits = tuple[tuple[str, str, str], ...]


def _pem(number: int) -> str:
    return f"{FOLDER}/{name_of(number)}.pem"


def _nginx(cache: str) -> Edits:
    ours = f"~[.]many[.]test$ {FOLDER}/$ssl_server_name.pem"
    held = f"    map $ssl_server_name $held {{ default @both; {ours}; }}\n"
    return (
        ("nginx.conf", "    server {\n        listen", f"{held}    server {{\n{cache}        listen"),
        ("nginx.conf", "ssl_certificate @cert;", "ssl_certificate $held;"),
        ("nginx.conf", "ssl_certificate_key @key;", "ssl_certificate_key $held;"),
    )


def _haproxy() -> Edits:
    return (("haproxy.cfg", "crt @both", f"crt @both crt {FOLDER}"),)


def _hitch() -> Edits:
    return (("hitch.conf", 'pem-file = "@both"', f'pem-file = "@both"\npem-dir = "{FOLDER}"'),)


def _caddy() -> Edits:
    return (("Caddyfile", "tls @cert @key {", f"tls {{\n\t\tload {FOLDER} @folder/own"),)


def _traefik(count: int) -> Edits:
    certificates = "".join(
        f'  - {{certFile: "{_pem(number)}", keyFile: "{_pem(number)}"}}\n' for number in range(count)
    )
    return (("traefik-dynamic.yml", "tls:\n  options:", f"tls:\n  certificates:\n{certificates}  options:"),)


def _envoy(count: int) -> Edits:
    margin, one = " " * 12, "- {{certificate_chain: {{filename: {0}}}, private_key: {{filename: {1}}}}}\n"
    certificates = "".join(
        margin + one.format(f'"{chain}"', f'"{key}"')
        for chain, key in (("@cert", "@key"), *((_pem(number), _pem(number)) for number in range(count)))
    )
    watched = (
        f"{margin}tls_certificate_sds_secret_configs:\n{margin}- name: device\n{margin}  sds_config:\n"
        f'{margin}    path_config_source: {{path: "@folder/envoy-certificate.yaml"}}\n'
    )
    return (("envoy.yaml", watched, f"{margin}tls_certificates:\n{certificates}"),)


def _stunnel(count: int) -> Edits:
    sections = "".join(
        f"[n{number}]\nsni = device:{name_of(number)}\nconnect = 127.0.0.1:@upstream\n"
        f"cert = {_pem(number)}\nkey = {_pem(number)}\n"
        for number in range(count)
    )
    return (("stunnel.conf", "TIMEOUTclose = 0\n", f"TIMEOUTclose = 0\n{sections}"),)


def _edits(peer: Peer, count: int) -> Edits:
    ways: dict[str, Callable[[], Edits]] = {
        "nginx": partial(_nginx, ""),
        "nginx (wheel)": partial(_nginx, f"        ssl_certificate_cache max={2 * count} inactive=1h;\n"),
        "HAProxy": _haproxy,
        "hitch": _hitch,
        "Caddy": _caddy,
        "Traefik": partial(_traefik, count),
        "Envoy": partial(_envoy, count),
        "stunnel": partial(_stunnel, count),
    }
    return ways[peer.name]() if peer.name in ways else ()


def _prepare(count: int, ours: bool, server: Rotating) -> None:  # noqa: FBT001  bound by `partial`
    folder, own = server.folder.parent / "names", server.folder / "own"
    make_files(folder, count)
    own.mkdir()
    device = file_of(own, "device.test")
    device.touch(0o600)
    device.write_bytes(server.fixed.both.read_bytes())
    if ours:
        store_of_files(server.folder / "store", folder, count, device)


def with_names(peer: Peer, count: int) -> Peer:
    """Set a peer up for the first `count` names."""
    ours = "tlsproxy.toml" in peer.templates
    prepare = partial(_prepare, count, ours)
    return replace(peer, edits=(*peer.edits, *_edits(peer, count)), prepare=prepare, ready_s=READY_S)
