"""What a worker answers to ACME authorities: http-01 by a text, tls-alpn-01 by a handshake (RFC 8737).

Promises: an answer is given for exactly the token, or the server name, that waits for it, and no longer than
it holds; a certificate for a handshake is made here, with a key of its own, when it is first asked for.
Refuses to know who asks, and the listeners.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TypeAlias

import trio

from certstore import ACME_TLS, alpn_proof, asked_as
from tlsproxy import policy_acme as policy
from tlsproxy.policy_tls import TLSPolicy
from tlsproxy.tls.engines import Context, EngineName, make_context
from tlsproxy.workers.proofs import Answers

__all__ = ["Challenges"]

_Held: TypeAlias = tuple[str, str, float]  # the name, the value, and until when it holds (trio time)

# Whatever this device's profile is, an authority that looks speaks what everybody speaks.
_POLICY = TLSPolicy(alpn=(ACME_TLS,), tickets=False)


class Challenges:
    """The answers of one worker. On the event loop."""

    def __init__(self, engine: EngineName) -> None:
        """Take the TLS library by which proofs are served."""
        self._engine: EngineName = engine
        self._at = 0.0
        self._texts: dict[bytes, _Held] = {}
        self._names: dict[str, _Held] = {}
        self._made: dict[str, tuple[str, Context]] = {}

    def take(self, message: Answers) -> None:
        """Answer exactly this from now on."""
        since, self._at = trio.current_time(), message.at
        self._texts, self._names = {}, {}
        for one in message.answers[: policy.ANSWERS]:
            held = one.name, one.value, since + min(one.holds_s, policy.ANSWER_MOST_S)
            if one.kind == "http-01":
                self._texts[one.name.encode()] = held
            else:
                self._names[asked_as(one.name)] = held
        self._made = {name: made for name, made in self._made.items() if made[0] == self._value(name)}

    def text(self, token: bytes) -> bytes | None:
        """Give the key authorization of a token; None for one that nobody waits for."""
        held = self._texts.get(token)
        return held[1].encode() if held is not None and trio.current_time() < held[2] else None

    def context(self, server_name: str) -> Context | None:
        """Give what proves a name in a handshake; None for one that nobody waits for. Raises ContextError."""
        held = self._names.get(server_name)
        if held is None or trio.current_time() >= held[2]:
            return None
        name, value, _ = held
        made = self._made.get(server_name)
        if made is None:
            bundle = alpn_proof(name, bytes.fromhex(value), datetime.fromtimestamp(self._at, UTC))
            made = self._made[server_name] = value, make_context(bundle, _POLICY, self._engine)
        return made[1]

    def _value(self, server_name: str) -> str | None:
        held = self._names.get(server_name)
        return held[1] if held is not None else None
