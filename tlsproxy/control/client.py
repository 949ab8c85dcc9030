"""The asking side of the control socket, for the command line: one method a question, synchronous.

Raises NotRunningError where nobody listens, ControlError for all else that goes wrong; never an error of
httpx2. How a question travels: asking.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlencode

import msgspec
from cryptography import x509

from certstore import (
    Ban,
    Candidate,
    Finding,
    Generation,
    Meta,
    Reason,
    Receipt,
    Request,
    Slot,
    Source,
    Wish,
)
from certstore.factorystate import FactoryState
from tlsproxy.control.asking import OTHER_VERSION, Asking, findings_in
from tlsproxy.control.values import candidate_to_json
from tlsproxy.control.wishes import wish_to_json
from tlsproxy.errors import ControlError
from tlsproxy.observe.clientreport import ClientReport
from tlsproxy.observe.status import Status

T = TypeVar("T")


class Client(Asking):
    """Asks the proxy whose control socket is at a path. A context manager: closes its connection."""

    def status(self) -> Status:
        """Ask for the status."""
        document = self._ask("GET", "/v1/status")
        try:
            return Status.from_json(document)
        except ValueError as error:
            raise ControlError(self._path, f"its answer can't be read: {error}", OTHER_VERSION) from error

    def propose(
        self,
        candidate: Candidate,
        via: str,
        confirm_within_s: int | None = None,
        reason: Reason = Reason.SUPERSEDED,
    ) -> Receipt:
        """Hand in a candidate; returns when its receipt is live or refused."""
        return self.upload(candidate, via, confirm_within_s, reason, beside=False)[0]

    def upload(
        self, candidate: Candidate, via: str, confirm_within_s: int | None, reason: Reason, *, beside: bool
    ) -> tuple[Receipt, str]:
        """Do so, and give the word too that confirms it over the network, "" where nothing waits for it."""
        wanted = {} if reason is Reason.SUPERSEDED else {"reason": str(reason)}
        wanted |= {} if confirm_within_s is None else {"confirm_within_s": str(confirm_within_s)}
        wanted |= {"beside": "true"} if beside else {}
        target = f"/v1/candidates?{urlencode(wanted)}" if wanted else "/v1/candidates"
        document = self._change("POST", target, candidate_to_json(candidate, via))
        return self._receipt(document), str(document.get("confirm_word") or "")

    def rehearse(
        self, candidate: Candidate, via: str, *, beside: bool = False
    ) -> tuple[Meta, tuple[Finding, ...]]:
        """Have a candidate only examined; gives what it is, and what was found. Raises Refusal."""
        target = f"/v1/candidates?dry_run=true{'&beside=true' if beside else ''}"
        document = self._ask("POST", target, candidate_to_json(candidate, via))
        bundle, told = document.get("bundle"), document.get("findings")
        if document.get("dry_run") is not True or not isinstance(bundle, dict) or not isinstance(told, list):
            raise ControlError(self._path, "its answer can't be read", OTHER_VERSION)
        return self._read(Meta.shown, bundle), self._read(lambda _: findings_in(told), {})

    def factory(self) -> FactoryState:
        """Ask what the device has of its manufacturer."""
        return self._read(FactoryState.from_json, self._ask("GET", "/v1/factory"))

    def request_factory(
        self, serial: str | None, names: tuple[str, ...] | None, *, unsafe_reseal: bool
    ) -> FactoryState:
        """Have a key and the request for its certificate wait; None: as it is."""
        body = {"serial": serial, "names": names}
        target = f"/v1/factory/request?unsafe_reseal={str(unsafe_reseal).lower()}"
        return self._read(FactoryState.from_json, self._ask("POST", target, body))

    def install_factory(self, candidate: Candidate, via: str, *, unsafe_reseal: bool) -> Receipt:
        """Hand in the manufacturer's certificate; returns when its receipt is live or refused."""
        target = f"/v1/factory/certificate?unsafe_reseal={str(unsafe_reseal).lower()}"
        return self._receipt(self._change("POST", target, candidate_to_json(candidate, via)))

    def roll_back(self, key: tuple[Source, str], via: str, reason: Reason = Reason.SUPERSEDED) -> Receipt:
        """Put one slot back to what it had before."""
        return self._receipt(self._change("POST", f"{_slot(key)}/rollback?via={via}{_why(reason)}"))

    def remove(self, key: tuple[Source, str], via: str, reason: Reason = Reason.SUPERSEDED) -> Receipt:
        """Take one slot away."""
        return self._receipt(self._change("DELETE", f"{_slot(key)}?via={via}{_why(reason)}"))

    def ban(self, spki: str, via: str) -> Receipt:
        """Never serve a key again."""
        return self._receipt(self._change("PUT", f"/v1/bans/{spki}?via={via}"))

    def bans(self) -> tuple[Ban, ...]:
        """Ask which keys are never served again."""
        return tuple(self._each("bans", Ban.from_json, "/v1/bans"))

    def put_trust(self, name: str, candidate: Candidate, via: str) -> Receipt:
        """Have a trust set hold what is in these files."""
        return self._receipt(self._change("PUT", f"/v1/trust/{name}", candidate_to_json(candidate, via)))

    def remove_trust(self, name: str, via: str) -> Receipt:
        """Take a trust set away."""
        return self._receipt(self._change("DELETE", f"/v1/trust/{name}?via={via}"))

    def trust(self) -> list[dict[str, Any]]:
        """Ask for the trust sets, as they are shown."""
        return list(self._each("sets", dict, "/v1/trust"))

    def activate(self, generation: int, via: str) -> Receipt:
        """Have every slot as that generation had it."""
        return self._receipt(self._change("POST", f"/v1/generations/{generation}/activate?via={via}"))

    def confirm(self, receipt_id: str, via: str) -> Receipt:
        """Keep a live change for good."""
        return self._receipt(self._change("POST", f"/v1/receipts/{receipt_id}/confirm?via={via}"))

    def reset(self, words: Iterable[str], via: str) -> Receipt:
        """Bring back the factory's state; returns when it is in force or refused."""
        body = {"confirm": "reset", "scopes": list(words), "via": via}
        return self._receipt(self._change("POST", "/v1/reset", body))

    def enable_watches(self) -> bool:
        """Have watched directories looked at again; False where they were."""
        return self._ask("POST", "/v1/watches/enable").get("changed") is True

    def receipt(self, id: str) -> Receipt:  # noqa: A002  the name it has everywhere
        """Ask for one receipt."""
        return self._receipt(self._ask("GET", f"/v1/receipts/{id}"))

    def receipts(self, limit: int) -> list[Receipt]:
        """Ask for the latest receipts, the newest first."""
        return self._each("receipts", Receipt.from_json, f"/v1/receipts?limit={limit}")

    def slots(self) -> tuple[Slot, ...]:
        """Ask for all slots, the highest source first."""
        return tuple(self._each("slots", Slot.from_json, "/v1/slots"))

    def metas(self) -> dict[str, Meta]:
        """Ask what is known of the bundles that a slot names, or that are served."""
        return {meta.id: meta for meta in self._each("bundles", Meta.shown, "/v1/bundles")}

    def generations(self, limit: int, shape: type[T]) -> list[T]:
        """Ask which generations there are, in short, the newest first; each as `shape`, a dataclass."""
        read = partial(msgspec.convert, type=shape)
        return self._each("generations", read, f"/v1/generations?limit={limit}")

    def generation(self, number: int) -> Generation:
        """Ask for one generation."""
        return self._read(Generation.from_json, self._ask("GET", f"/v1/generations/{number}"))

    def workers(self, shape: type[T]) -> list[T]:
        """Ask which workers there are, in the order in which they came; each as `shape`, a dataclass."""
        return self._each("workers", partial(msgspec.convert, type=shape), "/v1/workers")

    def client_report(self) -> ClientReport:
        """Ask what clients were here, and whom a stricter profile would cut off."""
        return self._read(ClientReport.from_json, self._ask("GET", "/v1/policy/report"))

    def page(self, target: str) -> bytes:
        """Ask for a page as it is; also one that says that the proxy isn't well."""
        return self._send("GET", target, told=(503,)).content

    def make_request(self, wish: Wish, via: str) -> Request:
        """Have a key and a certificate request made."""
        return self._read(Request.from_json, self._ask("POST", "/v1/requests", wish_to_json(wish, via)))

    def remove_request(self, id: str) -> Request:  # noqa: A002  the name it has everywhere
        """Remove a request; gives what it was."""
        return self._read(Request.from_json, self._ask("DELETE", f"/v1/requests/{id}"))

    def requests(self) -> tuple[Request, ...]:
        """Ask which certificate requests wait, the oldest first."""
        return tuple(self._each("requests", Request.from_json, "/v1/requests"))

    def authority(self) -> dict[str, object]:
        """Ask for the device's own authority, as it is shown."""
        return self._ask("GET", "/v1/device-ca")

    def authority_certificate(self) -> x509.Certificate:
        """Ask for its certificate; it is taken for given to somebody from then on."""
        content = self._send("GET", "/v1/device-ca/certificate.pem").content
        return self._read(lambda _: x509.load_pem_x509_certificate(content), {})

    def renew_authority(self) -> dict[str, object]:
        """Have it made anew, for what the device is called now."""
        return self._ask("POST", "/v1/device-ca/renew")

    def acme(self) -> dict[str, object]:
        """Ask what is wanted of an ACME authority, and how it goes; AnswerError `not_found` for nothing."""
        return self._ask("GET", "/v1/acme")

    def enable_acme(self, wanted: Mapping[str, object]) -> dict[str, object]:
        """Have a certificate of an ACME authority from now on."""
        return self._ask("PUT", "/v1/acme", wanted)

    def foresee_acme(self, asked: Mapping[str, object]) -> dict[str, object]:
        """Ask which kinds of proof can work there."""
        return self._ask("POST", "/v1/acme/preflight", asked)

    def renew_acme(self) -> dict[str, object]:
        """Have the next one asked for now."""
        return self._ask("POST", "/v1/acme/renew")

    def revoke_acme(self, reason: str) -> dict[str, object]:
        """Have the certificate that is there revoked."""
        return self._ask("POST", "/v1/acme/revoke", {"reason": reason})

    def roll_over_acme(self) -> dict[str, object]:
        """Give the accounts new keys."""
        return self._ask("POST", "/v1/acme/roll-over")

    def disable_acme(self) -> dict[str, object]:
        """Want nothing any more; gives what was wanted."""
        return self._ask("DELETE", "/v1/acme")

    def chain(self, bundle: str) -> bytes:
        """Ask for a bundle's certificates, the device's own first, in PEM."""
        return self._send("GET", f"/v1/bundles/{bundle}/chain.pem").content

    def reload(self) -> int:
        """Ask for a reload; gives the epoch that will come, once the pre-flight has gone well."""
        epoch = self._ask("POST", "/v1/reload").get("epoch")
        if not isinstance(epoch, int):
            raise ControlError(self._path, "its answer can't be read", OTHER_VERSION)
        return epoch


def _why(reason: Reason) -> str:
    return "" if reason is Reason.SUPERSEDED else f"&reason={reason}"  # what is usual, older proxies know too


def _slot(key: tuple[Source, str]) -> str:
    source, id_ = key
    return f"/v1/slots/{source}/{id_}"
