"""`tlsproxy certs import --dry-run`: what would become of files, found out without keeping anything of them.

By the running proxy, which also foretells what its clients would make of the certificate; where none runs, on
the store itself: then nobody was counted, and nothing is foretold.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import click

from certstore import Candidate, Finding, Meta, Refusal, Source, Store
from tlsproxy.cli.either import VIA, whichever
from tlsproxy.cli.endings import complain, printable
from tlsproxy.cli.examining import examiner_here
from tlsproxy.cli.places import Whereabouts
from tlsproxy.control.client import Client
from tlsproxy.control.values import findings_to_json
from tlsproxy.errors import ExitCode, NotRunningError, UsageError
from tlsproxy.rehearsal import rehearse

__all__ = ["rehearsed"]


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What would come of it; meta: None where it would be refused. is_running: a proxy has said so."""

    meta: Meta | None
    findings: tuple[Finding, ...]
    is_running: bool = False

    def to_json(self) -> dict[str, object]:
        """Give what programs are shown."""
        meta = self.meta
        facts = None if meta is None else {"names": list(meta.facts.names), "sha256": meta.fingerprint}
        told = {"dry_run": True, "accepted": meta is not None, "running": self.is_running}
        return {**told, "certificate": facts, "findings": findings_to_json(self.findings)}


def rehearsed(
    place: Whereabouts,
    candidate: Candidate,
    unreadable: tuple[Finding, ...],
    *,
    beside: bool,
    as_json: bool,
) -> int:
    """Find it out and tell it; gives the exit code, as an import would end. Raises StoreError, ProxyError."""
    outcome = _Outcome(None, unreadable) if unreadable else _found_out(place, candidate, beside=beside)
    if as_json:
        click.echo(json.dumps(outcome.to_json(), indent=2))
    else:
        _tell(outcome)
    return ExitCode.FAILED if outcome.meta is None else ExitCode.DONE


def _found_out(place: Whereabouts, candidate: Candidate, *, beside: bool) -> _Outcome:
    def ask(client: Client) -> _Outcome:
        try:
            return _Outcome(*client.rehearse(candidate, VIA, beside=beside), is_running=True)
        except Refusal as refusal:
            return _Outcome(None, refusal.findings, is_running=True)

    def act(store: Store) -> _Outcome:
        try:
            found = rehearse(store, examiner_here(place, store), candidate, Source.CUSTOMER, beside=beside)
        except Refusal as refusal:
            return _Outcome(None, refusal.findings)
        return _Outcome(Meta.of(found.bundle), found.findings)

    if place.known is not None and not place.store.exists():
        try:
            with Client(place.control) as client:
                return ask(client)
        except NotRunningError:
            hint = "tlsproxy doctor FILE... looks at the files alone"
            raise UsageError(f"there is no store at {place.store}", hint) from None
    return whichever(place, ask, act, lambda _log, _actor, _outcome: None).value


def _tell(outcome: _Outcome) -> None:
    meta = outcome.meta
    for finding in outcome.findings if meta is None else ():
        if finding.is_error:
            complain(f"would be refused: {finding.words} [{finding.code}]", finding.hint)
    if meta is not None:
        until = f"{meta.facts.not_after:%Y-%m-%d}"
        names = ", ".join(meta.facts.names) or "no names"
        click.echo(printable(f"would be served: {names}, valid until {until}; nothing was changed"))
    if not outcome.is_running:
        click.echo("no proxy runs on this store: what its clients would make of it isn't foretold")
    for finding in outcome.findings:
        if not finding.is_error:
            click.echo(f"{finding.severity}: {finding.words} [{finding.code}]", err=meta is None)
            click.echo(f"    hint: {finding.hint}", err=meta is None)
