"""A status in words: plain lines for a pipe or a log, and the phrases that tables on a terminal use as well.

Pure. Promises: says nothing that isn't in the status. Refuses to know colours and tables (cli/).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from certstore import State
from certstore.fingerprints import grouped
from tlsproxy.observe.expiry import Step
from tlsproxy.observe.status import ConfinementStatus, Status, WorkerStatus

__all__ = [
    "confinement_lines",
    "receipt_line",
    "remaining",
    "render",
    "waiting_lines",
    "workers_words",
]


def remaining(days: int, step: Step = Step.FINE) -> str:
    """Say how long a certificate still holds, and how pressing that is."""
    if days < 0:
        return "expired"
    pressing = "" if step in {Step.FINE, Step.EXPIRED} else f" ({step})"
    return ("ends today" if days == 0 else f"{days} day{'' if days == 1 else 's'} left") + pressing


def render(status: Status) -> str:
    """Write a status as plain text, for a pipe or a log."""
    lines = list(_head(status))
    for bundle in status.bundles:
        patterns = status.served_to(bundle.id)
        left = remaining(bundle.days_left, bundle.step)
        owner = f"{bundle.source}, self-signed" if bundle.self_signed else bundle.source
        lines += [
            "",
            f"certificate  {grouped(bundle.fingerprint)}",
            f"  key        {grouped(bundle.spki)}",
            f"  served to  {', '.join(patterns)}",
            f"  source     {owner}; {bundle.key_type} key",
            f"  valid      until {bundle.not_after:%Y-%m-%d %H:%M} UTC, {left}",
        ]
    if status.receipts:
        lines += ["", "latest receipts"]
        lines += [f"  {line}" for line in map(receipt_line, status.receipts[:5])]
    return "\n".join(lines) + "\n"


def _head(status: Status) -> Sequence[str]:
    running = status.process
    lines = [
        f"tlsproxy {running.version}, process {running.pid}, since {running.since:%Y-%m-%d %H:%M:%S} UTC"
        if running
        else "tlsproxy is not running; this is what its store says",
        f"state        {status.rung.words}",
    ]
    if not status.clock_plausible:
        lines.append("clock        NOT PLAUSIBLE: expiry is not judged until it is set")
    if status.software is not None:
        lines.append(f"software     {status.software.words}")
    lines += [f"listening    {one.address} ({one.kind})" for one in status.listeners]
    lines += [f"clients      {one.words}" for one in status.asked]
    if status.workers:
        lines.append(f"workers      {workers_words(status.workers)}")
    lines += [f"upstream     {one.words}" for one in status.upstreams]
    if status.generation is not None:
        lines.append(
            f"generation   {status.generation}, {status.generation_at:%Y-%m-%d %H:%M:%S} UTC ({status.cause})"
        )
    lines += [f"{label:12} {words}" for label, words in confinement_lines(status.confinement)]
    lines += [f"waits        {line}" for line in waiting_lines(status)]
    for trouble in status.troubles:
        lines += [f"{trouble.severity:12} {trouble.words}", f"{'':12} hint: {trouble.hint}"]
    return [*lines, f"inbox        {status.place.inbox}", f"store        {status.place.store}"]


def confinement_lines(found: Sequence[ConfinementStatus]) -> Sequence[tuple[str, str]]:
    """Say for each kind of process how it is confined; processes of a kind that are alike share a line."""
    return tuple(dict.fromkeys((one.kind, one.facts.words) for one in found))


def waiting_lines(status: Status) -> list[str]:
    """Tell of changes that go back by themselves unless somebody confirms them."""
    waiting = [one["id"] for one in status.receipts if one.get("state") == State.LIVE]
    return [f"goes back by itself unless confirmed: tlsproxy certs confirm {id_}" for id_ in waiting]


def workers_words(workers: Sequence[WorkerStatus]) -> str:
    """Say how many serve, how many only finish what is open, and how many connections they have."""
    serving = [worker for worker in workers if worker.stage == "accepting"]
    others = len(workers) - len(serving)
    told = f"{len(serving)} serving"
    if others:
        told += f", {others} starting or ending"
    return f"{told}; {sum(worker.connections for worker in workers)} connections"


def receipt_line(receipt: Mapping[str, object]) -> str:
    """Write a receipt (as JSON holds it) in one line."""
    times, findings = receipt.get("times"), receipt.get("findings")
    at = str(min(times.values(), default="") if isinstance(times, Mapping) else "")[:19].replace("T", " ")
    listed = findings if isinstance(findings, (list, tuple)) else ()
    codes = ", ".join(str(one["code"]) for one in listed if one["severity"] == "error")
    told = f"{receipt['id']}  {at}  {receipt['state']}  {receipt['source']} via {receipt['via']}"
    return f"{told}  ({codes})" if codes else told
