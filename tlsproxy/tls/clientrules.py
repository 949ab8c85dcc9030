"""Which rule a name has, and whom a rule lets in: pure, of names and of what a certificate says.

Promises: a name has one rule, whoever asks: the exact name before the wildcard before the rule for all
others, and each of these for this port before that for every port. A pattern lets in what it says and nothing
more; one that can't be understood is refused when the configuration is read. Refuses to know TLS and who
verified the certificate: what isn't verified must not get here.

Patterns: `subject:CN=pump-7,O=Plant` (RFC 4514, the whole name), `cn:`, `o:`, `ou:` (one of the subject's),
`dns:pump-7.plant.example` or `dns:*.plant.example` (one label), `email:`, `uri:`, `spiffe://plant/line/3`
or `spiffe://plant/line/*` (whatever lies below), `cert:` and `spki:` (SHA-256 in hex).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID

from certstore import covers, normalise
from tlsproxy.policy_clients import ClientAuth

__all__ = ["Rules", "Shown", "is_let_in", "parse_pattern", "spiffe_id"]

_HASH: Final = re.compile(r"[0-9a-f]{64}")
# SPIFFE-ID section 2: no upper case in the trust domain; no empty, "." or ".." segment, no escapes, no query.
_SPIFFE: Final = re.compile(r"spiffe://([a-z0-9._-]{1,255})((?:/[A-Za-z0-9._-]+)*)")
_SPIFFE_MOST: Final = 2048
_ATTRIBUTES: Final = {
    "cn": NameOID.COMMON_NAME,
    "o": NameOID.ORGANIZATION_NAME,
    "ou": NameOID.ORGANIZATIONAL_UNIT_NAME,
}


@dataclass(frozen=True, slots=True)
class Shown:
    """What a client's verified certificate says; hashes in lower hex, names as they stand there.

    signs: whether it may sign certificates or revocation lists itself.
    """

    subject: x509.Name
    dns: tuple[str, ...]
    emails: tuple[str, ...]
    uris: tuple[str, ...]
    certificate: str
    spki: str
    signs: bool = False

    @property
    def spiffe(self) -> str:
        """Its SPIFFE id; "" for none.

        Who may sign has none, nor whose certificate has several URIs, or one without a path (X509-SVID
        section 5.2).
        """
        if self.signs or len(self.uris) != 1:
            return ""
        read = spiffe_id(self.uris[0])
        return self.uris[0] if read is not None and read[1] else ""


Test = Callable[[Shown], bool]


def spiffe_id(text: str) -> tuple[str, str] | None:
    """Give the trust domain and the path of a SPIFFE id; None for what is none."""
    match = _SPIFFE.fullmatch(text) if len(text) <= _SPIFFE_MOST else None
    if match is None or any(segment in {".", ".."} for segment in match[2].split("/")):
        return None
    return match[1], match[2]


def parse_pattern(text: str) -> Test:
    """Read one pattern. Raises ValueError with words for a person."""
    kind, colon, value = text.partition(":")
    if text.startswith("spiffe://"):
        return _spiffe(text)
    if not colon or not value or kind not in _KINDS:
        known = ", ".join(f"{one}:" for one in _KINDS)
        raise ValueError(f"{text!r} doesn't begin like a pattern: {known}, spiffe://")
    return _KINDS[kind](value)


def is_let_in(tests: Iterable[Test], shown: Shown) -> bool:
    """Whether one of them says so; without any, whoever was verified is."""
    tests = tuple(tests)
    return not tests or any(test(shown) for test in tests)


def _spiffe(text: str) -> Test:
    below = text.endswith("/*")
    wanted = spiffe_id(text.removesuffix("/*"))
    if wanted is None:
        raise ValueError(f"{text!r} is no SPIFFE id, as in spiffe://plant.example/line/3 or .../*")
    domain, path = wanted
    if not path and not below:
        raise ValueError(f"{text!r} is no client's SPIFFE id: those have a path; {text}/* is for all of them")

    def test(shown: Shown) -> bool:
        given = spiffe_id(shown.spiffe)
        if given is None or given[0] != domain:
            return False
        return given[1].startswith(path + "/") if below else given[1] == path

    return test


def _subject(value: str) -> Test:
    try:
        wanted = x509.Name.from_rfc4514_string(value)
    except ValueError:
        raise ValueError(f"{value!r} is no distinguished name, as in CN=pump-7,O=Plant") from None
    return lambda shown: _plain(shown.subject) == _plain(wanted)


def _plain(name: x509.Name) -> list[frozenset[tuple[str, object]]]:
    """Take a name without the string types of its attributes, which say nothing."""
    return [frozenset((one.oid.dotted_string, one.value) for one in rdn) for rdn in name.rdns]


def _attribute(kind: str) -> Callable[[str], Test]:
    def parse(value: str) -> Test:
        oid = _ATTRIBUTES[kind]
        return lambda shown: any(one.value == value for one in shown.subject.get_attributes_for_oid(oid))

    return parse


def _dns(value: str) -> Test:
    try:
        pattern = normalise(value)
    except ValueError as error:
        raise ValueError(f"{value!r} is no name: {error}") from None
    return lambda shown: any(pattern == name or covers(pattern, name) for name in _hosts(shown.dns))


def _hosts(names: Iterable[str]) -> Iterable[str]:
    """Give the names that can be compared; a wildcard in a client's certificate names nobody."""
    for name in names:
        try:
            host = normalise(name)
        except ValueError:
            continue
        if not host.startswith("*."):
            yield host


def _email(value: str) -> Test:
    if value.count("@") != 1 or value.startswith("@") or value.endswith("@"):
        raise ValueError(f"{value!r} is no address, as in pump@plant.example")
    wanted = _mailbox(value)
    return lambda shown: any(_mailbox(one) == wanted for one in shown.emails)


def _mailbox(address: str) -> tuple[str, str]:
    local, _, host = address.rpartition("@")
    return local, host.lower()  # RFC 5280 section 7.5


def _uri(value: str) -> Test:
    if value.lower().startswith("spiffe:"):
        raise ValueError(f"{value!r} is a SPIFFE id, which counts by rules of its own: leave out uri:")
    return lambda shown: value in shown.uris


def _hashed(value: str) -> str:
    plain = value.lower().replace(":", "")
    if not _HASH.fullmatch(plain):
        raise ValueError(f"{value!r} is no SHA-256 in hex")
    return plain


def _certificate(value: str) -> Test:
    wanted = _hashed(value)
    return lambda shown: shown.certificate == wanted


def _spki(value: str) -> Test:
    wanted = _hashed(value)
    return lambda shown: shown.spki == wanted


_KINDS: Final[dict[str, Callable[[str], Test]]] = {
    "subject": _subject,
    **{kind: _attribute(kind) for kind in _ATTRIBUTES},
    "dns": _dns,
    "email": _email,
    "uri": _uri,
    "cert": _certificate,
    "spki": _spki,
}


class Rules:
    """All rules of a configuration. `choose` is asked in each handshake, and for each new Host."""

    __slots__ = ("_others", "_wildcards", "every", "name_some")

    def __init__(self, rules: Iterable[ClientAuth]) -> None:
        self.every = tuple(rules)
        self.name_some = any(rule.names for rule in self.every if rule.asks)
        """Whether some names ask for a certificate, and not all alike."""
        self._others: dict[tuple[str, int], ClientAuth] = {}
        self._wildcards: dict[tuple[str, int], ClientAuth] = {}
        for rule in self.every:
            for name in rule.names or ("",):
                table = self._wildcards if name.startswith("*.") else self._others
                for port in rule.ports or (0,):
                    table.setdefault((name.removeprefix("*."), port), rule)

    def choose(self, name: str | None, port: int) -> ClientAuth | None:
        """Give the rule for a host name or an address in canonical text (None: neither); None for none."""
        others, name = self._others, name or ""
        keys = [(others, name)] if name else []
        if "." in name:
            keys.append((self._wildcards, name.partition(".")[2]))
        for table, key in (*keys, (others, "")):
            rule = table.get((key, port)) or table.get((key, 0))
            if rule is not None:
                return rule if rule.asks else None
        return None
