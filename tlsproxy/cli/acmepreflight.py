"""`tlsproxy acme preflight`: whether a certificate could come here by ACME, and what stands in the way."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import click

from tlsproxy.cli.acmeoptions import (
    CA_FILE,
    JSON,
    PROXY,
    acme_dns_account,
    name_server,
    name_server_options,
    proxy_of,
    roots_of,
)
from tlsproxy.cli.examples import examples
from tlsproxy.cli.places import asking, find_proxy, place_options

__all__ = ["preflight"]

_WORKS = {"yes": "can work", "perhaps": "may work", "no": "can't work"}


@click.command(
    short_help="Say beforehand whether it can work here.",
    epilog=examples(
        "tlsproxy acme preflight --directory https://acme-v02.api.letsencrypt.org/directory"
        " --name device.example.com",
        "tlsproxy acme preflight --name device.site.example --ip 192.0.2.7 --challenge http-01",
        "tlsproxy acme preflight                        # for what is wanted already",
    ),
)
@click.option("--directory", metavar="URL", help="The authority's directory (https).")
@click.option("--name", "names", multiple=True, metavar="HOST", help="A name to be certified. Repeatable.")
@click.option("--ip", "addresses", multiple=True, metavar="ADDRESS", help="An address. Repeatable.")
@click.option(
    "--challenge",
    type=click.Choice(["http-01", "tls-alpn-01", "dns-01", "dns-persist-01"]),
    help="Look at this one alone [default: at all but dns-persist-01].",
)
@click.option("--profile", help="One of the certificate profiles that the authority should list.")
@CA_FILE
@name_server_options
@PROXY
@place_options
@JSON
def preflight(  # noqa: PLR0913, PLR0917  one an option
    directory: str | None,
    names: tuple[str, ...],
    addresses: tuple[str, ...],
    challenge: str | None,
    profile: str | None,
    ca_file: Path | None,
    dns_server: str | None,
    dns_port: int,
    dns_key_file: Path | None,
    dns_zone: str | None,
    dns_wait: int,
    acme_dns: str | None,
    acme_dns_file: Path | None,
    proxy: str,
    store: Path | None,
    config: Path | None,
    as_json: bool,  # noqa: FBT001
) -> int:
    """Say which kinds of proof can work here, and why not, before an authority is asked; changes nothing.

    The proxy, which must run, looks at its listeners, at where the names lead in the DNS and whom its CAA
    records allow, and at what the authority offers. What isn't named is as it is wanted already. What it sees
    is the DNS as this device sees it: an authority on the Internet may see another.

    Ends with 0 when the challenge that is named, or any, can or may work; else with 1.
    """
    from tlsproxy.errors import ExitCode

    wanted: dict[str, object] = {
        "directory": directory,
        "names": [*names, *addresses],
        "challenge": challenge,
        "profile": profile,
        "ca_pem": roots_of(ca_file),
        "name_server": name_server(dns_server, dns_port, dns_key_file, dns_zone, dns_wait),
        "acme_dns": acme_dns_account(acme_dns, acme_dns_file),
        "proxy": proxy_of(proxy),
    }
    with asking(find_proxy(store, config)) as client:
        outlook = client.foresee_acme(wanted)
    _tell(outlook, as_json=as_json)
    return ExitCode.DONE if outlook["works"] is True else ExitCode.FAILED


def _tell(outlook: Mapping[str, object], *, as_json: bool) -> None:
    from tlsproxy.cli.endings import printable

    if as_json:
        click.echo(json.dumps(outlook, indent=2))
        return
    for line in _lines(outlook):
        click.echo(printable(line))


def _lines(outlook: Mapping[str, object]) -> Iterator[str]:
    names, challenges = outlook["names"], outlook["challenges"]
    assert isinstance(names, list)
    assert isinstance(challenges, list)
    yield f"names        {', '.join(names)}"
    yield from _of_authority(outlook["authority"])
    told: set[str] = set()
    yield from _findings(outlook["findings"], told)
    for one in challenges:
        yield f"{one['challenge']:12} {_WORKS.get(one['works'], one['works'])}"
        yield from _findings(one["findings"], told)


def _of_authority(authority: object) -> Iterator[str]:
    if not isinstance(authority, dict):
        return
    profiles = ", ".join(authority["profiles"]) or "none"
    renewal = "says when to renew" if authority["renewal_info"] else "doesn't say when to renew"
    yield f"authority    {authority['directory']}"
    yield f"             profiles: {profiles}; {renewal}"


def _findings(findings: object, told: set[str]) -> Iterator[str]:
    """Write findings, with the hint where that is new."""
    assert isinstance(findings, list)
    for one in findings:
        yield f"    {one['severity']}: {one['words']} [{one['code']}]"
        if one["hint"] not in told:
            told.add(one["hint"])
            yield f"        hint: {one['hint']}"
