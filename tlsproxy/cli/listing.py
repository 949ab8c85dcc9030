"""`tlsproxy certs list`, `show`, `history`, `export`: what the store holds, and how it came there.

All of it is public: no private key leaves by any of these (`tlsproxy backup` takes keys along, encrypted).
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tlsproxy.cli.columns import show_columns
from tlsproxy.cli.endings import printable
from tlsproxy.cli.examples import examples
from tlsproxy.cli.places import find_proxy, place_options
from tlsproxy.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.x509 import Certificate

    from certstore import Generation, Meta, Receipt, Slot
    from tlsproxy.cli.views import View

__all__ = ["export", "history", "list_", "show"]

_JSON = click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
_SOURCE = click.option(
    "--source",
    type=click.Choice(["customer", "acme", "factory", "generated"]),
    help="Only certificates of this source.",
)
# A history is read by people; programs ask the API, or say how much they want.
_HISTORY = 20


@click.command(
    "list",
    short_help="List the certificates that are here.",
    epilog=examples("tlsproxy certs list", "tlsproxy certs list --store ./store --json"),
)
@place_options
@_JSON
def list_(store: Path | None, config: Path | None, as_json: bool) -> None:  # noqa: FBT001
    """List the certificates that are here: whose, for which names, until when, whether they are served."""
    from tlsproxy.cli.views import view_of

    with view_of(find_proxy(store, config)) as view:
        slots, metas, active = view.slots(), view.metas(), view.active()
        banned = {ban.spki for ban in view.bans()}
    entries = [_entry(slot, metas, active, banned) for slot in slots]
    if as_json:
        click.echo(json.dumps({"certificates": entries}, indent=2))
    else:
        show_columns(
            ("id", "source", "names", "until", "state", "SHA-256"),
            [
                (
                    str(one["id"])[:8],
                    str(one["source"]),
                    ", ".join(slot.names),
                    str(one["not_after"] or "?")[:10],
                    str(one["state"]) if "beside" not in entry else f"{one['state']}, {one['key_type']}",
                    _short(str(one["fingerprint"] or "")),
                )
                for entry, slot in zip(entries, slots, strict=True)
                for one in _halves(entry)
            ],
            below=("names",),
        )


@click.command(
    short_help="Show one certificate, and who issued it.",
    epilog=examples("tlsproxy certs show", "tlsproxy certs show device.example.com --json"),
)
@click.argument("which", metavar="[NAME|FINGERPRINT|ID]", required=False)
@place_options
@_SOURCE
@_JSON
def show(
    which: str | None,
    store: Path | None,
    config: Path | None,
    source: str | None,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Show one certificate: what a person compares with the browser, its chain, its place in the store.

    It is meant by a name that it has, or by the beginning (8 digits or more) of its fingerprint or id;
    without any, it is the only one that isn't the device's own.
    """
    from tlsproxy.cli.views import view_of

    with view_of(find_proxy(store, config)) as view:
        slot = _choose(view, which, source)
        metas, active = view.metas(), view.active()
        banned = {ban.spki for ban in view.bans()}
        chains = [view.certificates(id_) for id_ in slot.bundles]
    entry = _entry(slot, metas, active, banned)
    beside = entry.get("beside")
    for half, chain in zip((entry, beside), chains, strict=False):
        if isinstance(half, dict):
            half["chain"] = [_link(one) for one in chain]
    if as_json:
        click.echo(json.dumps(entry, indent=2))
        return
    for line in (
        f"names        {', '.join(slot.names) or 'none'}",
        f"source       {slot.source} via {slot.via}, {slot.stored_at:%Y-%m-%d %H:%M:%S} UTC",
        *_told(slot, entry, chains[0]),
    ):
        click.echo(printable(line))
    for half, chain in zip(_halves(entry)[1:], chains[1:], strict=True):
        click.echo("")
        click.echo("beside it, for clients that can't use the first:")
        for line in _told(slot, half, chain):
            click.echo(printable(line))


@click.command(
    short_help="Tell what was changed, when, and by which way.",
    epilog=examples("tlsproxy certs history", "tlsproxy certs history --limit 100 --json"),
)
@click.option(
    "--limit", type=click.IntRange(1, 100), default=_HISTORY, show_default=True, help="At most so many."
)
@place_options
@_JSON
def history(limit: int, store: Path | None, config: Path | None, as_json: bool) -> None:  # noqa: FBT001
    """Tell what was changed, the newest first: every receipt, and every generation that came by itself.

    `tlsproxy certs rollback --to GENERATION` goes back to one of them.
    """
    from tlsproxy.cli.views import view_of

    with view_of(find_proxy(store, config)) as view:
        receipts, generations = view.receipts(limit), view.summaries(limit)
    if as_json:
        document = {
            "receipts": [receipt.to_json() for receipt in receipts],
            "generations": [generation.to_json() for generation in generations],
        }
        click.echo(json.dumps(document, indent=2))
        return
    kept = {generation.number for generation in generations}
    told = [(receipt.received_at, _receipt_row(receipt, kept)) for receipt in receipts]
    known = {receipt.id for receipt in receipts}
    told += [
        (one.made_at, (f"{one.made_at:%Y-%m-%d %H:%M:%S}", str(one.number), one.cause, "", "", "", ""))
        for one in generations
        if one.receipt is None
        or (one.receipt not in known and len(receipts) < limit)
        or (one.receipt in known and not any(r.generation == one.number for r in receipts))
    ]
    told.sort(key=lambda one: one[0] or datetime.min.replace(tzinfo=UTC), reverse=True)
    heads = ("when (UTC)", "generation", "what", "state", "who", "codes", "receipt")
    show_columns(heads, [row for _, row in told[:limit]], below=("who", "codes"))


@click.command(
    short_help="Write out a certificate with its chain, without its key.",
    epilog=examples(
        "tlsproxy certs export > device.pem",
        "tlsproxy certs export device.example.com --output device.pem",
    ),
)
@click.argument("which", metavar="[NAME|FINGERPRINT|ID]", required=False)
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False, writable=True),
    help="The file to write [default: stdout].",
)
@place_options
@_SOURCE
@_JSON
def export(
    which: str | None,
    output: Path | None,
    store: Path | None,
    config: Path | None,
    source: str | None,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Write out a certificate with its chain, in PEM, the device's own first; never its private key.

    For whoever is to trust it, or to look at it. Keys leave only by `tlsproxy backup`, encrypted.
    """
    from cryptography.hazmat.primitives.serialization import Encoding

    from tlsproxy.cli.choosing import bundle_meant
    from tlsproxy.cli.views import view_of

    with view_of(find_proxy(store, config)) as view:
        slot = _choose(view, which, source)
        bundle = bundle_meant(slot, view.metas(), which)
        certificates = view.certificates(bundle)
    pem = b"".join(one.public_bytes(Encoding.PEM) for one in certificates).decode("ascii")
    if output is not None:
        output.write_text(pem, "ascii")
    if as_json:
        document = {"bundle": bundle, "names": list(slot.names), "output": output and str(output)}
        click.echo(json.dumps(document if output is not None else {**document, "pem": pem}, indent=2))
    elif output is None:
        click.echo(pem, nl=False)
    else:
        click.echo(f"written: {output}, {len(certificates)} certificate{'s' * (len(certificates) > 1)}")


def _told(slot: Slot, one: dict[str, object], chain: list[Certificate]) -> list[str]:
    """Write what is told of one certificate, line by line."""
    from certstore.fingerprints import grouped

    return [
        f"state        {one['state']}",
        f"valid        {_minute(one['not_before'])} to {_minute(one['not_after'])} UTC",
        f"SHA-256      {grouped(str(one['fingerprint']))}",
        f"key          {grouped(str(one['spki_sha256']))} (SPKI SHA-256), {one['key_type']}",
        f"id           slot {slot.id}, bundle {one['bundle']}",
        *(f"chain        {link.subject.rfc4514_string()}" for link in chain),
        f"issued by    {chain[-1].issuer.rfc4514_string()}",
    ]


def _minute(moment: object) -> str:
    return str(moment)[:16].replace("T", " ")


def _choose(view: View, which: str | None, source: str | None) -> Slot:
    from tlsproxy.cli.choosing import choose_slot

    slot = choose_slot(view.slots(), view.metas(), which, source)
    if slot is None:
        raise UsageError(f"there is no certificate {which}", "see which there are: tlsproxy certs list")
    return slot


def _halves(entry: dict[str, object]) -> list[dict[str, object]]:
    """Give the certificates of an entry: it, and the one that stands beside it."""
    beside = entry.get("beside")
    return [entry, {**entry, **beside}] if isinstance(beside, dict) else [entry]


def _entry(
    slot: Slot, metas: Mapping[str, Meta], active: Generation | None, banned: set[str]
) -> dict[str, object]:
    """Give what is told of a slot's certificate, and of the one beside it; what can't be read is null."""
    entry: dict[str, object] = {
        "id": slot.id,
        "source": str(slot.source),
        "names": list(slot.names),
        "confirmed": slot.is_confirmed,
        "sealed": slot.sealed,
        "via": slot.via,
        "receipt": slot.receipt,
        "stored_at": slot.stored_at.isoformat(),
        **_certificate(slot, slot.bundle, metas, active, banned),
    }
    if slot.beside is not None:
        entry["beside"] = _certificate(slot, slot.beside, metas, active, banned)
    return entry


def _certificate(
    slot: Slot, bundle: str, metas: Mapping[str, Meta], active: Generation | None, banned: set[str]
) -> dict[str, object]:
    meta = metas.get(bundle)
    rows, default = (active.rows, (active.default, active.default_beside)) if active else ((), ())
    served = sorted(row.pattern for row in rows if bundle in {row.bundle, row.beside})
    is_default = bundle in default
    facts = meta.facts if meta is not None else None
    return {
        "state": _state(
            slot,
            meta,
            served=bool(served or is_default),
            is_banned=meta is not None and meta.spki in banned,
        ),
        "served_to": served,
        "default": is_default,
        "bundle": bundle,
        "fingerprint": meta and meta.fingerprint,
        "spki_sha256": meta and meta.spki,
        "key_type": meta and meta.key_type,
        "not_before": facts and facts.not_before.isoformat(),
        "not_after": facts and facts.not_after.isoformat(),
        "self_signed": facts and facts.self_signed,
    }


def _state(slot: Slot, meta: Meta | None, *, served: bool, is_banned: bool) -> str:
    if meta is None:
        return "damaged"
    if is_banned:
        return "banned key"
    if not slot.is_confirmed:
        return "waits for confirmation"
    if meta.facts.not_after < datetime.now(UTC):
        state = "served, expired" if served else "expired"
    else:
        state = "served" if served else "in reserve"
    return f"{state}, sealed" if slot.sealed else state


def _link(certificate: Certificate) -> dict[str, object]:
    from cryptography.hazmat.primitives.hashes import SHA256

    return {
        "subject": certificate.subject.rfc4514_string(),
        "issuer": certificate.issuer.rfc4514_string(),
        "not_after": certificate.not_valid_after_utc.isoformat(),
        "fingerprint": certificate.fingerprint(SHA256()).hex(),
    }


def _receipt_row(receipt: Receipt, kept: set[int]) -> tuple[str, ...]:
    number = receipt.generation
    return (
        f"{receipt.received_at:%Y-%m-%d %H:%M:%S}" if receipt.received_at else "",
        "" if number is None else str(number) if number in kept else f"({number})",
        str(receipt.cause),
        str(receipt.state).replace("_", " "),
        f"{receipt.source} via {receipt.via}",
        ", ".join(receipt.codes),
        receipt.id,
    )


def _short(fingerprint: str) -> str:
    return f"{fingerprint[:16]}..." if fingerprint else "?"
