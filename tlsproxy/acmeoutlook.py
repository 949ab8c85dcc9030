"""The outlook of ACME here: which kinds of proof can work, and why not, before an authority is asked.

Pure: what was seen of the device, the DNS and the authority in, findings out. Promises: an error is what
can't work however things stand elsewhere; what depends on somebody in between (NAT, another view of the DNS)
is a warning. Refuses to know how it was seen (acmelookout.py).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from certstore import Challenge, Finding, Severity, found, is_address

if TYPE_CHECKING:
    from certstore.issuers.acme.messages import Directory

__all__ = ["Authority", "Door", "Outlook", "Permission", "Place", "Plan", "Prospect", "View", "judge"]

# Where an authority looks, and which kind of listener answers (RFC 8555 section 8.3, RFC 8737 section 3).
_PORTS: Final = {Challenge.HTTP_01: (80, "http"), Challenge.TLS_ALPN_01: (443, "tls")}
_ANY: Final = frozenset({"::", "0.0.0.0"})  # noqa: S104  read, not bound


@dataclass(frozen=True, slots=True)
class Door:
    """A listener: "tls" or "http"; `host` is an address, "::" for all, or a name."""

    kind: str
    host: str
    port: int

    def takes(self, address: str) -> bool:
        """Say whether connections to this address of ours come here."""
        is_v4 = ":" not in address
        return self.host in {address, "::"} or (is_v4 and self.host in _ANY)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is wanted. `has_records`: somebody is named who sets records for dns-01."""

    names: tuple[str, ...]
    challenges: tuple[Challenge, ...]
    profile: str | None = None
    has_records: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """The device: its listeners and addresses, and why nothing can be asked for now, if so."""

    doors: tuple[Door, ...]
    addresses: frozenset[str]
    held: str | None = None


@dataclass(frozen=True, slots=True)
class Permission:
    """A CAA record (RFC 8659 section 4.1): a tag in lower case and its value, as text."""

    tag: str
    value: str


@dataclass(frozen=True, slots=True)
class Authority:
    """What an authority offers; is_public: all its addresses are the Internet's."""

    url: str
    host: str
    directory: Directory
    is_public: bool


@dataclass(frozen=True, slots=True)
class View:
    """What was seen from here.

    addresses: those of a name, none where it has none; a text says why nobody could tell. permissions: the
    CAA records that count for a name. unset: why a record for dns-01 can't be set for a name. aliases: where
    the place of a name's proofs leads, where a command is to set them. trouble: why the authority couldn't be
    seen.
    """

    addresses: Mapping[str, tuple[str, ...] | str] = field(default_factory=dict)
    permissions: Mapping[str, tuple[Permission, ...]] = field(default_factory=dict)
    unset: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    authority: Authority | None = None
    trouble: Finding | None = None


@dataclass(frozen=True, slots=True)
class Prospect:
    """What is to be expected of one kind of proof: "yes", "perhaps" or "no", and why."""

    challenge: Challenge
    findings: tuple[Finding, ...]

    @property
    def works(self) -> str:
        """Say it in a word."""
        worst = {finding.severity for finding in self.findings}
        return "no" if Severity.ERROR in worst else "perhaps" if Severity.WARNING in worst else "yes"


@dataclass(frozen=True, slots=True)
class Outlook:
    """The whole: what concerns every kind of proof, and each by itself."""

    findings: tuple[Finding, ...]
    prospects: tuple[Prospect, ...]
    authority: Authority | None

    @property
    def works(self) -> bool:
        """Whether a certificate may come by one of them."""
        is_hindered = any(finding.is_error for finding in self.findings)
        return not is_hindered and any(one.works != "no" for one in self.prospects)


def judge(plan: Plan, place: Place, view: View) -> Outlook:
    """Say what is to be expected."""
    of = [Prospect(kind, tuple(_of_challenge(kind, plan, place, view))) for kind in plan.challenges]
    return Outlook(tuple(_of_all(plan, place, view)), tuple(of), view.authority)


def _of_all(plan: Plan, place: Place, view: View) -> Iterator[Finding]:
    if place.held is not None:
        yield found("acme_held", why=place.held)
    if view.trouble is not None:
        yield view.trouble
    if view.authority is None:
        return
    directory, host = view.authority.directory, view.authority.host
    if plan.profile is not None and plan.profile not in directory.profiles:
        listed = ", ".join(directory.profiles) or "none"
        yield found("acme_profile_unknown", host=host, profile=plan.profile, profiles=listed)
    if directory.binding_required:
        yield found("acme_binding_asked", host=host)
    if directory.terms is not None:
        yield found("acme_terms_asked", host=host, terms=directory.terms)


def _of_challenge(kind: Challenge, plan: Plan, place: Place, view: View) -> Iterator[Finding]:
    if kind in _PORTS:
        yield from _of_doors(kind, place)
    elif kind is Challenge.DNS_PERSIST_01:
        yield found("acme_persist_unsure")
    elif not plan.has_records:
        yield found("acme_records_unset", challenge=kind)
    for name in plan.names:
        if is_address(name) if kind not in _PORTS else name.startswith("*."):
            yield found("acme_proof_unfit", name=name, challenge=kind)
            continue
        if kind in _PORTS:
            yield from _of_way(kind, name, place, view)
        elif kind is Challenge.DNS_01:
            yield from _of_record(name, view)
        yield from _of_permission(kind, name, view)


def _of_record(name: str, view: View) -> Iterator[Finding]:
    """Say whether the record of dns-01 can be set for a name, and where."""
    if (why := view.unset.get(name)) is not None:
        yield found("acme_records_unreachable", challenge=Challenge.DNS_01, name=name, why=why)
    elif (place := view.aliases.get(name)) is not None:
        yield found("acme_proof_alias", name=name.removeprefix("*."), place=place)


def _of_doors(kind: Challenge, place: Place) -> Iterator[Finding]:
    port, wanted = _PORTS[kind]
    doors = [door for door in place.doors if door.kind == wanted]
    if not doors:
        yield found("acme_listener_missing", challenge=kind, port=port, kind=wanted)
    elif all(door.port != port for door in doors):
        listed = ", ".join(map(str, doors))
        yield found("acme_port_forwarded", challenge=kind, port=port, addresses=listed)


def _of_way(kind: Challenge, name: str, place: Place, view: View) -> Iterator[Finding]:
    """Follow a name, or an address, to this device."""
    authority = view.authority
    seen = (name,) if is_address(name) else view.addresses.get(name, "it wasn't looked up")
    if isinstance(seen, str):
        yield found("acme_name_unseen", name=name, why=seen)
        return
    if not seen:
        yield found("acme_name_unresolved", name=name)
        return
    private = [one for one in seen if not ipaddress.ip_address(one).is_global]
    if authority is not None and authority.is_public and private:
        if is_address(name):
            yield found("acme_address_private", name=name, host=authority.host)
            return
        yield found("acme_name_private", name=name, addresses=", ".join(private), host=authority.host)
    elsewhere = [one for one in seen if not _is_ours(one, place)]
    if elsewhere:
        yield found("acme_name_elsewhere", name=name, addresses=", ".join(elsewhere))
    doors = [door for door in place.doors if door.kind == _PORTS[kind][1]]
    unserved = [one for one in seen if one not in elsewhere and not any(door.takes(one) for door in doors)]
    if doors and unserved:
        yield found("acme_address_unserved", name=name, addresses=", ".join(unserved), challenge=kind)


def _is_ours(address: str, place: Place) -> bool:
    return address in place.addresses or ipaddress.ip_address(address).is_loopback


def _of_permission(kind: Challenge, name: str, view: View) -> Iterator[Finding]:
    """Hold a name's CAA records against the authority's own names (RFC 8659 and 8657, section 4)."""
    if view.authority is None or not (identities := view.authority.directory.caa_identities):
        return
    records = view.permissions.get(name, ())
    wild = [one for one in records if one.tag == "issuewild"] if name.startswith("*.") else []
    that_count = wild or [one for one in records if one.tag == "issue"]
    if not that_count:
        return
    own = [_parts(one.value) for one in that_count if _parts(one.value)[0] in map(str.lower, identities)]
    host = view.authority.host
    if not own:
        others = ", ".join(filter(None, (_parts(one.value)[0] for one in that_count))) or "nobody"
        yield found("acme_caa_forbids", host=host, names=name, why=f"its CAA records allow {others}")
    elif not any(_may(more, kind) for _, more in own):
        yield found("acme_caa_forbids", host=host, names=name, why=f"its CAA records don't allow {kind}")


def _may(parameters: Mapping[str, str], kind: Challenge) -> bool:
    methods = parameters.get("validationmethods")
    return methods is None or kind in {one.strip() for one in methods.split(",")}


def _parts(value: str) -> tuple[str, Mapping[str, str]]:
    """Take a value of the tag issue apart (RFC 8659 section 4.2): whose it is, and its parameters."""
    domain, *rest = value.split(";")
    pairs: Sequence[tuple[str, str, str]] = [one.partition("=") for one in rest]
    return domain.strip().lower(), {tag.strip().lower(): text.strip() for tag, _, text in pairs}
