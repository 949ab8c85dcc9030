"""Accounts at authorities on the disk: `authority/accounts/<id>/{key.pem,account.json}`, one a directory.

Promises: a key lies only in its folder, for the supervisor alone, and stands in no repr; it is on the disk
before any authority hears of it, since some let a customer make one account only. While an account changes
its key, `next.pem` lies beside it: a crash leaves both, and the authority says which one it knows
(accounting.py). What can't be read is told, and left as it is.

`table` is swapped whole; everything that writes wants to be the only one who does.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from types import MappingProxyType

from cryptography.exceptions import UnsupportedAlgorithm

from certstore import layout, records
from certstore.atomic import Disk
from certstore.bundle import key_from_pem, key_to_pem
from certstore.errors import StoreCorrupt
from certstore.issuers.acme.folders import names_in, why_unreadable
from certstore.issuers.acme.jws import Signer, SigningKey, thumbprint
from certstore.reading import read_file

__all__ = ["Account", "Accounts"]


@dataclass(frozen=True, slots=True)
class Account:
    """An account at one authority; `url` is None until the authority has told that it made it.

    thumbprint: its key's (RFC 7638), as some hooks and a `dns-persist-01` record of an operator want to know.
    """

    id: str
    directory: str
    contacts: tuple[str, ...]
    made_at: datetime
    url: str | None = None
    binding: str | None = None
    """The key id that it was bound with to a customer of the authority's."""
    thumbprint: str = ""

    def to_json(self) -> dict[str, object]:
        """Turn this into what `from_json` reads; the thumbprint is the key's to tell."""
        return {
            "id": self.id,
            "directory": self.directory,
            "contacts": list(self.contacts),
            "made_at": records.moment_text(self.made_at),
            "url": self.url,
            "binding": self.binding,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Account:
        """Read what `to_json` made; ValueError for anything else."""
        return cls(
            id=records.text(data, "id"),
            directory=records.text(data, "directory"),
            contacts=records.texts(data, "contacts"),
            made_at=records.moment(data, "made_at"),
            url=records.optional(records.text, data, "url"),
            binding=records.optional(records.text, data, "binding"),
        )


class Accounts:
    """The folder `authority/accounts/`."""

    def __init__(self, root: Path, disk: Disk) -> None:
        """Take the store's folder; `load` comes before anything else."""
        self._root, self._disk = root, disk
        self.table: Mapping[str, Account] = MappingProxyType({})
        """By id."""

    def load(self) -> tuple[StoreCorrupt, ...]:
        """Read all; gives what was wrong with those that can't be read."""
        found, damaged = dict[str, Account](), list[StoreCorrupt]()
        for name in names_in(self._root / layout.ACCOUNTS):
            path = self._root / layout.account_folder(name) / layout.ACCOUNT
            try:
                account = Account.from_json(records.load(read_file(path)))
                if account.id != name:
                    raise ValueError("it lies in another account's place")  # noqa: TRY301  as all damage
                found[name] = replace(account, thumbprint=thumbprint(self.key(name).public_key()))
            except FileNotFoundError:
                continue  # removed since
            except StoreCorrupt as error:
                damaged.append(error)
            except (OSError, ValueError) as error:
                damaged.append(StoreCorrupt(path, why_unreadable(error)))
        self.table = MappingProxyType(found)
        return tuple(damaged)

    def at(self, directory: str) -> Account | None:
        """Give the account at this directory."""
        return next((one for one in self.table.values() if one.directory == directory), None)

    def key(self, id: str) -> SigningKey:  # noqa: A002  it is the account's id
        """Read an account's key. Raises StoreCorrupt."""
        return self._key(self._root / layout.account_folder(id) / layout.KEY)

    def next_key(self, id: str) -> SigningKey | None:  # noqa: A002
        """Read the key that is to take the other's place, if one was made. Raises StoreCorrupt."""
        path = self._root / layout.account_folder(id) / layout.NEXT_KEY
        return self._key(path) if path.exists() else None

    def add(self, account: Account, key: SigningKey) -> Account:
        """Write a new account with its key, whole or not at all; gives it with an id of its own."""
        while (id_ := secrets.token_hex(4)) in self.table:
            pass
        account = replace(account, id=id_, thumbprint=thumbprint(key.public_key()))
        content = {layout.KEY: key_to_pem(key), layout.ACCOUNT: records.dump(account.to_json())}
        self._disk.place_folder(self._root / layout.account_folder(id_), content)
        self._put(account)
        return account

    def note(self, account: Account) -> None:
        """Write what became known of an account."""
        self._write(account.id, layout.ACCOUNT, records.dump(account.to_json()))
        self._put(account)

    def prepare(self, id: str, key: SigningKey) -> None:  # noqa: A002
        """Write the key that is to take the other's place."""
        self._write(id, layout.NEXT_KEY, key_to_pem(key))

    def adopt(self, id: str) -> Account:  # noqa: A002
        """Put the next key in the other's place; a crash within leaves it there as well."""
        folder = self._root / layout.account_folder(id)
        if (key := self.next_key(id)) is not None:
            self._write(id, layout.KEY, key_to_pem(key))
            self._disk.remove([folder / layout.NEXT_KEY])
            self._put(replace(self.table[id], thumbprint=thumbprint(key.public_key())))
        return self.table[id]

    def drop_next(self, id: str) -> None:  # noqa: A002
        """Forget the next key: the authority never knew it."""
        self._disk.remove([self._root / layout.account_folder(id) / layout.NEXT_KEY])

    def remove(self, id: str) -> None:  # noqa: A002
        """Remove an account, key and all."""
        self._disk.remove_folder(self._root / layout.account_folder(id))
        self.table = MappingProxyType({known: one for known, one in self.table.items() if known != id})

    def _put(self, account: Account) -> None:
        self.table = MappingProxyType({**self.table, account.id: account})

    def _write(self, id: str, name: str, content: bytes) -> None:  # noqa: A002
        # aside where a start looks for leftovers; a folder that a reset took away meanwhile isn't made again
        place = self._root / layout.account_folder(id)
        self._disk.write(place / name, content, aside_in=self._root / layout.ACCOUNTS)

    def _key(self, path: Path) -> SigningKey:
        try:
            return Signer.of(key_from_pem(read_file(path))).key
        except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise StoreCorrupt(path, why_unreadable(error)) from error
