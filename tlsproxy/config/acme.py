"""The table `[acme]`: what the device's maker has set up for certificates of an ACME authority.

Pure: a table goes in, values and complaints come out. What it means: docs/acme.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Literal

from certstore import normalise
from tlsproxy.config.commands import why_unfit
from tlsproxy.config.lines import Path
from tlsproxy.config.tables import Table
from tlsproxy.config.values import AcmeConfig, EnrolmentConfig, ListenerConfig, Seconds

if TYPE_CHECKING:
    from certstore.issuers.acme.enrolment import Enrolment

__all__ = ["enrolment_of", "find_acme_contradictions", "read_acme"]

Complaint = tuple[Path, str, str]
_Challenge = Literal["http-01", "tls-alpn-01", "dns-01", "dns-persist-01"]
_KeyType = Literal["ec", "ec384", "rsa2048", "rsa3072", "rsa4096"]
_Beside = Literal["", "rsa2048", "rsa3072", "rsa4096"]
_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)  # when a wish began says nothing about whether it can be had


def read_acme(table: Table, path_of: Callable[[str], FilePath], usual_names: tuple[str, ...]) -> AcmeConfig:
    """Read it; what is wrong is noted, and the default stands in its place.

    usual_names: what the device is called where the table doesn't say.
    """
    plain = AcmeConfig()
    enrolment = EnrolmentConfig(
        directory=table.parsed("directory", _url, ""),
        names=table.parsed_list("names", _name) or usual_names,
        challenge=table.leaf("challenge", _Challenge, "http-01"),
        key_type=table.leaf("key_type", _KeyType, "ec"),
        beside=table.leaf("beside", _Beside, ""),
        profile=table.parsed("profile", _text, ""),
        preferred_chain=table.parsed("preferred_chain", _text, ""),
        contacts=table.parsed_list("contacts", _text),
        agree_tos=table.leaf("agree_tos", bool, False),
        ca_file=table.parsed("ca_file", path_of, None),
        eab_kid=table.parsed("eab_kid", _text, ""),
        eab_key_file=table.parsed("eab_key_file", path_of, None),
        keep_key=table.leaf("keep_key", bool, False),
        pause_in_shadow=table.leaf("pause_in_shadow", bool, False),
        fallback_directory=table.parsed("fallback_directory", _url, ""),
        fallback_ca_file=table.parsed("fallback_ca_file", path_of, None),
        fallback_eab_kid=table.leaf("fallback_eab_kid", str, ""),
        fallback_eab_key_file=table.parsed("fallback_eab_key_file", path_of, None),
        proxy=table.parsed("proxy", _proxy, ""),
    )
    acme = AcmeConfig(
        enrolment=enrolment if "directory" in table else None,
        dns_hook=tuple(table.leaf("dns_hook", list[str], [])),
        dns_hook_s=table.leaf("dns_hook_s", Seconds, plain.dns_hook_s),
    )
    if acme.enrolment is None and replace(enrolment, names=()) != EnrolmentConfig("", (), "http-01", "ec"):
        table.refuse("directory", "is missing: nobody is asked for a certificate", "name the authority's URL")
    table.finish()
    return acme


def enrolment_of(config: EnrolmentConfig, ca_pem: str, fallback_ca_pem: str, since: datetime) -> Enrolment:
    """Give what is wanted, as a person would have wanted it. ValueError for what can't be had."""
    from certstore import Challenge, KeyType
    from certstore.issuers.acme.enrolment import Enrolment, Fallback

    other = config.fallback_directory
    return Enrolment(
        directory=config.directory,
        names=config.names,
        challenge=Challenge(config.challenge),
        key_type=KeyType(config.key_type),
        profile=config.profile or None,
        preferred_chain=config.preferred_chain or None,
        ca_pem=ca_pem,
        since=since,
        fallback=Fallback(other, fallback_ca_pem) if other else None,
        keeps_key=config.keep_key,
        pauses=config.pause_in_shadow,
        is_configured=True,
        proxy=config.proxy,
        beside=KeyType(config.beside) if config.beside else None,
    )


def find_acme_contradictions(acme: AcmeConfig, listeners: Iterable[ListenerConfig]) -> Iterator[Complaint]:
    """Find what can't work together."""
    if why := why_unfit(acme.dns_hook):
        yield ("acme", "dns_hook"), why, 'as in dns_hook = ["/usr/lib/device/dns-hook"]'
    if (wanted := acme.enrolment) is None or not wanted.directory:
        return
    if not wanted.names:
        yield ("acme", "names"), "is missing, and identity.names too", 'as in names = ["device.example"]'
        return
    yield from _without_their_fellows(wanted)
    if wanted.challenge == "dns-01" and not acme.dns_hook:
        yield ("acme", "challenge"), "dns-01 needs a command that sets records", "name it: dns_hook"
    if wanted.challenge == "http-01" and all(one.kind != "http" for one in listeners):
        hint = 'add [[listener]] with address = "[::]:80" and kind = "http"'
        yield ("acme", "challenge"), "http-01 is looked for at a listener of the kind http", hint
    if wanted.beside and wanted.key_type.startswith("rsa"):
        yield ("acme", "beside"), "an RSA key stands beside an EC one", 'set key_type = "ec"'
        return
    try:
        enrolment_of(wanted, "", "", _EPOCH)
    except ValueError as error:
        yield ("acme", "names"), str(error), ""


def _without_their_fellows(wanted: EnrolmentConfig) -> Iterator[Complaint]:
    """Find keys that mean nothing without another one."""
    for before, kid, file in (
        ("", wanted.eab_kid, wanted.eab_key_file),
        ("fallback_", wanted.fallback_eab_kid, wanted.fallback_eab_key_file),
    ):
        if bool(kid) is not (file is not None):
            why = f"stands without {before}eab_key_file, or that without it"
            yield ("acme", f"{before}eab_kid"), why, "give both, or none"
    if wanted.fallback_directory:
        return
    for name, is_there in (
        ("fallback_ca_file", wanted.fallback_ca_file is not None),
        ("fallback_eab_kid", bool(wanted.fallback_eab_kid)),
    ):
        if is_there:
            yield ("acme", name), "stands without fallback_directory", "name that authority"


def _url(text: str) -> str:
    from certstore.issuers.acme.messages import https

    try:
        return https(text)
    except ValueError as error:
        raise ValueError(f"{text[:200]!r} is no authority's directory: {error}") from None


def _proxy(text: str) -> str:
    from certstore.issuers.acme.wishes import http_proxy

    return http_proxy(text) if text else ""


def _text(text: str) -> str:
    if not text.isprintable():
        raise ValueError(f"{text[:200]!r} holds what can't be printed")
    return text


def _name(text: str) -> str:
    try:
        return normalise(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is no host name or address: {error}") from None
