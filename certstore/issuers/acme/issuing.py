"""The issuer: certificates and accounts of ACME authorities, from asking to holding them; the room's door.

    issuer = Issuer(root, disk, Surroundings(clock, random.random))
    issuer.load()
    await issuer.register(server, terms_agreed=True)
    issued = await issuer.issue(server, Wish(("device.example",)), {Challenge.HTTP_01: workers}, tell)
    store.propose(issued.candidate(), source=Source.ACME, ...)
    await issuer.taken(issued)

Promises: whatever goes wrong comes out as AcmeError (the authority, the way to it) or StoreError (the disk);
what is under way goes on after a crash at any point, with the same key and order; a finished certificate
stays until it is `taken`. One task at a time talks to each authority for one account; others wait. Refuses to
know when a certificate is due, how often is tried, and the slots: whoever holds the store proposes what came.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import trio
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certstore import firstboot
from certstore.atomic import Disk
from certstore.bundle import PrivateKey, spki_of
from certstore.errors import RandomNotReady, StoreCorrupt
from certstore.findings import Finding, found
from certstore.issuers import csr
from certstore.issuers.acme.accounting import Accounting
from certstore.issuers.acme.accounts import Account, Accounts
from certstore.issuers.acme.chains import Chain
from certstore.issuers.acme.client import Client
from certstore.issuers.acme.errors import AcmeError
from certstore.issuers.acme.jws import Signer, b64url
from certstore.issuers.acme.messages import Directory
from certstore.issuers.acme.ordering import KEPT, OrderRecord, Orders
from certstore.issuers.acme.pursuit import OrderGone, Pursuit, Wanting
from certstore.issuers.acme.renewalinfo import LATEST, SOONEST, UNSAID, RenewalInfo, certificate_id
from certstore.issuers.acme.surroundings import Surroundings
from certstore.issuers.acme.wishes import Answerers, Binding, Issued, Progress, Server, Step, Tell, Wish
from certstore.issuers.csr import Wanted

__all__ = ["Account", "Directory", "Issuer", "RenewalInfo", "Surroundings"]

# A finished certificate that nobody took for a third of its life is no answer to a new wish any more.
_FRESH: Final = 1 / 3


def _untold(progress: Progress) -> None:
    """Tell nobody."""


class Issuer:
    """All that is asked of ACME authorities. Async methods raise AcmeError and StoreError."""

    def __init__(self, root: Path, disk: Disk, surroundings: Surroundings) -> None:
        """Take the store's folder, whose lock the caller holds; `load` comes before anything else."""
        self._accounts, self._orders = Accounts(root, disk), Orders(root, disk)
        self._surroundings = surroundings
        self._locks: dict[str, trio.Lock] = {}

    def load(self) -> tuple[Finding, ...]:
        """Read accounts and orders from the disk; tells what can't be read. Again after a reset."""
        damaged = (*self._accounts.load(), *self._orders.load())
        return tuple(found("acme_account_damaged", why=error) for error in damaged)

    @property
    def accounts(self) -> Mapping[str, Account]:
        """All accounts, by id."""
        return self._accounts.table

    @property
    def orders(self) -> Mapping[str, OrderRecord]:
        """All orders that are under way, or wait to be taken, by id."""
        return self._orders.table

    def account(self, directory: str) -> Account | None:
        """Give the account at this directory, if there is one."""
        return self._accounts.at(directory)

    async def directory(self, server: Server) -> Directory:
        """Ask what the authority offers; no account is needed."""
        async with Client(server, self._surroundings) as client:
            return await client.directory()

    async def register(
        self,
        server: Server,
        *,
        contacts: Sequence[str] = (),
        terms_agreed: bool = False,
        binding: Binding | None = None,
    ) -> Account:
        """Find this device's account there, or make one; idempotent, and killed anywhere safe to repeat.

        contacts: mail addresses without "mailto:". Among others AcmeError `acme_terms_unagreed`,
        `acme_binding_needed`, `acme_binding_refused`, and StoreError `random_not_ready`.
        """
        async with self._talk(server) as client:
            accounting = Accounting(client, self._accounts, self._surroundings)
            return await accounting.register(server, contacts, terms_agreed=terms_agreed, binding=binding)

    async def issue(self, server: Server, wish: Wish, answerers: Answerers, tell: Tell = _untold) -> Issued:
        """Bring an order for this wish to its end: a new one, or the one that the disk remembers.

        Cancellable anywhere, as it may be killed anywhere: the next call goes on. Waits a quarter of an hour
        for the authority's look, and as long for the certificate; then AcmeError `acme_order_stuck`, and the
        next call goes on as well. ValueError for names that can't stand in a certificate. A wish should say
        what it `replaces`, also where the authority won't be told: so a certificate that came already, and
        that nobody took, isn't mistaken for its own successor.
        """
        names = Wanted(wish.names, wish.key_type).names
        async with self._talk(server) as client:
            tell(Progress(Step.ACCOUNT, names))
            if (ready := await self._finished(server, wish, names)) is not None:
                return ready
            accounting = Accounting(client, self._accounts, self._surroundings)
            account, signer = await accounting.find(server)
            await self._check_profile(client, wish)
            record = self._under_way(account, wish, names)
            for _ in range(2):  # one that was remembered and is over there is followed by a new one, once
                if record is None:
                    record = await self._begin(account, wish, names)
                wanting = Wanting(wish, answerers, tell)
                pursuit = Pursuit(client, signer, self._orders, self._surroundings, wanting)
                try:
                    return self._issued(await pursuit.run(record))
                except OrderGone:
                    record = None
            raise AssertionError("a new order isn't one that was remembered")

    async def taken(self, issued: Issued) -> None:
        """Forget an order whose certificate the store has, or has refused."""
        await self._remove(issued.order)

    def left_of(self, certificate: x509.Certificate) -> Issued | None:
        """Give what this certificate came of, where that lies here still: nobody came to say it was taken."""
        for record in self._orders.table.values():
            if record.has_chain:
                with suppress(StoreCorrupt, ValueError):
                    issued = self._issued(record)
                    if issued.leaf == certificate:
                        return issued
        return None

    async def forget(self, servers: Iterable[Server] = (), keep: Sequence[Wish] = ()) -> None:
        """Forget all orders, with their keys, but those of these wishes there that may go on."""
        accounts = [self._accounts.at(server.directory) for server in servers]
        kept = [(wish, Wanted(wish.names, wish.key_type).names) for wish in keep]
        for record in tuple(self._orders.table.values()):
            is_kept = any(
                account is not None and _is_for(record, account, wish, names)
                for account in accounts
                for wish, names in kept
            )
            if not is_kept or self._is_stale(record):
                await self._remove(record.id)

    async def renewal_info(self, server: Server, certificate: x509.Certificate) -> RenewalInfo | None:
        """Ask when to renew (RFC 9773; no account is needed); None where the authority doesn't say."""
        known_by = certificate_id(certificate)
        async with Client(server, self._surroundings) as client:
            base = (await client.directory()).renewal_info
            if base is None or known_by is None:
                return None
            reply = await client.get(f"{base.rstrip('/')}/{known_by}")
            now = self._surroundings.clock()
            wait = UNSAID if reply.retry_at is None else reply.retry_at - now
            try:
                return RenewalInfo.read(reply.body, now + max(SOONEST, min(wait, LATEST)))
            except ValueError as error:
                raise client.strange(error) from error

    async def revoke(
        self,
        server: Server,
        certificate: x509.Certificate,
        *,
        key: PrivateKey | None = None,
        reason: int = 0,
    ) -> None:
        """Revoke by the account, or by the certificate's own `key`; one that is revoked already is done.

        reason: a code of RFC 5280 section 5.3.1: 0 none, 1 the key is known to others, 4 superseded.
        """
        async with self._talk(server) as client:
            url = (await client.directory()).revoke
            if url is None:
                raise client.strange("it revokes nothing")
            if key is None:
                _, signer = await Accounting(client, self._accounts, self._surroundings).find(server)
            else:
                signer = Signer.of(key)
            payload = {"certificate": b64url(certificate.public_bytes(Encoding.DER)), "reason": reason}
            try:
                await client.post(url, payload, signer)
            except AcmeError as error:
                if error.kind != "alreadyRevoked":
                    raise

    async def roll_over(self, server: Server) -> Account:
        """Give the account a new key; killed anywhere, the next request finds out which one is known."""
        async with self._talk(server) as client:
            return await Accounting(client, self._accounts, self._surroundings).roll_over(server)

    async def deactivate(self, server: Server) -> None:
        """End the account at the authority, and forget it here with its key and orders."""
        async with self._talk(server) as client:
            account = self._accounts.at(server.directory)
            await Accounting(client, self._accounts, self._surroundings).deactivate(server)
            for record in tuple(self._orders.table.values()):
                if account is not None and record.account == account.id:
                    await self._remove(record.id)

    # --- records ---

    async def _finished(self, server: Server, wish: Wish, names: tuple[str, ...]) -> Issued | None:
        """Give what came already for this wish and wasn't taken; without a word to the authority."""
        account = self._accounts.at(server.directory)
        for record in tuple(self._orders.table.values()):
            is_it = account is not None and _is_for(record, account, wish, names)
            if is_it and record.has_chain:
                try:
                    issued = self._issued(record)
                except (StoreCorrupt, ValueError):
                    issued = None
                if issued is not None and self._is_fresh(issued, record, wish):
                    return issued
                await self._remove(record.id)
        return None

    def _is_fresh(self, issued: Issued, record: OrderRecord, wish: Wish) -> bool:
        begin, end = issued.leaf.not_valid_before_utc, issued.leaf.not_valid_after_utc
        is_new = self._surroundings.clock() < begin + (end - begin) * _FRESH
        return is_new and record.replaces == wish.replaces != certificate_id(issued.leaf)

    def _under_way(self, account: Account, wish: Wish, names: tuple[str, ...]) -> OrderRecord | None:
        return next(
            (
                record
                for record in self._orders.table.values()
                if _is_for(record, account, wish, names) and not self._is_stale(record)
            ),
            None,
        )

    def _is_stale(self, record: OrderRecord) -> bool:
        """Say whether it can't go on: too old, or its key is damaged."""
        try:
            self._orders.key(record)
        except StoreCorrupt:
            return True
        return record.made_at <= self._surroundings.clock() - KEPT

    async def _begin(self, account: Account, wish: Wish, names: tuple[str, ...]) -> OrderRecord:
        """Make the key, and write what is wanted with it; before the authority hears of either."""
        if wish.same_key is None and not firstboot.random_ready():
            raise RandomNotReady
        offload = self._surroundings.offload
        same = wish.same_key
        key: PrivateKey = await offload(lambda: csr.new_key(wish.key_type)) if same is None else same
        record = OrderRecord(
            id="",
            account=account.id,
            names=names,
            key_type=wish.key_type,
            profile=wish.profile,
            replaces=wish.replaces,
            spki=spki_of(key.public_key()),
            made_at=self._surroundings.clock(),
        )
        return await offload(lambda: self._orders.add(record, key))

    async def _remove(self, order: str) -> None:
        await self._surroundings.offload(lambda: self._orders.remove(order))

    def _issued(self, record: OrderRecord) -> Issued:
        key, pem = self._orders.key(record), self._orders.chain(record)
        leaf = Chain.read(pem, record.spki, record.names).leaf
        return Issued(record.id, record.account, record.names, leaf, pem, key, replaced=record.replaced)

    @staticmethod
    async def _check_profile(client: Client, wish: Wish) -> None:
        """Ask only for a profile that is listed: an authority that knows none passes over it in silence."""
        profiles = (await client.directory()).profiles
        if wish.profile is not None and wish.profile not in profiles:
            facts = {"host": client.host, "profile": wish.profile, "profiles": ", ".join(profiles) or "none"}
            raise AcmeError.lasting("acme_profile_unknown", **facts)

    @asynccontextmanager
    async def _talk(self, server: Server) -> AsyncIterator[Client]:
        """Talk to an authority as the only one: no key changes under an order's feet."""
        lock = self._locks.setdefault(server.directory, trio.Lock())
        async with lock, Client(server, self._surroundings) as client:
            yield client


def _is_for(record: OrderRecord, account: Account, wish: Wish, names: tuple[str, ...]) -> bool:
    wanted = (account.id, names, wish.key_type, wish.profile)
    if (record.account, record.names, record.key_type, record.profile) != wanted:
        return False
    return wish.same_key is None or spki_of(wish.same_key.public_key()) == record.spki
