"""The part of the catalogue that tells of the factory: what stands in the way of an identity for life."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from certstore.entries import Entry, Severity

__all__ = ["FACTORY"]

_E, _W = Severity.ERROR, Severity.WARNING

_TABLE: Final[dict[str, Entry]] = {
    "factory_serial_missing": Entry(
        _E,
        "this device knows no serial number, which its factory certificate must carry",
        "name it: tlsproxy factory provision --serial SERIAL",
    ),
    "factory_name_missing": Entry(
        _E,
        "this device knows no name that it keeps for its life, which its factory certificate must carry",
        "name it: tlsproxy factory provision --name NAME, or identity.names in the configuration",
    ),
    "factory_serial_unusable": Entry(
        _E,
        "the serial number {serial} can't stand in a certificate as it is",
        "use at most 64 of: letters and digits of ASCII, blanks, and '()+,-./:=?",
    ),
    "factory_serial_differs": Entry(
        _E,
        "the certificate was made for the serial number {given}, this device is {wanted}",
        "have it issued with the serial number of the request, or mend the request:"
        " tlsproxy factory provision --serial SERIAL",
    ),
    "factory_request_foreign": Entry(
        _W,
        "the key that waited for the manufacturer's certificate came from another unit: it was removed",
        "ask again on this unit: tlsproxy factory provision; keep such keys out of images",
    ),
    "factory_not_ours": Entry(
        _E,
        "the certificate belongs to a key that this device doesn't have (here is {wanted})",
        "give the certificate that was made from this device's request: tlsproxy factory provision",
    ),
}

FACTORY: Final[Mapping[str, Entry]] = MappingProxyType(_TABLE)
