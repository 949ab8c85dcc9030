"""PKCS #7: the certificates in a .p7b or .p7c file (RFC 2315, and CMS of RFC 5652), as DER.

Promises: certificates in their order, or a ValueError. Signatures in it are not looked at: such a file is a
box for certificates, and each of them proves itself.
Refuses to know: which of them is the device's.
"""

from __future__ import annotations

from typing import Final

from certstore.asn1 import INTEGER, OID, SEQUENCE, SET, only

__all__ = ["SIGNED_DATA", "read_pkcs7"]

SIGNED_DATA: Final = "1.2.840.113549.1.7.2"
_CONTEXT_0: Final = 0xA0


def read_pkcs7(der: bytes) -> list[bytes]:
    """Take the certificates out; none is no error here. PKCS #6 and attribute certificates are left."""
    fields = only(der).fields()
    if fields.take(OID).oid() != SIGNED_DATA:
        raise ValueError("it holds something else than certificates")
    signed = fields.take(_CONTEXT_0).fields().take(SEQUENCE).fields()
    signed.take(INTEGER)
    signed.take(SET)
    signed.take(SEQUENCE)
    certificates = signed.maybe(_CONTEXT_0)
    return [one.whole for one in certificates.fields() if one.tag == SEQUENCE] if certificates else []
