"""The life of an account at an authority: found or made, given a new key, ended (RFC 8555 section 7.3).

Promises: each step may be killed anywhere, and be done again. Refuses to know files (accounts.py), HTTP
(client.py), and what an account is for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from certstore import firstboot
from certstore.errors import RandomNotReady
from certstore.issuers.acme.accounts import Account, Accounts
from certstore.issuers.acme.client import Client
from certstore.issuers.acme.errors import AcmeError
from certstore.issuers.acme.jws import Signer, SigningKey, bind, new_key, roll
from certstore.issuers.acme.messages import Directory, account_status, https
from certstore.issuers.acme.problems import Asked
from certstore.issuers.acme.surroundings import Surroundings
from certstore.issuers.acme.wishes import Binding, Server

__all__ = ["Accounting"]


class Accounting:
    """Does what belongs to an account, in one conversation."""

    def __init__(self, client: Client, accounts: Accounts, surroundings: Surroundings) -> None:
        """Take the conversation, the disk's accounts, and the rest."""
        self._client, self._accounts, self._surroundings = client, accounts, surroundings

    async def find(self, server: Server) -> tuple[Account, Signer]:
        """Give the account at this authority, ready to sign. Raises AcmeError `acme_account_unknown`."""
        account = self._accounts.at(server.directory)
        if account is None or account.url is None:
            host = self._client.host
            raise AcmeError.lasting("acme_account_unknown", host=host, why="none was made")
        account = await self._settle(account)
        return account, Signer(self._accounts.key(account.id), account.url)

    async def register(
        self, server: Server, contacts: Sequence[str], *, terms_agreed: bool, binding: Binding | None
    ) -> Account:
        """Find the account at this authority, or make one; contacts that differ are changed there.

        One that the authority has forgotten, or has ended, is followed by a new one, with a key of its own.
        """
        directory = await self._client.directory()
        account = self._accounts.at(server.directory)
        if account is not None and account.url is not None:
            account = await self._still_there(await self._settle(account))
            if account is not None:
                return await self._change_contacts(account, tuple(contacts))
        if account is None:
            if not firstboot.random_ready():
                raise RandomNotReady
            self._check(directory, terms_agreed=terms_agreed, binding=binding)
            new = Account("", server.directory, tuple(contacts), self._surroundings.clock())
            new = replace(new, binding=binding.kid if binding else None)
            account = await self._surroundings.offload(lambda: self._accounts.add(new, new_key()))
        key = self._accounts.key(account.id)
        url = await self._known(key)
        if url is None:
            self._check(directory, terms_agreed=terms_agreed, binding=binding)
            url = await self._make(directory, key, contacts, binding)
        known = replace(account, url=url, contacts=tuple(contacts))
        await self._surroundings.offload(lambda: self._accounts.note(known))
        return known

    async def roll_over(self, server: Server) -> Account:
        """Give the account a new key (section 7.3.5): on the disk first, then at the authority."""
        account, signer = await self.find(server)
        directory, offload = await self._client.directory(), self._surroundings.offload
        if directory.key_change is None or account.url is None:
            raise self._client.strange("it changes no keys of accounts")
        if not firstboot.random_ready():
            raise RandomNotReady
        new, url = new_key(), directory.key_change
        await offload(lambda: self._accounts.prepare(account.id, new))
        try:
            await self._client.post(url, {**roll(signer.key, new, account.url, url)}, signer)
        except AcmeError as error:
            if error.is_lasting:  # it said no; anything else may have come through, and `find` asks
                await offload(lambda: self._accounts.drop_next(account.id))
            raise
        return await offload(lambda: self._accounts.adopt(account.id))

    async def deactivate(self, server: Server) -> None:
        """End the account there (section 7.3.6), and forget it here; gone already counts as done."""
        try:
            account, signer = await self.find(server)
            await self._client.post(str(account.url), {"status": "deactivated"}, signer)
        except AcmeError as error:
            if error.code not in {"acme_account_unknown", "acme_account_ended"}:
                raise
        gone = self._accounts.at(server.directory)
        if gone is not None:
            await self._surroundings.offload(lambda: self._accounts.remove(gone.id))

    async def _settle(self, account: Account) -> Account:
        """Find out which key the authority knows, where a crash came between two."""
        following = self._accounts.next_key(account.id)
        if following is None:
            return account
        if await self._known(following) == account.url:
            return await self._surroundings.offload(lambda: self._accounts.adopt(account.id))
        await self._surroundings.offload(lambda: self._accounts.drop_next(account.id))
        return account

    async def _still_there(self, account: Account) -> Account | None:
        """Ask the authority for an account that it once made; forget it here where it is over there."""
        try:
            url = await self._known(self._accounts.key(account.id))
        except AcmeError as error:
            if error.code != "acme_account_ended" and error.kind != "unauthorized":  # section 7.3.6
                raise
            url = None
        offload = self._surroundings.offload
        if url is None:
            await offload(lambda: self._accounts.remove(account.id))
            return None
        if url != account.url:  # it has moved
            account = replace(account, url=url)
            await offload(lambda: self._accounts.note(account))
        return account

    async def _known(self, key: SigningKey) -> str | None:
        """Ask for the URL of the account with this key (section 7.3.1); None if there is none."""
        directory = await self._client.directory()
        try:
            reply = await self._client.post(directory.new_account, {"onlyReturnExisting": True}, Signer(key))
        except AcmeError as error:
            if error.kind == "accountDoesNotExist":
                return None
            raise
        return self._url(reply.location, reply.body)

    async def _make(
        self, directory: Directory, key: SigningKey, contacts: Sequence[str], binding: Binding | None
    ) -> str:
        payload: dict[str, object] = {"termsOfServiceAgreed": True}
        if contacts:
            payload["contact"] = [f"mailto:{one}" for one in contacts]
        if binding is not None:
            payload["externalAccountBinding"] = bind(binding, key.public_key(), directory.new_account)
        asked = Asked(self._client.host, terms=directory.terms or "")
        try:
            reply = await self._client.post(directory.new_account, payload, Signer(key), asked)
        except AcmeError as error:
            if binding is not None and error.code == "acme_refused":
                raise AcmeError.lasting("acme_binding_refused", host=self._client.host, why=error) from error
            raise
        return self._url(reply.location, reply.body)

    async def _change_contacts(self, account: Account, contacts: tuple[str, ...]) -> Account:
        if account.contacts == contacts:
            return account
        signer = Signer(self._accounts.key(account.id), account.url)
        await self._client.post(str(account.url), {"contact": [f"mailto:{one}" for one in contacts]}, signer)
        changed = replace(account, contacts=contacts)
        await self._surroundings.offload(lambda: self._accounts.note(changed))
        return changed

    def _check(self, directory: Directory, *, terms_agreed: bool, binding: Binding | None) -> None:
        host = self._client.host
        if directory.terms is not None and not terms_agreed:
            raise AcmeError.lasting("acme_terms_unagreed", host=host, terms=directory.terms)
        if directory.binding_required and binding is None:
            raise AcmeError.lasting("acme_binding_needed", host=host)

    def _url(self, location: str | None, body: bytes) -> str:
        """Read an account's URL from its answer. AcmeError for an account that is over."""
        try:
            status = account_status(body) if body.strip() else "valid"
            url = https(location or "")
        except ValueError as error:
            raise self._client.strange(error) from error
        if status != "valid":
            raise AcmeError.lasting("acme_account_ended", host=self._client.host, status=status)
        return url
