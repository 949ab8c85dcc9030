"""Contexts that live on through generations, and the table that is served now.

Promises: a bundle that stays keeps its context, and with it its clients' session tickets; a bundle that is
new or comes back gets a fresh one, so that nothing is resumed across bundles; a table that could not be
prepared changes nothing. What is new in a generation is built and proved before it is served; of very much at
once (the start of a large store) only the default row is, and the rest when a name is first asked for. A
bounded number is kept. Refuses to know which generation is right, and where bundles come from.

A pair of bundles, EC and RSA, has a context each: the hello decides (choice.py), and what the EC one can't
serve after all the RSA one does. Rows that share a bundle share its context: they differ in nothing that a
session could carry from one to the other, and a browser may then resume across the names of one certificate
(RFC 8446 section 4.6.1).

Theory. A store of 10,000 certificates would keep a start waiting for a minute if each were built before the
first client is let in. So an entry of a table is a `LazyContext`, which builds itself at its first `accept`,
on the event loop: between a hello and its context no await may stand (tls/handshake.py), and the one or two
milliseconds are paid once a name. Only names that have a row get that far: strangers meet the default row,
which is built ahead. One that can't be built after all (a damaged disk) is told once, served by the default's
context, and not tried again until the next generation. Building happens on the loop and in the thread that
prepares; the cache has a lock of its own.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from certstore import Severity, StoreError, TrustSet
from tlsproxy import policy as limits
from tlsproxy.policy_clients import ClientAuth
from tlsproxy.policy_tls import TLSPolicy
from tlsproxy.tls.asking import Asking, Asks
from tlsproxy.tls.choice import Curve
from tlsproxy.tls.clientrules import Rules
from tlsproxy.tls.engines import Context, ContextError, Engine, EngineName, make_context, resolve
from tlsproxy.tls.gate import prove, prove_shut
from tlsproxy.tls.selector import Table, build_table
from tlsproxy.tls.staples import Staples

if TYPE_CHECKING:
    from certstore import Bundle, Generation
    from tlsproxy.tls.keylog import KeyLog

__all__ = ["Contexts", "LazyContext"]

BundleOf = Callable[[str], "Bundle"]
Lost = Callable[[str, str], None]
TrustOf = Callable[[str], TrustSet]


def _untold(_bundle_id: str, _why: str) -> None:
    """Tell nobody."""


def _no_trust(_id: str) -> TrustSet:
    """Let nobody in."""
    return TrustSet(())


class LazyContext:
    """A `Context` (engines/port.py) that is made at its first use, and may be made again later."""

    __slots__ = ("_asking", "_bundle_of", "_failed", "_home", "_made", "fallback", "wanted")

    def __init__(
        self, home: Contexts, bundle_id: str, bundle_of: BundleOf, asking: Asking | None = None
    ) -> None:
        """Belong to `home`, which keeps what is made; `bundle_of` gives the bundle when it is needed.

        asking: for which certificates clients are asked; then nobody serves in its place.
        """
        self._home, self._bundle_of, self._asking = home, bundle_of, asking
        self._made: Context | None = None
        self._failed = False
        self.wanted = bundle_id
        self.fallback: LazyContext | None = None
        """Who serves in its place where it can't be made."""

    @property
    def bundle_id(self) -> str:
        """The bundle that is served: the one wanted here, or the fallback's where that can't be made."""
        if self._failed and self.fallback is not None:
            return self.fallback.bundle_id
        return self.wanted

    @property
    def curve(self) -> Curve | None:
        """The curve of the key that serves, which is made for it where it isn't yet; None: no EC key."""
        try:
            return self.ready().curve
        except ContextError:
            return None

    @property
    def policy(self) -> TLSPolicy:
        """How it is served."""
        return self._home.policy if self._asking is None else self._home.asking_policy

    @property
    def rule(self) -> ClientAuth | None:
        """By which rule it asks for certificates."""
        return self._asking.rule if self._asking is not None else None

    @property
    def engine_name(self) -> str:
        """Which library it is of."""
        return self._home.engine

    @property
    def is_made(self) -> bool:
        """Whether its first use costs no more than the next."""
        return self._made is not None

    def accept(self) -> Engine:
        """Begin a connection. Raises ContextError where nothing can serve it."""
        return self.ready().accept()

    def ready(self) -> Context:
        """Give the context that serves, made where it isn't yet: its own, else the default row's."""
        made = self._made
        if made is not None:
            return made
        if not self._failed:
            try:
                return self.make()
            except Exception as error:  # noqa: BLE001  the border: a damaged bundle harms its own names only
                self._failed = True
                self._home.lost(self.wanted, str(error) or type(error).__name__)
        if self.fallback is None:
            raise ContextError(self.wanted, self.engine_name, "it can't be made, and nothing replaces it")
        return self.fallback.ready()

    def make(self, bundle: Bundle | None = None) -> Context:
        """Make the context now. Raises ContextError, or what its bundle raises."""
        bundle = bundle or self._bundle_of(self.wanted)
        home, staples = self._home, self._home.staples
        staple = partial(staples.of, self.wanted) if staples is not None else None
        self._made = made = make_context(bundle, self.policy, home.engine, self._asking, staple, home.key_log)
        self._home.keep(self)
        self._home.on_made(made)
        return made

    def prove(self) -> None:
        """Make it, and shake hands with it as clients will. Raises as `make`."""
        bundle = self._bundle_of(self.wanted)
        shut = self._asking is not None and self._asking.is_required
        context = self._made or self.make(bundle)
        for finding in prove_shut(context) if shut else prove(context, bundle):
            if finding.severity is Severity.ERROR:
                raise ContextError(self.wanted, self._home.engine, finding.words)

    def try_again(self) -> None:
        """Forget that it could not be made: the disk may have been mended."""
        self._failed = False

    def drop(self) -> None:
        """Let go of the context; the next use makes another, with ticket keys of its own."""
        self._made = None


class Contexts:
    """The contexts of one worker. `prepare` and `commit`: one thread at a time; `table`: any."""

    def __init__(
        self,
        policy: TLSPolicy,
        engine: EngineName = "auto",
        lost: Lost = _untold,
        rules: Iterable[ClientAuth] = (),
        trust_of: TrustOf = _no_trust,
        staples: Staples | None = None,
    ) -> None:
        """Serve by `policy`; `lost` is told, once a generation, of a bundle that can't be served.

        rules: who has to show a certificate; `trust_of` gives the set with an id, and may raise StoreError.
        staples: what is stapled where the engine can; None where nothing ever is.
        """
        self.policy = policy
        # No tickets: each handshake proves anew that its client is accepted, and nothing is resumed anywhere.
        self.asking_policy = replace(policy, tickets=False)
        self.rules, self.staples = Rules(rules), staples
        self.key_log: KeyLog | None = None
        """Where the secrets of sessions are written; to be set before the first context is made."""
        self._trust_of = trust_of
        self.engine: EngineName = resolve(engine, policy)
        self.lost = lost
        self.table: Table[LazyContext] = Table(0, {}, {}, None)
        """What is served now; replaced whole, by one assignment."""
        self.on_made: Callable[[Context], None] = lambda _context: None
        """Hears of each context that is made, in whichever thread that is."""
        self._kept: OrderedDict[LazyContext, None] = OrderedDict()
        self._keeping = threading.Lock()

    def prepare(self, generation: Generation, bundle_of: BundleOf) -> Table[LazyContext]:
        """Build the table of `generation` off the event loop; shake hands with what is new, within a bound.

        Raises ContextError, or what `bundle_of` raises; nothing has changed then.
        """
        served = {context.wanted: context for context in self.table.entries()}
        entries: dict[str, LazyContext] = {}

        def entry_of(bundle_id: str) -> LazyContext:
            entry = entries.get(bundle_id)
            if entry is None:
                entry = served.get(bundle_id) or LazyContext(self, bundle_id, bundle_of)
                entries[bundle_id] = entry
            return entry

        table = build_table(generation, entry_of, strict=self.policy.strict_names)
        if self.rules.every:
            table.asks = self._asks(generation, bundle_of)
            self._prove_asking(generation, table.asks)
        default = table.default
        beside = table.beside(default) if default is not None else None
        for entry in self._to_prove((default, beside), entries, served):
            entry.prove()
        for entry in entries.values():
            entry.try_again()
        return table

    @staticmethod
    def _name_stand_ins(table: Table[LazyContext]) -> None:
        """Say who serves for what can't be made: the RSA half for the EC one of its pair, or the default."""
        entries = set(table.entries())
        for entry in entries:
            entry.fallback = table.default if table.default is not entry else None
        for entry in entries:
            beside = table.beside(entry)
            if beside is not None and beside is not entry:
                entry.fallback = beside
                if entry is table.default:  # whoever stands in for another stands in for nobody before it
                    beside.fallback = None

    def _to_prove(
        self,
        default: tuple[LazyContext | None, LazyContext | None],
        entries: dict[str, LazyContext],
        served: dict[str, LazyContext],
    ) -> Iterator[LazyContext]:
        """Give what must be built and proved before it is served: the default first, then what is new.

        default: its bundle's, and the one beside that.
        """
        yield from (entry for entry in default if entry is not None and not entry.is_made)
        new = [entry for id_, entry in entries.items() if id_ not in served]
        if len(new) <= limits.CONTEXTS_PROVED:
            yield from (entry for entry in new if entry not in default)

    def _asks(self, generation: Generation, bundle_of: BundleOf) -> Asks[LazyContext]:
        """Have the rules of this generation; what is the same as before keeps its contexts."""
        sets: dict[str, tuple[str, TrustSet]] = {}
        before = self.table.asks
        for one in generation.trust:
            with suppress(StoreError):  # nobody is let in by it, and the supervisor tells
                known = before.known(one.id) if before is not None else None
                sets[one.name] = one.id, known or self._trust_of(one.id).in_force()
        asks = Asks(self.rules, sets, lambda id_, asking: LazyContext(self, id_, bundle_of, asking), before)
        asks.keep_only(generation.bundles())
        for entry in asks.entries():
            entry.try_again()
        return asks

    def _prove_asking(self, generation: Generation, asks: Asks[LazyContext]) -> None:
        """Build and prove what asks and is new, as far as `_to_prove` would."""
        rows = [(id_, row.pattern) for row in generation.rows for id_ in (row.bundle, row.beside)]
        wanted = {(id_, self.rules.choose(pattern, 0)): None for id_, pattern in rows}
        for port in {port for rule in self.rules.every for port in rule.ports or (0,)}:
            wanted |= {(id_, self.rules.choose(pattern, port)): None for id_, pattern in rows}
            for id_ in (generation.default, generation.default_beside):
                wanted[id_, self.rules.choose(None, port)] = None
        named = [(id_, rule) for id_, rule in wanted if id_ is not None and rule is not None]
        new = [(bundle, rule) for bundle, rule in named if not asks.has(bundle, rule)]
        for bundle, rule in new[: limits.CONTEXTS_PROVED]:
            asks.entry(bundle, rule).prove()

    def commit(self, table: Table[LazyContext]) -> None:
        """Serve `table` from the next hello on. Cannot fail."""
        self._name_stand_ins(table)
        self.table = table
        served = {*table.entries(), *(table.asks.entries() if table.asks is not None else ())}
        with self._keeping:  # those of former generations go with their table
            self._kept = OrderedDict((context, None) for context in self._kept if context in served)

    def serve_only(self, bundle: Bundle) -> None:
        """Serve one bundle to everybody, as generation 0. Raises ContextError."""
        entry = LazyContext(self, bundle.id, lambda _id: bundle)
        entry.make()
        self.commit(Table(0, {}, {}, entry))

    def renew_tickets(self) -> Mapping[str, str]:
        """Make every kept context anew: tickets given until now resume nothing any more.

        Off the event loop. One that can't be made now serves on as it is, and the next turn tries again;
        gives those bundles, and why.
        """
        with self._keeping:
            kept = [context for context in self._kept if context.policy.tickets]
        failed = {}
        for context in kept:
            try:
                context.make()
            except Exception as error:  # noqa: BLE001  the border: an old ticket key is better than nobody who serves
                failed[context.wanted] = str(error) or type(error).__name__
        return failed

    def keep(self, context: LazyContext) -> None:
        """Keep one that was just made, let go of those made longest ago; the default row's always stay."""
        default = self.table.default
        stay = {default, self.table.beside(default) if default is not None else None}
        with self._keeping:
            self._kept[context] = None
            self._kept.move_to_end(context)
            while len(self._kept) > limits.CONTEXTS_KEPT:
                oldest = next((one for one in self._kept if one not in stay), None)
                if oldest is None:
                    break
                del self._kept[oldest]
                oldest.drop()
