"""Options that several commands of `tlsproxy acme` share, and the files that they name."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from tlsproxy.errors import UsageError

__all__ = [
    "CA_FILE",
    "FILE",
    "JSON",
    "PROXY",
    "STDIN_OR_FILE",
    "acme_dns_account",
    "key_in",
    "name_server",
    "name_server_options",
    "proxy_of",
    "roots_of",
    "text_in",
]

F = TypeVar("F", bound=Callable[..., object])

FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
STDIN_OR_FILE = click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True)
JSON = click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
CA_FILE = click.option(
    "--ca-file",
    type=FILE,
    help="Roots in PEM that the authority's own certificate is trusted by, beside the system's.",
)
PROXY = click.option(
    "--proxy",
    default="",
    metavar="URL",
    help="The site's HTTP proxy by which the authority is asked. One with a password stands in the"
    " configuration: acme.proxy.",
)
# More than any set of roots has; the API takes no more.
_MOST_BYTES = 100_000


def name_server_options(command: F) -> F:
    """Give a command the options that say who sets the records of dns-01."""
    options = (
        click.option("--dns-server", metavar="HOST", help="dns-01: the zone's primary server (RFC 2136)."),
        click.option(
            "--dns-port", type=click.IntRange(1, 65_535), default=53, show_default=True, help="Its port."
        ),
        click.option("--dns-key-file", type=FILE, help="dns-01: the TSIG key, as tsig-keygen writes it."),
        click.option("--dns-zone", metavar="ZONE", help="dns-01: whose records change [default: asked for]."),
        click.option(
            "--dns-wait",
            type=click.IntRange(0, 3_600),
            default=0,
            show_default=True,
            help="dns-01: the seconds until the zone's other servers have what the primary has.",
        ),
        click.option("--acme-dns", metavar="URL", help="dns-01: an acme-dns server instead (https)."),
        click.option(
            "--acme-dns-file",
            type=STDIN_OR_FILE,
            help="dns-01: what that server answered to POST /register, - for stdin.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def name_server(
    address: str | None, port: int, key_file: Path | None, zone: str | None, wait_s: int
) -> dict[str, object] | None:
    """Say who takes proofs by records, as the API takes it."""
    if (address is None) != (key_file is None):
        raise click.UsageError("--dns-server and --dns-key-file belong together")
    if key_file is None:
        return None
    return {
        "address": address,
        "port": port,
        "key": text_in(key_file),
        "zone": zone or "",
        "wait_s": wait_s,
    }


def acme_dns_account(url: str | None, file: Path | None) -> dict[str, object] | None:
    """Say which account at an acme-dns server sets the records, as the API takes it."""
    if (url is None) != (file is None):
        raise click.UsageError("--acme-dns and --acme-dns-file belong together")
    return {"url": url, "registered": text_in(file)} if file is not None else None


def proxy_of(url: str) -> str:
    """Take a proxy's URL; UsageError for a password in it, which other users of this machine could see."""
    if "@" in url:
        hint = "write it into the configuration: proxy below [acme]"
        raise UsageError("a password on a command line is everybody's", hint)
    return url


def roots_of(file: Path | None) -> str:
    """Give the certificates in a file of roots, whatever is written around them. Raises UsageError."""
    from certstore.issuers.acme.roots import roots_in

    if file is None:
        return ""
    try:
        return roots_in(text_in(file))
    except ValueError as error:
        raise UsageError(f"{file}: {error}", "give the authority's root certificate as PEM") from None


def key_in(file: Path) -> str:
    """Give a key that stands in a file alone, or on stdin."""
    return text_in(file).strip()


def text_in(file: Path) -> str:
    """Read a file, or stdin for "-": UTF-8 or UTF-16, as editors leave it, else what is ASCII of it."""
    if str(file) == "-":
        content = sys.stdin.buffer.read(_MOST_BYTES + 1)
    else:
        with file.open("rb") as opened:
            content = opened.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise UsageError(f"{file} is longer than {_MOST_BYTES} bytes", "is it the right file?")
    encoding = "utf-16" if content[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8-sig"
    return content.decode(encoding, "replace")
