"""Where things lie in a store: names to relative paths, and back.

    FORMAT  lock  active                           active holds a number, and is renamed over
    bundles/<id>/{key.pem,chain.pem,meta.json}     with generations/ and trust/ all that a worker may read
    generations/<n>.json
    trust/<id>/{anchors.pem,crls.pem}              whose clients are let in; for workers, too
    slots/<source>/<id>.json
    receipts/<id>.json
    handled/<hash of path and digest>.json
    banned/<hash of a key>.json
    probation.json                                 only while a change is in probation
    authority/factory/request/{key.pem,request.pem}   the key that waits for the manufacturer's certificate
    reset.json                                     only while a reset has something to erase
    suspended.json                                 only while watched directories are not looked at
    revoked.json                                   only while a bundle is here that its authority has revoked
    unit.json                                      the hardware that it was made for, as hashes
    authority/csr/<id>/{key.pem,request.json}      a request that waits for its certificate
    authority/answered/<bundle id>.json            what was asked for
    authority/device-ca/{ca.pem,exported}          the device's own authority, if it has one
    authority/accounts/<id>/{key,next}.pem, account.json  the customer's at ACME authorities
    authority/accounts/{enrolment,renewal}.json    what is to be had of one, and how that goes
    authority/orders/<id>/{key.pem,order.json,chain.pem}  a certificate that is on its way from one

Pure: no file is touched here. Whatever becomes part of a path is a number, a source or hex digits, so nothing
that a stranger chose can lead out of the store.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import PurePosixPath

from certstore.records import is_bundle_id
from certstore.slots import Source

__all__ = [
    "ACCOUNT",
    "ACCOUNTS",
    "ACTIVE",
    "ANCHORS",
    "ANSWERED",
    "ASIDE",
    "AUTHORITY",
    "BANNED",
    "BUNDLES",
    "CHAIN",
    "CRLS",
    "DECLINED",
    "DEVICE_CA",
    "DEVICE_CA_FILE",
    "EXPORTED",
    "FACTORY",
    "FACTORY_CSR",
    "FACTORY_REQUEST",
    "FORMAT",
    "GENERATIONS",
    "HANDLED",
    "KEY",
    "KNOWN_FORMAT",
    "LOCK",
    "META",
    "NEXT_KEY",
    "ORDER",
    "ORDERS",
    "PROBATION",
    "RECEIPTS",
    "REQUEST",
    "REQUESTS",
    "RESET",
    "REVOKED",
    "SLOTS",
    "SUSPENDED",
    "TERMS",
    "TRUST",
    "UNIT",
    "account_folder",
    "answered_file",
    "aside",
    "ban_file",
    "bundle_folder",
    "folders",
    "generation_file",
    "generation_number",
    "handled_file",
    "order_folder",
    "receipt_file",
    "request_folder",
    "slot_file",
    "trust_folder",
]

KNOWN_FORMAT = 1
"""Raised when a version that doesn't know what is new would do harm with it, so that it only serves it.

Harm is: to serve what is banned, to show or erase what it mustn't, to drop what it writes anew. What an older
version may pass by (another folder, a field that it leaves as it is) doesn't raise it. No version was
released yet that lacks any of what stands above: all of it is format 1 (tests/certstore/test_layout.py).
"""

FORMAT = PurePosixPath("FORMAT")
LOCK = PurePosixPath("lock")
ACTIVE = PurePosixPath("active")
BUNDLES = PurePosixPath("bundles")
GENERATIONS = PurePosixPath("generations")
TRUST = PurePosixPath("trust")
SERVED_FOLDERS = (BUNDLES, GENERATIONS, TRUST)
"""All that whoever only serves has to read."""
SLOTS = PurePosixPath("slots")
RECEIPTS = PurePosixPath("receipts")
HANDLED = PurePosixPath("handled")
BANNED = PurePosixPath("banned")
PROBATION = PurePosixPath("probation.json")
RESET = PurePosixPath("reset.json")
SUSPENDED = PurePosixPath("suspended.json")
UNIT = PurePosixPath("unit.json")
REVOKED = PurePosixPath("revoked.json")
AUTHORITY = PurePosixPath("authority")
"""The supervisor's alone: no worker may read it."""
REQUESTS = AUTHORITY / "csr"
ANSWERED = AUTHORITY / "answered"
DEVICE_CA = AUTHORITY / "device-ca"
DEVICE_CA_FILE = DEVICE_CA / "ca.pem"
EXPORTED = DEVICE_CA / "exported"
ACCOUNTS = AUTHORITY / "accounts"
ENROLMENT = ACCOUNTS / "enrolment.json"
RENEWAL = ACCOUNTS / "renewal.json"
DECLINED = ACCOUNTS / "declined.json"
TERMS = ACCOUNTS / "terms.json"
ORDERS = AUTHORITY / "orders"
FACTORY = AUTHORITY / "factory"
FACTORY_REQUEST = FACTORY / "request"

KEY = "key.pem"
CHAIN = "chain.pem"
META = "meta.json"
ANCHORS = "anchors.pem"
CRLS = "crls.pem"
FACTORY_CSR = "request.pem"
REQUEST = "request.json"
ACCOUNT = "account.json"
NEXT_KEY = "next.pem"
ORDER = "order.json"

# whatever begins with this is half done, and is removed at the next start
ASIDE = ".new-"

_GENERATION = re.compile(r"([1-9]\d{0,17})\.json")


def folders() -> tuple[PurePosixPath, ...]:
    """Give every folder of a store, parents first."""
    slots = (SLOTS, *(SLOTS / source for source in Source))
    authority = (AUTHORITY, FACTORY, REQUESTS, ANSWERED, DEVICE_CA, ACCOUNTS, ORDERS)
    return (BUNDLES, GENERATIONS, TRUST, *slots, RECEIPTS, HANDLED, BANNED, *authority)


def aside(name: str) -> str:
    """Give the name under which `name` is written before it is renamed."""
    return ASIDE + name


def bundle_folder(id: str) -> PurePosixPath:  # noqa: A002  it is the bundle's id
    """Give the folder of a bundle; ValueError for what is no id."""
    if not is_bundle_id(id):
        raise ValueError("no bundle id")
    return BUNDLES / id


def trust_folder(id: str) -> PurePosixPath:  # noqa: A002  it is the set's id
    """Give the folder of a trust set; ValueError for what is no id."""
    if not is_bundle_id(id):
        raise ValueError("no id of a trust set")
    return TRUST / id


def generation_file(number: int) -> PurePosixPath:
    """Give the file of a generation."""
    return GENERATIONS / f"{number}.json"


def generation_number(name: str) -> int | None:
    """Read the number from the name of a generation's file; None when it is none."""
    match = _GENERATION.fullmatch(name)
    return int(match[1]) if match else None


def slot_file(source: Source, id: str) -> PurePosixPath:  # noqa: A002  it is the slot's id
    """Give the file of a slot; `id` is what `slot_id` gave."""
    return SLOTS / source / f"{id}.json"


def receipt_file(id: str) -> PurePosixPath:  # noqa: A002  it is the receipt's id
    """Give the file of a receipt; `id` is what `receipt_id` gave."""
    return RECEIPTS / f"{id}.json"


def ban_file(spki: str) -> PurePosixPath:
    """Give the file of a ban; `spki` is the SHA-256 of a key in hex."""
    return BANNED / f"{spki}.json"


def request_folder(id: str) -> PurePosixPath:  # noqa: A002  it is the request's id
    """Give the folder of a waiting request; its id is 8 hex digits."""
    return REQUESTS / id


def account_folder(id: str) -> PurePosixPath:  # noqa: A002  it is the account's id
    """Give the folder of an account at an authority; its id is 8 hex digits."""
    return ACCOUNTS / id


def order_folder(id: str) -> PurePosixPath:  # noqa: A002  it is the order's id
    """Give the folder of an order at an authority; its id is 8 hex digits."""
    return ORDERS / id


def answered_file(bundle: str) -> PurePosixPath:
    """Give the file that remembers what a bundle's certificate was asked for with."""
    return ANSWERED / f"{bundle_folder(bundle).name}.json"


def handled_file(path: str, digest: str) -> PurePosixPath:
    """Give the file that remembers this content at this path. Both may hold anything: they are hashed."""
    seen = hashlib.sha256(f"{path}\0{digest}".encode("utf-8", "surrogateescape")).hexdigest()
    return HANDLED / f"{seen[:32]}.json"
