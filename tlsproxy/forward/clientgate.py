"""What one connection may ask for, by the certificate that its client has shown.

Promises: a request whose Host belongs to a rule by which this connection wasn't asked is answered 421 (RFC
9110 section 15.5.20), so that its client opens another connection, which is asked; a client that no pattern
of the rule lets in is answered 403, and so is one whose certificate would fill the upstream's room. Refuses
to know TLS: what was verified is handed in.

Theory. A client chooses Host freely, whatever name it gave in its hello. Were the rule of the hello all that
counts, whoever may connect to one name could reach every other through it. A connection that was asked may
still ask for names without a rule: it has proved more than they want. Who names no host (HTTP/1.0) is judged
by the one that the upstream is told. A Host that is no name could be any name to the service behind, which
may read it more kindly than we do: where names have rules, it is for nobody.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from certstore import normalise
from tlsproxy.errors import ClientProtocolError
from tlsproxy.policy_clients import MOST_TOLD_BYTES, ClientAuth
from tlsproxy.tls.clientidentity import ClientIdentity, identify
from tlsproxy.tls.clientrules import Rules, Test, is_let_in, parse_pattern

if TYPE_CHECKING:
    from tlsproxy.tls.stream import TLSStream

__all__ = ["ClientGate", "ClientGates"]


class ClientGate:
    """For one connection. rule: by which it was asked; identity: who was verified; each None for none."""

    __slots__ = ("_checked", "_port", "_rules", "fields", "identity", "result", "rule")

    def __init__(
        self,
        rules: Rules,
        rule: ClientAuth | None,
        port: int,
        identity: ClientIdentity | None = None,
        result: str = "",
    ) -> None:
        """Take the rules, and what came of the handshake; `result` is a code where it lets nobody in."""
        self._rules, self._port = rules, port
        self._checked: bytes | None = None
        self.rule, self.identity, self.result = rule, identity, result
        known = identity is not None and rule is not None and not result
        self.fields = identity.fields(forward=rule.forward, facts=rule.facts) if known else b""  # type: ignore[union-attr]
        """What the upstream is told of the client, each field with its CRLF."""

    def check(self, host: bytes) -> None:
        """See whether a request for `host`, as the upstream will hear it, may be made here.

        Raises ClientProtocolError, 421 or 403.
        """
        if host == self._checked:
            return
        name = _name_of(host)
        wanted = self._rules.choose(name, self._port)
        if (wanted is not None and wanted is not self.rule) or (name is None and self._rules.name_some):
            words = "this address asks for a client certificate, on a connection of its own"
            raise ClientProtocolError(421, "other_client_rule", words)
        if self.result:
            raise ClientProtocolError(403, self.result, "this client certificate isn't let in here")
        self._checked = host


class ClientGates:
    """Makes the gates of a worker's connections, by the rules of its configuration."""

    def __init__(self, rules: Iterable[ClientAuth]) -> None:
        """Take the rules; their patterns are read here, once. Raises ValueError for one that can't be."""
        self.rules = Rules(rules)
        self._tests: dict[ClientAuth, tuple[Test, ...]] = {
            rule: tuple(map(parse_pattern, rule.allow)) for rule in self.rules.every
        }

    def gate(self, stream: TLSStream, port: int) -> ClientGate:
        """Make the gate of a connection whose handshake is done."""
        rule = stream.rule
        if rule is None or not stream.client_chain:
            return ClientGate(self.rules, rule, port)
        try:
            identity = identify(stream.client_chain)
        except ValueError:
            return ClientGate(self.rules, rule, port, None, "client_certificate_unreadable")
        if identity.between > rule.depth:
            return ClientGate(self.rules, rule, port, identity, "client_certificate_too_deep")
        if not is_let_in(self._tests[rule], identity.shown):
            return ClientGate(self.rules, rule, port, identity, "client_certificate_not_allowed")
        gate = ClientGate(self.rules, rule, port, identity)
        if len(gate.fields) > MOST_TOLD_BYTES:
            return ClientGate(self.rules, rule, port, identity, "client_certificate_too_large")
        return gate


def _name_of(host: bytes) -> str | None:
    """Read the name or address of a Host that was let in; None for what is neither, which has no row."""
    text = host.decode("ascii", "replace")
    text = text[1 : text.find("]")] if text.startswith("[") else text.partition(":")[0]
    try:
        return normalise(text)
    except ValueError:
        return None
