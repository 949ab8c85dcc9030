"""What is asked of ACME authorities, as a wish for the client; and how it goes, as the API shows it.

The client is imported when somebody has enrolled: nobody else carries it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from certstore import Bundle, KeyType, Store
from tlsproxy.acmeleft import Left

if TYPE_CHECKING:
    from certstore.issuers.acme.enrolment import Enrolment, Renewal
    from certstore.issuers.acme.introductions import Introduction
    from certstore.issuers.acme.issuing import Issuer
    from certstore.issuers.acme.wishes import Binding, Progress, Server, Wish

__all__ = ["Terms", "is_rsa", "shown", "why_held", "wishes_of"]


@dataclass(frozen=True, slots=True)
class Terms:
    """What is said to authorities once, when an account is made there.

    bindings: for those that ask for one, by their directory.
    """

    contacts: Sequence[str] = ()
    is_agreed: bool = False
    bindings: Mapping[str, Binding] = field(default_factory=dict)

    def introduction(self) -> Introduction:
        """Give the same as the disk keeps it."""
        from certstore.issuers.acme.introductions import Introduction

        return Introduction(tuple(self.contacts), self.is_agreed, self.bindings)

    async def register(self, issuer: Issuer, server: Server) -> None:
        """Find the account at an authority, or make one. Raises AcmeError or StoreError."""
        await issuer.register(
            server,
            contacts=self.contacts,
            terms_agreed=self.is_agreed,
            binding=self.bindings.get(server.directory),
        )


def why_held(store: Store) -> str | None:
    """Say why nothing can be asked for now, whatever is due; None where something can."""
    if store.is_read_only:
        return "the store takes no changes"
    if not store.clock_plausible():
        return "the device's clock can't be right"
    return None


def is_rsa(bundle: Bundle) -> bool:
    """Say whether its key is RSA, and not EC."""
    return KeyType.of(bundle.key.public_key()).is_rsa


def wishes_of(enrolment: Enrolment, bundles: Sequence[Bundle] = ()) -> tuple[Wish, ...]:
    """Give what the client is to bring, each as the successor of one of `bundles` where there are any."""
    return tuple(
        _wish(enrolment, kind, _predecessor(kind, bundles, is_alone=enrolment.beside is None))
        for kind in enrolment.key_types
    )


def _predecessor(kind: KeyType, bundles: Sequence[Bundle], *, is_alone: bool) -> Bundle | None:
    """Give the one with a key of the same kind; what comes alone follows what is there in any case."""
    alike = (one for one in bundles if is_rsa(one) is kind.is_rsa)
    return next(alike, bundles[0] if is_alone and bundles else None)


def _wish(enrolment: Enrolment, kind: KeyType, bundle: Bundle | None) -> Wish:
    from certstore.issuers.acme.renewalinfo import certificate_id
    from certstore.issuers.acme.wishes import Wish

    same_key = None
    if bundle is not None and enrolment.keeps_key and KeyType.of(bundle.key.public_key()) is kind:
        same_key = bundle.key
    return Wish(
        enrolment.names,
        kind,
        enrolment.profile,
        same_key=same_key,
        replaces=certificate_id(bundle.leaf) if bundle is not None else None,
        preferred_chain=enrolment.preferred_chain,
    )


def shown(
    enrolment: Enrolment,
    renewal: Renewal,
    bundles: Sequence[Bundle],
    progress: Progress | None,
    held: str | None,
    left: Iterable[Left],
) -> dict[str, object]:
    """Give it as the API does."""
    failed = renewal.failures > 0
    last: Mapping[str, str] = {"code": renewal.code, "words": renewal.words, "hint": renewal.hint}
    first, other = (*bundles, None, None)[:2]
    return {
        "directory": enrolment.directory,
        "names": list(enrolment.names),
        "challenge": str(enrolment.challenge),
        "key_type": str(enrolment.key_type),
        "beside": enrolment.beside and str(enrolment.beside),
        "profile": enrolment.profile,
        "since": enrolment.since.isoformat(),
        "fallback": enrolment.fallback and enrolment.fallback.directory,
        "name_server": enrolment.name_server and enrolment.name_server.address,
        "acme_dns": enrolment.acme_dns and enrolment.acme_dns.fulldomain,
        "proxied": bool(enrolment.proxy),
        "dns_hook": enrolment.is_by_hook,
        "configured": enrolment.is_configured,
        "keep_key": enrolment.keeps_key,
        "pause_in_shadow": enrolment.pauses,
        "issued_by": renewal.authority or (enrolment.directory if bundles else None),
        "held": held,
        "asking": renewal.is_asked or progress is not None,
        "step": str(progress.step) if progress is not None else None,
        "lacking": renewal.lacking and str(renewal.lacking),
        "failures": renewal.failures,
        "last_failure": dict(last) if failed else None,
        "next_at": renewal.next_at.isoformat() if renewal.next_at is not None else None,
        "renew_at": renewal.renew_at.isoformat() if renewal.renew_at is not None else None,
        "sha256": first and first.fingerprint,
        "not_after": first and first.leaf.not_valid_after_utc.isoformat(),
        "beside_sha256": other and other.fingerprint,
        "beside_not_after": other and other.leaf.not_valid_after_utc.isoformat(),
        "left": [one.to_json() for one in left if one.names],
    }
