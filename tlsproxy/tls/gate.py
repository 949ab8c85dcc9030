"""The gate: real handshakes in memory, before a bundle may be served.

Promises: a bundle passes only if clients with TLS 1.2 and with 1.3 complete a handshake with a fresh context
of the engine that will serve it, are shown its leaf, and exchange bytes; for each kind of name in it, with
our own reading of the hello. Refuses to know dates, names' owners and issuers: certstore's checks judge
those. No socket, no clock.

Theory. A bundle that parses may still not serve: OpenSSL refuses keys that are too small at load, a curve
that no client offers at the handshake, and a key that belongs to another certificate only when it signs.
Everything a client would meet is therefore tried, and what programs can but browsers can't is a warning
rather than a surprise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice, product
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import Encoding

from certstore import Finding, found
from tlsproxy.errors import HandshakeError
from tlsproxy.policy_tls import TLSPolicy
from tlsproxy.tls.clienthello import parse
from tlsproxy.tls.engines import Context, ContextError, Engine, EngineName, TLSBroken, make_context
from tlsproxy.tls.engines.probe import Probe, Version, browser_probe, hybrid_probe, program_probe

if TYPE_CHECKING:
    from certstore import Bundle

__all__ = ["GateFailure", "HandshakeGate", "prove", "prove_shut", "shake_hands"]

_MOST_FLIGHTS = 8  # a TLS 1.2 handshake takes four, a retried TLS 1.3 one five; the rest is slack
_Maker = Callable[[Version, str | None, tuple[bytes, ...]], Probe]


class GateFailure(Exception):  # noqa: N818  never leaves this room and its neighbour: why one trial failed
    """One trial failed; str() says why."""


class HandshakeGate:
    """certstore's Gate, for one TLS policy and engine."""

    def __init__(self, policy: TLSPolicy, engine: EngineName = "auto") -> None:
        self._policy = policy
        self._engine: EngineName = engine

    def try_out(self, bundle: Bundle) -> tuple[Finding, ...]:
        """Try `bundle` with a fresh context; an error refuses it. Some ms of CPU: not for an event loop."""
        try:
            context = make_context(bundle, self._policy, self._engine)
            return prove(context, bundle) or _doubts(context, bundle)
        except ContextError as error:
            return (found("gate_failed", why=error.reason),)
        except Exception as error:  # noqa: BLE001  the border: a stranger's certificate must not stop the proxy
            return (found("gate_failed", why=f"{type(error).__name__}: {error}"),)


def prove(context: Context, bundle: Bundle) -> tuple[Finding, ...]:
    """Shake hands with `context` as programs do; no findings where it serves, else the error that refuses it.

    All that a worker asks: what browsers can't use is a warning, and was told when the bundle came.
    """
    program = hybrid_probe if context.policy.needs_hybrid else program_probe
    failed = _first_failure(context, bundle, program, _samples(bundle.names))
    return () if failed is None else (found("gate_failed", why=failed),)


def prove_shut(context: Context) -> tuple[Finding, ...]:
    """Shake hands with a context that must refuse who shows no certificate, and see that it does.

    That its bundle serves is proved by the context that doesn't ask.
    """
    program = hybrid_probe if context.policy.needs_hybrid else program_probe
    versions = [Version.TLS13] if context.policy.is_tls13_only else list(Version)
    for version in versions:
        client, server = program(version, None, context.policy.alpn), context.accept()
        try:
            client.handshake()
            server.feed(client.take())
            shake_hands(client, server)
        except HandshakeError as error:
            if error.reason == "client_certificate_missing":
                continue
            return (found("gate_failed", why=f"{version}: {error.reason}"),)
        except (GateFailure, TLSBroken) as error:
            return (found("gate_failed", why=f"{version}: {error}"),)
        return (found("gate_failed", why=f"{version}: a client without a certificate was let in"),)
    return ()


def _doubts(context: Context, bundle: Bundle) -> tuple[Finding, ...]:
    """Shake hands as browsers do, who offer less; a failure is a warning."""
    failed = _first_failure(context, bundle, browser_probe, islice(_samples(bundle.names), 1))
    return () if failed is None else (found("gate_browser_failed", why=failed),)


def _first_failure(
    context: Context, bundle: Bundle, maker: _Maker, names: Iterable[str | None]
) -> str | None:
    leaf = bundle.leaf.public_bytes(Encoding.DER)
    versions = [Version.TLS13] if context.policy.is_tls13_only else list(Version)
    for version, name in product(versions, names):
        try:
            _try(context, maker(version, name, context.policy.alpn), name, leaf)
        except (GateFailure, HandshakeError, TLSBroken) as error:
            reason = getattr(error, "reason", str(error))
            return f"{version}, {name or 'no server name'}: {reason}"
    return None


def _samples(names: tuple[str, ...]) -> Iterator[str | None]:
    """Give what clients may ask for: an exact name, one that a wildcard covers, and none at all."""
    hosts = [name for name in names if ":" not in name and not name.rpartition(".")[2].isdigit()]
    exact = next((name for name in hosts if not name.startswith("*.")), None)
    wildcard = next((name for name in hosts if name.startswith("*.")), None)
    if exact is not None:
        yield exact
    if wildcard is not None:
        yield "gate" + wildcard[1:]
    yield None


def _try(context: Context, client: Probe, name: str | None, leaf: bytes) -> None:
    """Make one handshake and send a byte each way."""
    server = context.accept()
    client.handshake()
    first = client.take()
    hello = parse(first)
    if hello is None or hello.server_name != name:
        raise GateFailure("no client can ask for this name")
    server.feed(first)
    shake_hands(client, server)
    if client.peer_der() != leaf:
        raise GateFailure("another certificate was shown")
    for sender, receiver in ((client, server), (server, client)):
        sender.write(b"?")
        receiver.feed(sender.take())
        if receiver.read(1) != b"?":
            raise GateFailure("no data came through")


def shake_hands(client: Engine, server: Engine) -> None:
    """Carry flights to and fro until both are done, first from the server."""
    for _ in range(_MOST_FLIGHTS):
        served = server.handshake()
        client.feed(server.take())
        shaken = client.handshake()
        if served and shaken:
            return
        server.feed(client.take())
    raise GateFailure("the handshake came to no end")
