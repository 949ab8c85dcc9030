"""The terms of upstreams that speak TLS, made from the configuration and the files that it names.

Promises: files are read once, when a process begins to serve a configuration, so a file that changed takes
effect at the next reload, in all workers at once; a file that can't be used makes only its own upstream
unready, and `check` and a reload tell of it before. Refuses to know how TLS is spoken.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from certstore import USUAL_ROOTS
from tlsproxy.config import RouteConfig, UpstreamAddress, UpstreamTLSConfig
from tlsproxy.errors import Mistake
from tlsproxy.namedfiles import read_named
from tlsproxy.policy_upstream import MOST_FILE_BYTES
from tlsproxy.terms import Terms

__all__ = ["mistakes", "terms_of"]


class _UnreadableError(Exception):
    pass


def terms_of(routes: Iterable[RouteConfig]) -> dict[str, Terms]:
    """Give the terms of each upstream that speaks TLS, by its name."""
    return {
        str(route.upstream): _terms(route.upstream, route.tls or UpstreamTLSConfig())
        for route in routes
        if route.upstream.scheme == "https"
    }


def mistakes(terms: Mapping[str, Terms]) -> Iterator[Mistake]:
    """Say which of them nothing can be done with, and why."""
    for name, one in terms.items():
        if one.unready:
            yield Mistake("route.tls", None, f"{name} can't be asked: {one.unready}", _HINT)


_HINT = "let the proxy's user read the files that its table tls names"


def _terms(address: UpstreamAddress, tls: UpstreamTLSConfig) -> Terms:
    name = tls.server_name or address.host.rstrip(".")
    by = "nothing" if tls.unsafe_no_verify else tls.verify
    try:
        terms = Terms(
            name,
            by=by,
            roots=_roots(tls.ca_file) if by == "chain" else "",
            pins=tls.pins,
            certificate=_read(tls.client_certificate) if tls.client_certificate is not None else "",
            key=_read(tls.client_key or tls.client_certificate) if tls.client_certificate is not None else "",
        )
    except _UnreadableError as error:
        return Terms(name, by=by, unready=str(error))
    return _tried(terms)


def _tried(terms: Terms) -> Terms:
    """Say at once what would go wrong with each connection."""
    from tlsproxy.tls.engines.outward import UnusableTerms, context_of

    try:
        context_of(terms)
    except UnusableTerms as error:
        return Terms(terms.server_name, by=terms.by, unready=error.why)
    return terms


def _roots(named: Path | None) -> str:
    if named is not None:
        return _read(named)
    for usual in map(Path, USUAL_ROOTS):
        if usual.exists():
            return _read(usual)
    raise _UnreadableError("this system has no list of trusted authorities: name one as ca_file")


def _read(path: Path | None) -> str:
    assert path is not None
    try:
        content = read_named(path, MOST_FILE_BYTES)
    except OSError as error:
        raise _UnreadableError(f"{path} can't be read: {(error.strerror or str(error)).lower()}") from None
    except ValueError as error:
        raise _UnreadableError(str(error)) from None
    # comments beside the blocks may be in any encoding, and `ssl` takes ASCII only; a PEM block is ASCII
    return content.decode("ascii", "ignore").replace("\0", "")
