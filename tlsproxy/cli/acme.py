"""`tlsproxy acme`: a certificate of an ACME authority, which comes and renews by itself.

Everything is asked of the running proxy, since it is there that an authority looks.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tlsproxy.cli.acmeoptions import (
    CA_FILE,
    FILE,
    JSON,
    PROXY,
    STDIN_OR_FILE,
    acme_dns_account,
    key_in,
    name_server,
    name_server_options,
    proxy_of,
    roots_of,
)
from tlsproxy.cli.acmepreflight import preflight
from tlsproxy.cli.examples import examples
from tlsproxy.cli.places import asking, find_proxy, place_options
from tlsproxy.cli.reverting import REASON

if TYPE_CHECKING:
    from tlsproxy.cli.places import Whereabouts
    from tlsproxy.control.client import Client

__all__ = ["acme"]

_WAIT = click.option(
    "--wait/--no-wait",
    default=True,
    help="Wait until it is there, or the try failed [default: wait].",
)


@click.group(
    short_help="A certificate of an ACME authority, which renews itself.",
    epilog=examples(
        "tlsproxy acme enable --directory https://ca.site.example/acme/acme/directory --ca-file root.pem"
        " --name device.site.example --agree-tos",
        "tlsproxy acme status",
        "tlsproxy acme disable",
    ),
)
def acme() -> None:
    """A certificate that comes from an ACME authority, and is renewed ahead of its end."""


acme.add_command(preflight)


@acme.command(
    short_help="Have a certificate from now on.",
    epilog=examples(
        "tlsproxy acme enable --directory https://acme-v02.api.letsencrypt.org/directory"
        " --name device.example.com --email admin@example.com --agree-tos",
        "tlsproxy acme enable --directory https://ca.site.example/acme/acme/directory --ca-file root.pem"
        " --name device.site.example --ip 192.0.2.7 --agree-tos",
        "tlsproxy acme enable --directory https://acme.example/dir --eab-kid KID --eab-key-file ./mac.txt"
        " --name device.example.com --agree-tos",
        "tlsproxy acme enable --directory https://acme-v02.api.letsencrypt.org/directory --challenge dns-01"
        " --dns-server ns1.example.com --dns-key-file ./device.key --name '*.device.example.com' --agree-tos",
    ),
)
@click.option("--directory", required=True, metavar="URL", help="The authority's directory (https).")
@click.option("--name", "names", multiple=True, metavar="HOST", help="A name to be certified. Repeatable.")
@click.option("--ip", "addresses", multiple=True, metavar="ADDRESS", help="An address. Repeatable.")
@click.option(
    "--challenge",
    type=click.Choice(["http-01", "tls-alpn-01", "dns-01", "dns-persist-01"]),
    default="http-01",
    show_default=True,
    help="How a name is proved: at port 80, for which the proxy has a listener of the kind http; at port 443"
    " within the handshake; or, as wildcards need it, by a record at a name server that takes updates from"
    " here or by the device's own command (dns-01), or that somebody sets once (dns-persist-01: the first try"
    " says which).",
)
@name_server_options
@PROXY
@click.option(
    "--key-type",
    type=click.Choice(["ec", "ec384", "rsa2048", "rsa3072", "rsa4096"]),
    default="ec",
    show_default=True,
    help="The kind of key; for EC and RSA see --beside.",
)
@click.option(
    "--beside",
    type=click.Choice(["rsa2048", "rsa3072", "rsa4096"]),
    help="The key of a second certificate for the same names, for clients that can't use an EC one.",
)
@click.option("--email", "contacts", multiple=True, help="Whom the authority may write to. Repeatable.")
@click.option("--profile", help="One of the certificate profiles that the authority lists.")
@click.option("--preferred-chain", metavar="NAME", help="The root that the chain should lead to.")
@CA_FILE
@click.option("--eab-kid", metavar="KID", help="External account binding: the key's name.")
@click.option(
    "--eab-key-file",
    type=STDIN_OR_FILE,
    help="External account binding: a file that holds the key in base64url, - for stdin.",
)
@click.option("--agree-tos", is_flag=True, help="Agree to the terms of service of all authorities named.")
@click.option(
    "--keep-key",
    is_flag=True,
    help="Renew with the key that is there, for whoever pins it [default: a new one].",
)
@click.option(
    "--pause-in-shadow",
    is_flag=True,
    help="Ask for nothing while a certificate that was imported has all names [default: go on below it].",
)
@click.option("--fallback-directory", metavar="URL", help="Whom to ask where that one fails again and again.")
@click.option("--fallback-ca-file", type=FILE, help="As --ca-file, for the fallback.")
@click.option("--fallback-eab-kid", metavar="KID", help="As --eab-kid, for the fallback.")
@click.option("--fallback-eab-key-file", type=STDIN_OR_FILE, help="As --eab-key-file, for the fallback.")
@_WAIT
@place_options
@JSON
def enable(  # noqa: PLR0913, PLR0917  one an option
    directory: str,
    names: tuple[str, ...],
    addresses: tuple[str, ...],
    challenge: str,
    dns_server: str | None,
    dns_port: int,
    dns_key_file: Path | None,
    dns_zone: str | None,
    dns_wait: int,
    acme_dns: str | None,
    acme_dns_file: Path | None,
    proxy: str,
    key_type: str,
    beside: str | None,
    contacts: tuple[str, ...],
    profile: str | None,
    preferred_chain: str | None,
    ca_file: Path | None,
    eab_kid: str | None,
    eab_key_file: Path | None,
    agree_tos: bool,  # noqa: FBT001
    keep_key: bool,  # noqa: FBT001
    pause_in_shadow: bool,  # noqa: FBT001
    fallback_directory: str | None,
    fallback_ca_file: Path | None,
    fallback_eab_kid: str | None,
    fallback_eab_key_file: Path | None,
    wait: bool,  # noqa: FBT001
    store: Path | None,
    config: Path | None,
    as_json: bool,  # noqa: FBT001
) -> int:
    """Have a certificate of an ACME authority, now and from now on: it is renewed ahead of its end.

    The authority looks for the proof of each name at this device. A certificate that somebody has imported
    keeps its place; this one stands ready below it.

    Ends with 0 when the certificate is there (with --beside: both), with 1 when the first try failed (it is
    tried again: tlsproxy acme status), or when nothing was kept since only a person can mend it. What was
    wanted before goes on then; else this takes its place.
    """
    if not names and not addresses:
        raise click.UsageError("say what is to be certified: --name or --ip")
    if eab_key_file is not None and str(eab_key_file) == "-" and eab_key_file == fallback_eab_key_file:
        raise click.UsageError("one key can be read from stdin: the other has to be in a file")
    fallback = _authority(fallback_directory, fallback_ca_file, fallback_eab_kid, fallback_eab_key_file)
    wanted: dict[str, object] = {
        **(_authority(directory, ca_file, eab_kid, eab_key_file) or {}),
        "names": [*names, *addresses],
        "agree_tos": agree_tos,
        "challenge": challenge,
        "key_type": key_type,
        "beside": beside,
        "contacts": list(contacts),
        "profile": profile,
        "preferred_chain": preferred_chain,
        "keep_key": keep_key,
        "pause_in_shadow": pause_in_shadow,
        "fallback": fallback,
        "name_server": name_server(dns_server, dns_port, dns_key_file, dns_zone, dns_wait),
        "acme_dns": acme_dns_account(acme_dns, acme_dns_file),
        "proxy": proxy_of(proxy),
    }
    return _followed(find_proxy(store, config), partial(_enable, wanted), wait=wait, as_json=as_json)


@acme.command(
    short_help="Say what is wanted, and how it goes.",
    epilog=examples("tlsproxy acme status", "tlsproxy acme status --json"),
)
@place_options
@JSON
def status(store: Path | None, config: Path | None, as_json: bool) -> None:  # noqa: FBT001
    """Say which certificate is wanted, when it is renewed, and what failed last."""
    with asking(find_proxy(store, config)) as client:
        _tell(client.acme(), as_json=as_json)


@acme.command(
    short_help="Ask for the next certificate now.",
    epilog=examples("tlsproxy acme renew", "tlsproxy acme renew --no-wait"),
)
@_WAIT
@place_options
@JSON
def renew(wait: bool, store: Path | None, config: Path | None, as_json: bool) -> int:  # noqa: FBT001
    """Ask for the next certificate now, whatever is due. Authorities count: mind their limits."""
    return _followed(find_proxy(store, config), _renew, wait=wait, as_json=as_json)


@acme.command(
    short_help="Have it renewed no more.",
    epilog=examples("tlsproxy acme disable", "tlsproxy acme disable && tlsproxy certs remove --source acme"),
)
@place_options
@JSON
def disable(store: Path | None, config: Path | None, as_json: bool) -> None:  # noqa: FBT001
    """Want no certificate any more. The one that is there stays until its end, or until it is removed."""
    with asking(find_proxy(store, config)) as client:
        shown = client.disable_acme()
    click.echo(json.dumps(shown, indent=2) if as_json else "nothing is asked of the ACME authority any more")


@acme.command(
    short_help="Have the certificate revoked.",
    epilog=examples("tlsproxy acme revoke --yes", "tlsproxy acme revoke --reason key-compromise --yes"),
)
@REASON
@click.option("--yes", is_flag=True, help="Don't ask whether it is meant.")
@place_options
@JSON
def revoke(
    reason: str,
    yes: bool,  # noqa: FBT001
    store: Path | None,
    config: Path | None,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Have the authority revoke the certificate that is there. A new one is asked for at once.

    Until it is there, the revoked one stays (clients that look up revocations refuse it), but for the reason
    key-compromise: then the next good certificate takes its place, at last the device's own. The reason
    cessation-of-operation takes it away as well, and ends the enrolment.
    """
    if not yes:
        from tlsproxy.errors import UsageError

        if as_json or not sys.stdin.isatty():
            raise UsageError("a revocation can't be taken back", "add --yes if that is meant")
        click.confirm("Nothing brings a revoked certificate back. Revoke it?", abort=True, err=True)
    with asking(find_proxy(store, config)) as client:
        _tell(client.revoke_acme(reason), as_json=as_json)


@acme.command(
    name="roll-over",
    short_help="Give the account a new key.",
    epilog=examples("tlsproxy acme roll-over"),
)
@place_options
@JSON
def roll_over(store: Path | None, config: Path | None, as_json: bool) -> None:  # noqa: FBT001
    """Give the account at the authority a new key (that of the certificate stays)."""
    with asking(find_proxy(store, config)) as client:
        _tell(client.roll_over_acme(), as_json=as_json)


def _authority(
    directory: str | None, ca_file: Path | None, kid: str | None, key_file: Path | None
) -> dict[str, object] | None:
    """Say which authority, as the API takes it."""
    if (kid is None) != (key_file is None):
        raise click.UsageError("the name and the file of an account binding's key belong together")
    if directory is None:
        if ca_file is not None or kid is not None:
            raise click.UsageError("say which authority the fallback is: --fallback-directory")
        return None
    return {
        "directory": directory,
        "ca_pem": roots_of(ca_file),
        "binding": {"kid": kid, "mac_key": key_in(key_file)} if key_file is not None else None,
    }


def _enable(wanted: Mapping[str, object], client: Client) -> dict[str, object]:
    return client.enable_acme(wanted)


def _renew(client: Client) -> dict[str, object]:
    return client.renew_acme()


def _followed(place: Whereabouts, ask: Callable[[Client], object], *, wait: bool, as_json: bool) -> int:
    """Ask, wait for what comes of it, and tell that; gives the exit code."""
    from tlsproxy.cli.acmefollowing import asked_and_followed
    from tlsproxy.errors import ExitCode

    shown = asked_and_followed(place, ask, wait=wait, is_quiet=as_json)
    _tell(shown, as_json=as_json)
    is_missing = shown["asking"] or shown["lacking"] is not None
    return ExitCode.FAILED if wait and is_missing else ExitCode.DONE


def _tell(shown: dict[str, object], *, as_json: bool) -> None:
    from tlsproxy.cli.endings import printable

    if as_json:
        click.echo(json.dumps(shown, indent=2))
        return
    names = shown["names"]
    assert isinstance(names, list)
    for line in (
        f"authority    {shown['directory']}{_otherwise(shown)}",
        f"names        {', '.join(names)}, proved by {shown['challenge']}",
        f"certificate  {_certificate(shown)}",
        *_doing(shown),
        *_left(shown),
    ):
        click.echo(printable(line))


def _otherwise(shown: dict[str, object]) -> str:
    return f", else {shown['fallback']}" if shown["fallback"] is not None else ""


def _certificate(shown: dict[str, object]) -> str:
    if shown["sha256"] is None:
        return "none yet"
    renewed = f", renewed from {_day(shown['renew_at'])} on" if shown["renew_at"] is not None else ""
    other = f", of {shown['issued_by']}" if shown["issued_by"] != shown["directory"] else ""
    until = f"valid until {_day(shown['not_after'])}"
    if shown["beside_sha256"] is not None:
        until = f"EC {until}, RSA {_day(shown['beside_not_after'])}"
    return f"{until}{renewed}{other}"


def _doing(shown: dict[str, object]) -> list[str]:
    if shown["held"] is not None:
        return [f"waits        {shown['held']}: nothing is asked for until then"]
    if shown["step"] is not None:
        from tlsproxy.cli.acmefollowing import step_words

        return [f"now          {step_words({**shown, 'authority': shown['directory'], 'key_type': None})}"]
    failure = shown["last_failure"]
    if not isinstance(failure, dict):
        return []
    kind = f"{shown['lacking']}: " if shown["lacking"] is not None else ""
    return [
        f"failed       {kind}{failure['words']} [{failure['code']}]",
        f"             hint: {failure['hint']}",
        f"             {shown['failures']} in a row; tried again from {_day(shown['next_at'])} on",
    ]


def _left(shown: dict[str, object]) -> Iterator[str]:
    left = shown["left"]
    assert isinstance(left, list)
    for one in left:
        yield f"left         {one['words']} [acme_names_left]"
        yield f"             hint: {one['hint']}"


def _day(at: object) -> str:
    return str(at)[:16].replace("T", " ") + " UTC"
