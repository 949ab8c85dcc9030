"""Extensions: what a certificate says beside its key and its dates, read so that no certificate can hurt.

Promises: `read` gives an extension's value or None and raises nothing, whatever a stranger put there;
`fault` says why a certificate's extensions can't be read. `alternative_names` splits what a certificate
names into what clients can ask for (in the one form of `certstore.names`) and what they can't.
Refuses to know: whether a certificate is good (checks.py).
"""

from __future__ import annotations

from typing import TypeVar

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID

from certstore.names import is_address, normalise

__all__ = ["alternative_names", "fault", "issuer_urls", "name_words", "read", "subject_words"]

_Value = TypeVar("_Value", bound=x509.ExtensionType)

_CA_ISSUERS = AuthorityInformationAccessOID.CA_ISSUERS

# cryptography parses extensions on first use, all at once; these it raises for bad ones (its source, 50.0).
# x509.ExtensionNotFound is not among them: `read` asks differently.
_BAD = (ValueError, TypeError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)


def read(certificate: x509.Certificate, kind: type[_Value]) -> _Value | None:
    """Give the extension of this kind; None when it is absent or can't be read (`fault` tells)."""
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
    except _BAD:
        return None


def fault(certificate: x509.Certificate) -> str | None:
    """Say why the extensions can't be read; None when they can."""
    try:
        _ = certificate.extensions
    except x509.DuplicateExtension as error:
        return f"the extension {error.oid.dotted_string} is there twice"
    except _BAD as error:
        return str(error) or type(error).__name__
    return None


def alternative_names(certificate: x509.Certificate) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Give the names and addresses of the subjectAltName: the usable ones, then the others as they stand.

    Usable names are normalised, sorted, each once. The subject's common name is no name (RFC 9525 section 2).
    Mail addresses, URIs and the like are left out: they are not for TLS servers.
    """
    extension = read(certificate, x509.SubjectAlternativeName)
    if extension is None:
        return (), ()
    usable: set[str] = set()
    ignored: list[str] = []
    for entry in extension:
        if not isinstance(entry, x509.DNSName | x509.IPAddress):
            continue
        try:
            name = normalise(str(entry.value))
            if isinstance(entry, x509.DNSName) and is_address(
                name
            ):  # RFC 9525 section 6.2: no client takes it
                raise ValueError("an address among the host names")  # noqa: TRY301  one way to be ignored
            usable.add(name)
        except ValueError:
            ignored.append(str(entry.value))
    return tuple(sorted(usable)), tuple(ignored)


def issuer_urls(certificate: x509.Certificate) -> tuple[str, ...]:
    """Give where the certificate says that its issuer's is to be had (AIA, RFC 5280 section 4.2.2.1)."""
    told = read(certificate, x509.AuthorityInformationAccess) or ()
    places = [one.access_location for one in told if one.access_method == _CA_ISSUERS]
    return tuple(place.value for place in places if isinstance(place, x509.UniformResourceIdentifier))


def subject_words(certificate: x509.Certificate) -> str:
    """Name a certificate to people: its first alternative name, else its common name, else its subject."""
    usable, _ = alternative_names(certificate)
    if usable:
        return usable[0]
    return name_words(certificate.subject)


def name_words(name: x509.Name) -> str:
    """Name a subject or issuer to people: its common name, else the whole of it."""
    common = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(common[0].value) if common else name.rfc4514_string() or "an empty subject"
