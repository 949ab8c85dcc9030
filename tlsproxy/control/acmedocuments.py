"""What the API takes and gives about certificates of an ACME authority, as types (as documents.py).

The account's key, and what an authority or a name server gave to know us by, go in here and never come out.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import msgspec

from certstore import Challenge, KeyType, Reason
from tlsproxy.control.documents import Count, FindingDocument, Hash
from tlsproxy.control.values import findings_to_json

if TYPE_CHECKING:
    from certstore.issuers.acme.acmednsaccount import AcmeDnsAccount
    from certstore.issuers.acme.nameserver import NameServer
    from tlsproxy.acmeoutlook import Authority, Outlook, Plan

__all__ = [
    "AcmeDnsDocument",
    "AcmeDocument",
    "BindingDocument",
    "EnrolmentDocument",
    "FallbackDocument",
    "NameServerDocument",
    "OutlookDocument",
    "PreflightDocument",
    "RevocationDocument",
    "outlook_to_json",
]

_MOST_NAMES = 100  # as many as public authorities put into one certificate
_Name: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=253)]
_Url: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=2_000)]
_Mail: TypeAlias = Annotated[str, msgspec.Meta(min_length=3, max_length=254)]
_Proxy: TypeAlias = Annotated[
    str,
    msgspec.Meta(
        max_length=1_000,
        description="The HTTP proxy by which all of them are asked; empty for none. It may hold a password.",
        extra_json_schema={"writeOnly": True},
    ),
]
_Pem: TypeAlias = Annotated[str, msgspec.Meta(max_length=100_000)]


class BindingDocument(msgspec.Struct, forbid_unknown_fields=True):
    """What the authority gave to bind the account to its customer (RFC 8555 section 7.3.4); base64url."""

    kid: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
    mac_key: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


class FallbackDocument(msgspec.Struct, forbid_unknown_fields=True):
    """Another authority, which is asked where the first fails again and again; as in `EnrolmentDocument`."""

    directory: _Url
    ca_pem: _Pem = ""
    binding: BindingDocument | None = None


class NameServerDocument(msgspec.Struct, forbid_unknown_fields=True):
    """Who takes the proofs of dns-01, by updates (RFC 2136) that are signed with `key`.

    key: as `tsig-keygen` writes it. zone: empty where the server is to be asked. wait_s: until other servers
    have what this one has.
    """

    address: _Name
    key: Annotated[str, msgspec.Meta(min_length=1, max_length=2_000)]
    port: Annotated[int, msgspec.Meta(ge=1, le=65_535)] = 53
    zone: Annotated[str, msgspec.Meta(max_length=253)] = ""
    wait_s: Annotated[int, msgspec.Meta(ge=0, le=3_600)] = 0

    def read(self) -> NameServer:
        """Give what it says. ValueError."""
        from certstore.issuers.acme.nameserver import NameServer, TsigKey

        return NameServer(self.address, TsigKey.read(self.key), self.port, self.zone, self.wait_s)


class AcmeDnsDocument(msgspec.Struct, forbid_unknown_fields=True):
    """An account for the proofs of dns-01 at an acme-dns server (https).

    registered: what the server answered when the account was made (`POST /register`), as text.
    """

    url: _Url
    registered: Annotated[str, msgspec.Meta(min_length=1, max_length=10_000)]

    def read(self) -> AcmeDnsAccount:
        """Give what it says. ValueError."""
        from certstore.issuers.acme.acmednsaccount import AcmeDnsAccount

        return AcmeDnsAccount.registered(self.url, self.registered)


class RevocationDocument(msgspec.Struct, forbid_unknown_fields=True):
    """Why a certificate is revoked (RFC 5280 section 5.3.1)."""

    reason: Reason = Reason.SUPERSEDED


class EnrolmentDocument(msgspec.Struct, forbid_unknown_fields=True):
    """What is wanted. `ca_pem`: roots to trust for the authority's own TLS, beside the system's."""

    directory: _Url
    names: Annotated[list[_Name], msgspec.Meta(min_length=1, max_length=_MOST_NAMES)]
    agree_tos: bool = False
    challenge: Challenge = Challenge.HTTP_01
    key_type: KeyType = KeyType.EC
    contacts: Annotated[list[_Mail], msgspec.Meta(max_length=10)] = []
    profile: Annotated[str, msgspec.Meta(min_length=1, max_length=100)] | None = None
    preferred_chain: Annotated[str, msgspec.Meta(min_length=1, max_length=500)] | None = None
    ca_pem: _Pem = ""
    binding: BindingDocument | None = None
    fallback: FallbackDocument | None = None
    name_server: NameServerDocument | None = None
    acme_dns: AcmeDnsDocument | None = None
    proxy: _Proxy = ""
    beside: Annotated[
        KeyType | None,
        msgspec.Meta(description="The RSA key of a second certificate for the same names, beside an EC one."),
    ] = None
    keep_key: Annotated[bool, msgspec.Meta(description="Renew with the key that is there.")] = False
    pause_in_shadow: Annotated[
        bool, msgspec.Meta(description="Ask for nothing while a customer's certificate has all the names.")
    ] = False


class FailureDocument(msgspec.Struct):
    """Why the last try failed."""

    code: str
    words: str
    hint: str


class LeftDocument(msgspec.Struct):
    """A certificate that was wanted before: of its names, these aren't any more. Served, and not renewed."""

    names: list[str]
    sha256: Hash
    not_after: datetime
    words: str
    hint: str


class AcmeDocument(msgspec.Struct):
    """What is wanted, and how it goes. `step`: what an order waits for now; `sha256`: of the certificate.

    Where an EC and an RSA one stand beside each other, `sha256` is the EC one's, `beside_sha256` the other's.
    """

    directory: str
    names: list[str]
    challenge: Challenge
    key_type: KeyType
    beside: Annotated[KeyType | None, msgspec.Meta(description="The key of a second one, if that is wanted.")]
    profile: str | None
    since: datetime
    fallback: Annotated[str | None, msgspec.Meta(description="The other authority's directory.")]
    name_server: Annotated[str | None, msgspec.Meta(description="Who takes the proofs of dns-01.")]
    acme_dns: Annotated[str | None, msgspec.Meta(description="The name whose records acme-dns sets.")]
    proxied: Annotated[bool, msgspec.Meta(description="It is asked by an HTTP proxy.")]
    dns_hook: Annotated[bool, msgspec.Meta(description="A command of the device's maker sets them.")]
    configured: Annotated[bool, msgspec.Meta(description="The configuration wants it, and not a person.")]
    keep_key: bool
    pause_in_shadow: bool
    issued_by: Annotated[str | None, msgspec.Meta(description="The directory of whom the certificate is.")]
    held: Annotated[str | None, msgspec.Meta(description="Why nothing can be asked for now.")]
    asking: Annotated[bool, msgspec.Meta(description="One is wanted at once, and hasn't come yet.")]
    step: str | None
    lacking: Annotated[KeyType | None, msgspec.Meta(description="Of two the one that alone is wanted now.")]
    failures: Annotated[Count, msgspec.Meta(description="In a row, since all came that is wanted.")]
    last_failure: FailureDocument | None
    next_at: datetime | None
    renew_at: datetime | None
    sha256: Hash | None
    not_after: datetime | None
    beside_sha256: Hash | None
    beside_not_after: datetime | None
    left: list[LeftDocument]


class PreflightDocument(msgspec.Struct, forbid_unknown_fields=True):
    """What somebody thinks of enrolling for; what is left out is as it is wanted already."""

    names: Annotated[list[_Name], msgspec.Meta(max_length=_MOST_NAMES)] = []
    directory: _Url | None = None
    challenge: Annotated[
        Challenge | None, msgspec.Meta(description="The only one to look at; null: all but dns-persist-01.")
    ] = None
    profile: Annotated[str, msgspec.Meta(min_length=1, max_length=100)] | None = None
    ca_pem: _Pem = ""
    name_server: NameServerDocument | None = None
    acme_dns: AcmeDnsDocument | None = None
    proxy: _Proxy = ""


class OfferDocument(msgspec.Struct):
    """What an authority offers, by its directory (RFC 8555 section 7.1.1)."""

    directory: str
    public: Annotated[bool, msgspec.Meta(description="All its addresses are the Internet's.")]
    terms: str | None
    website: str | None
    profiles: dict[str, str]
    renewal_info: Annotated[bool, msgspec.Meta(description="It says when to renew (RFC 9773).")]
    binding_required: bool
    caa_identities: list[str]


class ProspectDocument(msgspec.Struct):
    """Whether one kind of proof can work here: "perhaps" where that depends on what can't be seen."""

    challenge: Challenge
    works: Literal["yes", "perhaps", "no"]
    findings: list[FindingDocument]


class OutlookDocument(msgspec.Struct):
    """Whether a certificate can come by ACME. `findings`: what concerns every kind of proof."""

    names: list[str]
    works: bool
    findings: list[FindingDocument]
    authority: OfferDocument | None
    challenges: list[ProspectDocument]


def outlook_to_json(plan: Plan, outlook: Outlook) -> dict[str, object]:
    """Give what is to be expected as it is shown."""
    authority = outlook.authority
    return {
        "names": list(plan.names),
        "works": outlook.works,
        "findings": findings_to_json(outlook.findings),
        "authority": None if authority is None else _offer(authority),
        "challenges": [
            {
                "challenge": str(one.challenge),
                "works": one.works,
                "findings": findings_to_json(one.findings),
            }
            for one in outlook.prospects
        ],
    }


def _offer(authority: Authority) -> dict[str, object]:
    directory = authority.directory
    return {
        "directory": authority.url,
        "public": authority.is_public,
        "terms": directory.terms,
        "website": directory.website,
        "profiles": dict(directory.profiles),
        "renewal_info": directory.has_renewal_info,
        "binding_required": directory.binding_required,
        "caa_identities": list(directory.caa_identities),
    }
