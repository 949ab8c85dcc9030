"""The enrolment: which certificate this device is to have of an ACME authority, and how its renewal goes.

    authority/accounts/enrolment.json    what a person has asked for
    authority/accounts/renewal.json      when the next is due, and what came of the last tries
    authority/accounts/declined.json     a person wants none, whatever the configuration says

Promises: all are whole on the disk at any moment, so that a device goes on after a reboot as it was; a reset
of what is the customer's takes them along with the accounts. No key of a certificate is in them; one that
lets us change records at a name server may be, for the service's user alone. Refuses to know when
something is due (schedule.py), and who acts on it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from certstore import layout, records
from certstore.atomic import Disk
from certstore.errors import StoreCorrupt
from certstore.issuers.acme.acmednsaccount import VALUES, AcmeDnsAccount
from certstore.issuers.acme.challenges import Challenge
from certstore.issuers.acme.folders import why_unreadable
from certstore.issuers.acme.nameserver import NameServer
from certstore.issuers.acme.wishes import Server, http_proxy
from certstore.issuers.csr import KeyType, Wanted
from certstore.names import is_address
from certstore.reading import read_file

__all__ = ["Enrolment", "Enrolments", "Fallback", "Renewal"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Fallback:
    """Another authority; as in `Enrolment`."""

    directory: str
    ca_pem: str = ""


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What is wanted, and of whom. `names` come out normalised; ValueError for one that can't be had.

    ca_pem: roots to trust for the authority's own TLS beside the system's; "" for none. fallback: whom to ask
    where that one fails again and again. keeps_key: renew with the key that is there, which somebody has
    pinned. pauses: ask for nothing while a customer's certificate has all the names. name_server: who takes
    the proofs of dns-01; acme_dns: an account for them. Without either a command of the device's maker sets
    them. is_configured: the configuration wants it, and not a person. proxy: of an HTTP proxy by which all of
    them are asked, the URL, which may hold a password; "" for none. beside: the RSA key of a second
    certificate for the same names, to be served beside the first, whose key is EC.
    """

    directory: str
    names: tuple[str, ...]
    challenge: Challenge
    key_type: KeyType
    profile: str | None
    preferred_chain: str | None
    ca_pem: str
    since: datetime
    fallback: Fallback | None = None
    keeps_key: bool = False
    pauses: bool = False
    name_server: NameServer | None = None
    is_configured: bool = False
    acme_dns: AcmeDnsAccount | None = None
    proxy: str = field(default="", repr=False)
    beside: KeyType | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", Wanted(self.names, self.key_type).names)
        self._check_records()
        if self.beside is not None and (self.key_type.is_rsa or not self.beside.is_rsa):
            raise ValueError(f"an RSA key stands beside an EC one, not {self.beside} beside {self.key_type}")
        if self.proxy:
            http_proxy(self.proxy)
        by_dns = self.challenge in {Challenge.DNS_01, Challenge.DNS_PERSIST_01}
        wrong = next(
            (one for one in self.names if (is_address(one) if by_dns else one.startswith("*."))), None
        )
        if wrong is not None:
            fit = "http-01 or tls-alpn-01" if is_address(wrong) else "dns-01 or dns-persist-01"
            raise ValueError(f"{wrong} can't be proved by {self.challenge}, but by {fit}")
        if self.fallback is not None and self.fallback.directory == self.directory:
            raise ValueError("the fallback is the same authority")

    def _check_records(self) -> None:
        if self.name_server is None and self.acme_dns is None:
            return
        if self.challenge is not Challenge.DNS_01:
            raise ValueError("a name server or an acme-dns account is for dns-01")
        if self.name_server is not None and self.acme_dns is not None:
            raise ValueError("records are set by a name server or by acme-dns, not by both")
        if self.acme_dns is not None and len(self.names) > VALUES:
            raise ValueError(
                f"an acme-dns account has {VALUES} records at a time: name no more than {VALUES}"
            )

    @property
    def key_types(self) -> tuple[KeyType, ...]:
        """The key of each certificate that is wanted: one, or the EC and the RSA one."""
        return (self.key_type,) if self.beside is None else (self.key_type, self.beside)

    @property
    def is_by_hook(self) -> bool:
        """Whether a command of the device's maker sets the records that prove it."""
        return self.challenge is Challenge.DNS_01 and self.name_server is None and self.acme_dns is None

    @property
    def servers(self) -> tuple[Server, ...]:
        """The authorities, as the client takes them; the first is asked first."""
        first = self._server(self.directory, self.ca_pem)
        other = self.fallback
        return (first,) if other is None else (first, self._server(other.directory, other.ca_pem))

    def _server(self, url: str, ca_pem: str) -> Server:
        return Server(url, ca_pem.encode("ascii"), proxy=self.proxy or None)

    @property
    def records_server(self) -> Server | None:
        """The acme-dns server and the way to it; None where there is none."""
        return self._server(self.acme_dns.url, self.ca_pem) if self.acme_dns is not None else None

    def server_at(self, directory: str) -> Server:
        """Give the authority with this directory; the first where none has it."""
        return next((one for one in self.servers if one.directory == directory), self.servers[0])

    def to_json(self) -> dict[str, object]:
        """Turn this into what `from_json` reads."""
        return {
            "directory": self.directory,
            "names": list(self.names),
            "challenge": str(self.challenge),
            "key_type": str(self.key_type),
            "profile": self.profile,
            "preferred_chain": self.preferred_chain,
            "ca_pem": self.ca_pem,
            "since": records.moment_text(self.since),
            "fallback": self.fallback
            and {"directory": self.fallback.directory, "ca_pem": self.fallback.ca_pem},
            "keeps_key": self.keeps_key,
            "pauses": self.pauses,
            "name_server": self.name_server and self.name_server.to_json(),
            "is_configured": self.is_configured,
            "acme_dns": self.acme_dns and self.acme_dns.to_json(),
            "proxy": self.proxy,
            "beside": self.beside and str(self.beside),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Enrolment:
        """Read what `to_json` made, in this version or the first; ValueError for anything else."""
        later = {"fallback": None, "keeps_key": False, "pauses": False, "name_server": None}
        data = {**later, "is_configured": False, "acme_dns": None, "proxy": "", "beside": None, **data}
        return cls(
            directory=records.text(data, "directory"),
            names=records.texts(data, "names"),
            challenge=Challenge(records.text(data, "challenge")),
            key_type=KeyType(records.text(data, "key_type")),
            profile=records.optional(records.text, data, "profile"),
            preferred_chain=records.optional(records.text, data, "preferred_chain"),
            ca_pem=records.text(data, "ca_pem"),
            since=records.moment(data, "since"),
            fallback=records.optional(_fallback, data, "fallback"),
            keeps_key=records.flag(data, "keeps_key"),
            pauses=records.flag(data, "pauses"),
            name_server=records.optional(_name_server, data, "name_server"),
            is_configured=records.flag(data, "is_configured"),
            acme_dns=records.optional(_acme_dns, data, "acme_dns"),
            proxy=records.text(data, "proxy"),
            beside=records.optional(_key_type, data, "beside"),
        )


@dataclass(frozen=True, slots=True)
class Renewal:
    """How it goes. bundle: the certificate that the times are for, by its id; None before the first.

    Of two it is the EC one, and `beside` the other; the times are for both. lacking: of two the one that is
    wanted still, or wanted anew, while the other has come; the times are for that one alone then. renew_at: a
    point chosen once, so that a reboot doesn't choose anew. ask_at: when to ask the authority again what it
    suggests (RFC 9773). failures: in a row; recent: when the last few were; code, words, hint: of the last
    one; next_at: no try before. authority: the directory of whom the last certificate came from;
    beside_authority: the same for `beside`; barred: until when authorities have said that they won't listen,
    by directory. is_asked: somebody wants one at once, whatever is due, until it has come.
    """

    bundle: str | None = None
    renew_at: datetime | None = None
    ask_at: datetime | None = None
    failures: int = 0
    next_at: datetime | None = None
    code: str = ""
    words: str = ""
    hint: str = ""
    recent: tuple[datetime, ...] = ()
    authority: str = ""
    barred: Mapping[str, datetime] = field(default_factory=dict)
    is_asked: bool = False
    beside: str | None = None
    lacking: KeyType | None = None
    beside_authority: str = ""

    @property
    def ids(self) -> tuple[str, ...]:
        """All that there were, when this was written."""
        return tuple(one for one in (self.bundle, self.beside) if one is not None)

    def authority_of(self, bundle: str) -> str:
        """Give the directory of whom this one came from; "" where nobody knows."""
        return (bundle == self.beside and self.beside_authority) or self.authority

    def whole(self) -> Renewal:
        """Give how it goes when both of two are wanted again: what the lacking one failed by says no more."""
        return self if self.lacking is None else replace(self, lacking=None, failures=0)

    def to_json(self) -> dict[str, object]:
        """Turn this into what `from_json` reads."""
        return {
            "bundle": self.bundle,
            "beside": self.beside,
            "lacking": self.lacking and str(self.lacking),
            **{name: at and records.moment_text(at) for name, at in self._times().items()},
            "failures": self.failures,
            "code": self.code,
            "words": self.words,
            "hint": self.hint,
            "recent": [records.moment_text(at) for at in self.recent],
            "authority": self.authority,
            "beside_authority": self.beside_authority,
            "barred": {one: records.moment_text(at) for one, at in self.barred.items()},
            "is_asked": self.is_asked,
        }

    def _times(self) -> dict[str, datetime | None]:
        return {"renew_at": self.renew_at, "ask_at": self.ask_at, "next_at": self.next_at}

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Renewal:
        """Read what `to_json` made, in this version or the first; ValueError for anything else."""
        data = {"recent": [], "authority": "", "barred": {}, "is_asked": False, **data}
        data = {"beside": None, "lacking": None, "beside_authority": "", **data}
        barred = records.item(data, "barred")
        return cls(
            bundle=records.optional(records.bundle_id, data, "bundle"),
            beside=records.optional(records.bundle_id, data, "beside"),
            lacking=records.optional(_key_type, data, "lacking"),
            renew_at=records.optional(records.moment, data, "renew_at"),
            ask_at=records.optional(records.moment, data, "ask_at"),
            failures=records.number(data, "failures"),
            next_at=records.optional(records.moment, data, "next_at"),
            code=records.text(data, "code"),
            words=records.text(data, "words"),
            hint=records.text(data, "hint"),
            recent=tuple(map(records.parse_moment, records.texts(data, "recent"))),
            authority=records.text(data, "authority"),
            beside_authority=records.text(data, "beside_authority"),
            barred={directory: records.moment(barred, directory) for directory in barred},
            is_asked=records.flag(data, "is_asked"),
        )


class Enrolments:
    """Both files. `load` comes before anything else; what changes something raises StoreError."""

    def __init__(self, root: Path, disk: Disk) -> None:
        """Take the store's folder, whose lock the caller holds."""
        self._root, self._disk = root, disk
        self.enrolment: Enrolment | None = None
        self.renewal = Renewal()
        self.is_declined = False
        """Whether a person has said that none is wanted, since the last time that one was."""

    @property
    def is_erased(self) -> bool:
        """Whether that a person wants none was erased since: so was all else, by a reset."""
        return self.is_declined and not (self._root / layout.DECLINED).exists()

    def load(self) -> tuple[StoreCorrupt, ...]:
        """Read both; gives what can't be read. A renewal begins anew then; nothing is wanted."""
        damaged = list[StoreCorrupt]()
        self.enrolment, self.renewal = None, Renewal()
        try:
            self.enrolment = _read(self._root / layout.ENROLMENT, Enrolment.from_json)
        except StoreCorrupt as error:
            damaged.append(error)
        try:
            self.renewal = _read(self._root / layout.RENEWAL, Renewal.from_json) or Renewal()
        except StoreCorrupt as error:
            damaged.append(error)
        self.is_declined = self.enrolment is None and (self._root / layout.DECLINED).exists()
        return tuple(damaged)

    def enrol(self, enrolment: Enrolment) -> None:
        """Want this from now on, and a certificate for it at once; what is wanted already goes on."""
        before = self.enrolment
        if before is not None and _is_alike(before, enrolment):
            if before.is_configured is not enrolment.is_configured:
                self._write(replace(before, is_configured=enrolment.is_configured))
            if self.renewal.failures or self.renewal.is_asked:
                self.ask()
            return
        # the renewal first: a crash in between has another one asked for, and loses nothing
        self.note(Renewal(is_asked=True))
        self._write(enrolment)
        if self.is_declined:
            self._disk.remove([self._root / layout.DECLINED])
            self.is_declined = False

    def _write(self, enrolment: Enrolment) -> None:
        self._disk.write(self._root / layout.ENROLMENT, records.dump(enrolment.to_json()))
        self.enrolment = enrolment

    def ask(self) -> None:
        """Want the next one now, of two both, whatever is due, and whatever has failed."""
        self.note(replace(self.renewal.whole(), is_asked=True, next_at=None))

    def withdraw(self, *, is_declined: bool) -> None:
        """Want nothing any more; is_declined: since a person has said so."""
        if is_declined:
            self._disk.write(self._root / layout.DECLINED, records.dump({}))
            self.is_declined = True
        gone = (layout.ENROLMENT, layout.RENEWAL, layout.TERMS)
        self._disk.remove([self._root / one for one in gone])
        self.enrolment, self.renewal = None, Renewal()

    def note(self, renewal: Renewal) -> None:
        """Write down how it goes; in memory in any case."""
        if renewal != self.renewal:
            self.renewal = renewal
            self._disk.write(self._root / layout.RENEWAL, records.dump(renewal.to_json()))


def _is_alike(one: Enrolment, other: Enrolment) -> bool:
    """Say whether both want the same, whoever wants it, and since when."""
    return replace(one, since=other.since, is_configured=other.is_configured) == other


def _fallback(data: Mapping[str, object], key: str) -> Fallback:
    found = records.item(data, key)
    return Fallback(records.text(found, "directory"), records.text(found, "ca_pem"))


def _name_server(data: Mapping[str, object], key: str) -> NameServer:
    return NameServer.from_json(records.item(data, key))


def _key_type(data: Mapping[str, object], key: str) -> KeyType:
    return KeyType(records.text(data, key))


def _acme_dns(data: Mapping[str, object], key: str) -> AcmeDnsAccount:
    return AcmeDnsAccount.from_json(records.item(data, key))


def _read(path: Path, make: Callable[[Mapping[str, object]], T]) -> T | None:
    try:
        return make(records.load(read_file(path)))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StoreCorrupt(path, why_unreadable(error)) from error
