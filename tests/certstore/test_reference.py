"""Certificates are looked up in the lists of this machine; one that can't be read keeps nobody out."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from certstore.blocklist import LARGEST_TEXT, open_blocklist, traces_of
from certstore.bundle import Bundle
from certstore.checks import check
from certstore.circumstances import Anchor, Circumstances
from certstore.examination import InProcess
from certstore.reference import NOTHING, Comparison, Reference
from certstore.slots import Source
from certstore.store import Store
from tests.pki import Pki
from tests.storing import Clock, OpenGate, candidate_of


def number_of(key) -> bytes:
    """Give what badkeys hashes of a key: the number alone."""
    public = key.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        number = public.public_numbers().n
    elif isinstance(public, ec.EllipticCurvePublicKey):
        number = public.public_numbers().x
    else:
        number = int.from_bytes(public.public_bytes(Encoding.Raw, PublicFormat.Raw), "big")
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def records(*entries: tuple[bytes, int]) -> bytes:
    """Make a list as badkeys ships one, of such numbers, each with its collection."""
    return b"".join(sorted(hashlib.sha256(number).digest()[:15] + bytes([of]) for number, of in entries))


@pytest.fixture
def around(now) -> Circumstances:
    return Circumstances(now, clock_plausible=True)


def surrounded(bundle: Bundle, around: Circumstances, *lists: Path, roots: str = "/nowhere") -> Circumstances:
    reference = Reference.open(Comparison(roots, tuple(map(str, lists))))
    return reference.surround(bundle.leaf, bundle.chain, around)


@pytest.mark.parametrize("kind", ["ec", "rsa", "ed25519"])
def test_a_key_on_a_list_as_badkeys_ships_it_is_found_among_thousands(pki: Pki, around, tmp_path, kind):
    issued = pki.leaf(key=kind)
    others = [(b"%d" % number, 1) for number in range(3000)]
    path = tmp_path / "blocklist.dat"
    path.write_bytes(records(*others, (number_of(issued.key), 7)))
    assert surrounded(issued.bundle(), around, path).key_listed == "blocklist.dat, collection 7"
    path.write_bytes(records(*others))
    assert surrounded(issued.bundle(), around, path).key_listed == ""


def test_badkeys_reads_the_same_list_in_the_same_way(pki: Pki, tmp_path, monkeypatch):
    import json

    from badkeys.allkeys import blocklist

    home = tmp_path / "badkeys"
    home.mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (home / "badkeysdata.json").write_text(json.dumps({"blocklists": [{"id": 7, "name": "seven"}]}))
    key = pki.make_key("ec")
    (home / "blocklist.dat").write_bytes(records((number_of(key), 7), (b"another", 9)))
    assert blocklist(int.from_bytes(number_of(key), "big"))["subtest"] == "seven"
    ask = open_blocklist(home / "blocklist.dat")
    assert [ask(trace) for trace in traces_of(key.public_key())] == [None, "blocklist.dat, collection 7"]


def test_a_list_in_text_names_keys_and_certificates_by_their_hashes(pki: Pki, around, tmp_path):
    one, other = pki.leaf().bundle(), pki.leaf().bundle()
    path = tmp_path / "shared.txt"
    pairs = ":".join(one.fingerprint[i : i + 2] for i in range(0, 64, 2)).upper()
    path.write_text(
        f"# default certificates\n\n{pairs}  routers of ACME, all of them\n{other.spki} # leaked\n"
    )
    assert surrounded(one, around, path).certificate_listed == "shared.txt: routers of ACME, all of them"
    assert surrounded(one, around, path).key_listed == ""
    assert surrounded(other, around, path).key_listed == "shared.txt"


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("odd.dat", b"x" * 17, "multiple of 16"),
        ("empty.dat", b"", "empty"),
        ("words.txt", b"this is no hash\n", "line 1"),
        ("binary.txt", b"\xff\xfe", "utf-8"),
        ("huge.txt", b"#" * (LARGEST_TEXT + 1), "larger"),
        ("absent.dat", None, "no such file"),
        ("folder.txt", None, "no file"),
    ],
)
def test_a_list_that_cant_be_read_is_noted_and_the_others_count(pki, around, tmp_path, name, content, why):
    bad, good = tmp_path / name, tmp_path / "good.txt"
    if content is not None:
        bad.write_bytes(content)
    elif name == "folder.txt":
        bad.mkdir()
    bundle = pki.leaf().bundle()
    good.write_text(bundle.spki)
    found = check(bundle, surrounded(bundle, around, bad, good))
    assert [f.code for f in found] == [
        "key_leaked",
        "list_unread",
        "list_unread",
    ]  # the roots are nowhere, too
    assert why in found[1].words
    assert str(bad) in found[1].words


def test_a_known_root_ends_the_chain_and_a_namesake_does_not(pki: Pki, around, tmp_path):
    bundle = pki.leaf().bundle()
    roots = tmp_path / "roots.pem"

    def anchor(content: bytes) -> Anchor:
        roots.write_bytes(content)
        return surrounded(bundle, around, roots=str(roots)).anchor

    junk = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    assert anchor(junk + pki.root_pem) is Anchor.KNOWN
    assert anchor(Pki().root_pem) is Anchor.UNKNOWN
    assert anchor(junk) is Anchor.UNASKED
    assert NOTHING.surround(bundle.leaf, bundle.chain, around).anchor is Anchor.UNASKED


def test_the_names_that_clients_use_come_with_the_reference_unless_somebody_names_others(pki, around):
    bundle = pki.leaf().bundle()
    reference = Reference.open(Comparison("/nowhere", (), ("pump.test",)))
    assert reference.surround(bundle.leaf, (), around).reached_by == ("pump.test",)
    asked = Circumstances(around.now, clock_plausible=True, reached_by=("asked.test",))
    assert reference.surround(bundle.leaf, (), asked).reached_by == ("asked.test",)


def test_an_import_is_told_what_lists_say_and_that_its_key_is_here_already(pki: Pki, now, tmp_path):
    issued = pki.leaf(("mail.test",))
    again = pki.leaf(("device.test",), key=issued.key)
    path = tmp_path / "leaked.txt"
    path.write_text(again.bundle().spki)
    reference = Reference.open(Comparison("/nowhere", (str(path),)))
    with Store.open(tmp_path / "store", clock=Clock(now)) as store:

        def put(one):
            examiner = InProcess(OpenGate(), reference)
            return store.propose(candidate_of(one), source=Source.CUSTOMER, via="test", examiner=examiner)

        assert put(issued).codes == ("key_leaked", "list_unread")
        assert put(again).codes == ("key_leaked", "key_known_elsewhere", "list_unread")
        assert put(pki.leaf(("mail.test",), key=issued.key)).codes == (
            ("key_leaked", "key_known_elsewhere", "list_unread")
        )


def test_keys_that_are_no_numbers_have_one_trace():
    assert len(traces_of(ed25519.Ed25519PrivateKey.generate().public_key())) == 2
