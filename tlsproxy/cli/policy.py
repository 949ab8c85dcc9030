"""`tlsproxy policy`: how TLS is spoken here, and why a cipher or group is, or isn't, in it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tlsproxy.cli.examples import examples
from tlsproxy.cli.places import USUAL_CONFIG, find_place, place_options
from tlsproxy.cli.policyreport import report
from tlsproxy.errors import ExitCode

if TYPE_CHECKING:
    from tlsproxy.config.values import TLSConfig


_MODES = {"off": "not asked for", "optional": "optional", "required": "required"}


@click.group(
    short_help="Say how TLS is spoken, and why.",
    epilog=examples(
        "tlsproxy policy show --config ./tlsproxy.toml",
        "tlsproxy policy explain AES128-SHA",
        "tlsproxy policy explain X25519MLKEM768",
        "tlsproxy policy report",
    ),
)
def policy() -> None:
    """Say how TLS is spoken, and why a cipher or group is, or isn't, in it."""


@policy.command(
    short_help="Say what is in force.",
    epilog=examples("tlsproxy policy show", "tlsproxy policy show --config ./tlsproxy.toml --json"),
)
@place_options
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
def show(store: Path | None, config: Path | None, as_json: bool) -> int:  # noqa: FBT001  click passes flags so
    """Say which versions, ciphers and groups are spoken: by the configuration, without one by default.

    What this machine's TLS library can't do of it is told, too.
    """
    from tlsproxy.config.values import TLSConfig
    from tlsproxy.tls.engines import resolve
    from tlsproxy.tls.engines.abilities import library_of, shortcomings

    is_named = store is not None or config is not None or USUAL_CONFIG.exists()
    place = find_place(store, config) if is_named else None
    tls = (place.tls if place is not None else None) or TLSConfig()
    configured = place.configured if place is not None else None
    rules = configured.client_auth if configured is not None else ()
    engine = resolve(tls.engine, tls.policy)
    lacking = tuple(shortcomings(engine, tls.policy))
    if as_json:
        click.echo(
            json.dumps(
                _document(tls, engine, library_of(engine), lacking)
                | {"client_auth": list(map(asdict, rules))},
                indent=2,
            )
        )
        return ExitCode.DONE
    for name, text in _lines(tls, f"{engine} ({library_of(engine)})"):
        click.echo(f"{name:<10} {text}")
    for rule in rules:
        by = f", by the set {rule.trust}" if rule.asks else ""
        click.echo(f"{'clients':<10} {rule.words}: a certificate is {_MODES[rule.mode]}{by}")
    for text in lacking:
        click.echo(f"note: {text}")
    return ExitCode.DONE


def _lines(tls: TLSConfig, engine: str) -> list[tuple[str, str]]:
    rules = tls.policy
    versions = "TLS 1.3" if rules.is_tls13_only else "TLS 1.3, TLS 1.2"
    strangers = "refused" if rules.strict_names else "served the default certificate"
    tickets = f"one a connection, with keys for {tls.ticket_s / 3600:g} hours" if rules.tickets else "none"
    return [
        ("profile", str(rules.profile)),
        ("versions", versions),
        ("groups", ", ".join(rules.groups)),
        ("TLS 1.3", ", ".join(rules.suites)),
        *([("TLS 1.2", ", ".join(rules.ciphers))] if rules.ciphers else []),
        ("tickets", tickets),
        ("strangers", strangers),
        ("ALPN", ", ".join(name.decode("ascii") for name in rules.alpn)),
        ("engine", engine),
        *([("key log", f"{tls.key_log}: UNSAFE, the secrets of all sessions")] if tls.key_log else []),
    ]


def _document(tls: TLSConfig, engine: str, library: str, lacking: tuple[str, ...]) -> dict[str, object]:
    rules = asdict(tls.policy)
    alpn = [name.decode("ascii") for name in tls.policy.alpn]
    return {
        **rules,
        "alpn": alpn,
        "ticket_s": tls.ticket_s if tls.policy.tickets else None,
        "engine": engine,
        "library": library,
        "unsafe_key_log": str(tls.key_log) if tls.key_log is not None else None,
        "shortcomings": list(lacking),
    }


@policy.command(
    short_help="Say why a cipher, group or version is spoken, or isn't.",
    epilog=examples(
        "tlsproxy policy explain ECDHE-RSA-AES128-SHA",
        "tlsproxy policy explain TLS_RSA_WITH_AES_128_GCM_SHA256 P-521 TLSv1.1",
    ),
)
@click.argument("names", metavar="CIPHER|GROUP|VERSION...", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
def explain(names: tuple[str, ...], as_json: bool) -> int:  # noqa: FBT001  click passes flags so
    """Say why a cipher, group or version is spoken here, or isn't, whatever OpenSSL or IANA calls it.

    Ends with 1 where one of them is unknown.
    """
    from tlsproxy.policy_reasons import explain as explained

    found = [explained(name) for name in names]
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found], indent=2))
    else:
        for one in found:
            click.echo(f"{one.name} ({one.kind}): {one.standing}: {one.why}")
    return ExitCode.FAILED if any(one.kind == "unknown" for one in found) else ExitCode.DONE


policy.add_command(report)
