"""Contexts that live on through generations, and the table that is served now.

Promises: a bundle that stays keeps its context, and with it its clients' session tickets; a bundle that is
new or comes back gets a fresh one, so that nothing is resumed across bundles; a table that could not be
prepared changes nothing. Refuses to know which generation is right, and where bundles come from.

Rows that share a bundle share its context: they differ in nothing that a session could carry from one to the
other, and a browser may then resume across the names of one certificate (RFC 8446 section 4.6.1).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from certstore import Severity
from tlsproxy.policy import TLSPolicy
from tlsproxy.tls.engines import Context, ContextError, EngineName, make_context, resolve
from tlsproxy.tls.gate import HandshakeGate, prove
from tlsproxy.tls.selector import Table, build_table

if TYPE_CHECKING:
    from certstore import Bundle, Finding, Generation


class Contexts:
    """The contexts of one worker. `prepare` and `commit`: one thread at a time; `table`: any."""

    def __init__(self, policy: TLSPolicy, engine: EngineName = "auto") -> None:
        self.policy = policy
        self.engine: EngineName = resolve(engine)
        self.table: Table[Context] = Table(0, {}, {}, None)
        """What is served now; replaced whole, by one assignment."""

    def prepare(self, generation: Generation, bundle_of: Callable[[str], Bundle]) -> Table[Context]:
        """Build the table of `generation` off the event loop, and shake hands once with each new context.

        Raises ContextError, or what `bundle_of` raises; nothing has changed then.
        """
        ready = {context.bundle_id: context for context in self.table.entries()}

        def context_of(bundle_id: str) -> Context:
            if bundle_id not in ready:
                ready[bundle_id] = self._make(bundle_of(bundle_id))
            return ready[bundle_id]

        return build_table(generation, context_of)

    def commit(self, table: Table[Context]) -> None:
        """Serve `table` from the next hello on. Cannot fail."""
        self.table = table

    def try_out(self, bundle: Bundle) -> tuple[Finding, ...]:
        """Say what keeps `bundle` from being served, whatever that is; nothing where all is well."""
        findings = HandshakeGate(self.policy, self.engine).try_out(bundle)
        return tuple(finding for finding in findings if finding.is_error)

    def _make(self, bundle: Bundle) -> Context:
        context = make_context(bundle, self.policy, self.engine)
        for finding in prove(context, bundle):
            if finding.severity is Severity.ERROR:
                raise ContextError(bundle.id, self.engine, finding.words)
        return context
