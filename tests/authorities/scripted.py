"""An ACME authority of our own, in memory, that does what real ones can't be made to do.

It sits where the network would (an httpx2 transport) and is strict: each signature, nonce and URL is checked
with code of its own. `script` is asked before each request, and may answer in its place, or raise.
Its clock is its own.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from certstore.issuers.acme.wishes import Server
from tests.pki import Pki, to_pem

URL = "https://acme.test"
URN = "urn:ietf:params:acme:error:"
EPOCH = datetime(2026, 11, 20, tzinfo=UTC)
Script = Callable[[str, str], httpx2.Response | None]
Key = ec.EllipticCurvePublicKey


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def b64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def says(status: int, kind: str, detail: str = "no", **headers: str) -> httpx2.Response:
    """Make a problem document."""
    body = {"type": URN + kind, "detail": detail, "status": status}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return answer(status, body, "application/problem+json", **named)


def answer(status: int, body: object, kind: str = "application/json", **headers: str) -> httpx2.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return httpx2.Response(
        status, headers={"Content-Type": kind, **headers}, stream=httpx2.ByteStream(content)
    )


def unscripted(method: str, path: str) -> None:
    """Let the authority do what authorities do."""


def unjudged(request: x509.CertificateSigningRequest) -> None:
    """Let each request be granted whose names are proved."""


class Refused(Exception):  # noqa: N818
    """A request that isn't as RFC 8555 has it: a mistake of the client's."""


@dataclass
class Order:
    names: list[str]
    account: str
    status: str = "pending"
    proved: dict[str, str] = field(default_factory=dict)
    certificate: bytes = b""
    payload: Mapping[str, Any] = field(default_factory=dict)


class Scripted(httpx2.AsyncBaseTransport):
    """The authority; `sees` says whether a key authorization is answered for a name."""

    def __init__(self, pki: Pki, sees: Callable[[str, str], bool]) -> None:
        self.pki, self.sees = pki, sees
        self.script: Script = unscripted
        self.after: Script = unscripted
        self.skew = timedelta()
        self.accounts: dict[str, Key] = {}
        self.ended: set[str] = set()
        self.orders: list[Order] = []
        self.asked: list[tuple[str, str]] = []
        self.issued: list[x509.Certificate] = []
        self.issuing: Callable[[x509.CertificateSigningRequest, Order], bytes] = self.issue
        self.judging: Callable[[x509.CertificateSigningRequest], httpx2.Response | None] = unjudged
        self.stays_processing = False
        self.meta: dict[str, object] = {}
        self.has_renewal_info = True
        self.replaced: set[str] = set()
        self.window: dict[str, object] = {}
        self._nonces: set[str] = set()
        self._count = 0
        self.days = 47.0
        self.persists = False  # offers dns-persist-01 alone

    @property
    def server(self) -> Server:
        return Server(f"{URL}/dir")

    def now(self) -> datetime:
        """The authority's own time."""
        return EPOCH + timedelta(seconds=trio.current_time())

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        await trio.lowlevel.checkpoint()
        path = request.url.path
        assert str(request.url).startswith(URL)
        self.asked.append((request.method, path))
        response = self.script(request.method, path)
        if response is None:
            response = self._serve(request.method, path, await request.aread())
        self.after(request.method, path)  # done here, but not yet told: where a connection breaks off
        self._count += 1
        nonce = f"nonce-{self._count}"
        self._nonces.add(nonce)
        response.headers["Replay-Nonce"] = nonce
        response.headers.setdefault("Date", f"{self.now():%a, %d %b %Y %H:%M:%S GMT}")
        await trio.lowlevel.checkpoint()
        return response

    def _serve(  # noqa: PLR0911
        self, method: str, path: str, body: bytes
    ) -> httpx2.Response:
        if method == "HEAD":
            return httpx2.Response(200)
        if path == "/dir":
            return answer(200, self._directory())
        if path.startswith("/ari/"):
            return answer(200, self.window, **{"Retry-After": "86400"})
        assert method == "POST", (method, path)
        try:
            kid, key, payload = self._open(path, body)
        except KeyError:
            return says(400, "badNonce")
        what, _, rest = path[1:].partition("/")
        do: Callable[..., httpx2.Response] = getattr(self, f"_post_{what}")
        if kid is None:
            return do(key, payload)
        if kid not in self.accounts:
            return says(400, "accountDoesNotExist")
        if kid in self.ended:
            return says(401, "unauthorized", "the account is deactivated")
        return do(kid, payload, *([int(one) for one in rest.split("/")] if rest else []))

    def _directory(self) -> dict[str, object]:
        found: dict[str, object] = {"meta": self.meta, "newNonce": f"{URL}/nonce"}
        found |= {"newAccount": f"{URL}/account", "newOrder": f"{URL}/neworder"}
        found |= {"revokeCert": f"{URL}/revoke", "keyChange": f"{URL}/keychange"}
        return found | ({"renewalInfo": f"{URL}/ari"} if self.has_renewal_info else {})

    def _open(self, path: str, body: bytes) -> tuple[str | None, Key, Any]:
        flat = json.loads(body)
        head = json.loads(unb64(flat["protected"]))
        self._nonces.remove(head["nonce"])
        if head["url"] != URL + path or head["alg"] != "ES256" or ("kid" in head) is ("jwk" in head):
            raise Refused(head)
        kid = head.get("kid")
        key = self.accounts.get(kid) if kid else key_of(head["jwk"])
        if key is not None:
            verify(key, flat)
        payload = unb64(flat["payload"])
        return (
            kid,
            key or ec.generate_private_key(ec.SECP256R1()).public_key(),
            json.loads(payload) if payload else None,
        )

    # --- what it does: each by what stands in its URL ---

    def _post_account(self, key: Key, payload: Any) -> httpx2.Response:
        known = {thumb(one): url for url, one in self.accounts.items()}
        url = known.get(thumb(key))
        if url is None:
            if payload.get("onlyReturnExisting"):
                return says(400, "accountDoesNotExist")
            url = f"{URL}/acct/{len(self.accounts)}"
            self.accounts[url] = key
        if url in self.ended:
            return self.says_of_ended()
        return answer(200, {"status": "valid"}, Location=url)

    @staticmethod
    def says_of_ended() -> httpx2.Response:
        """Answer who asks for an account that is over; others tell its status."""
        return says(401, "unauthorized", "the account is deactivated")

    def _post_keychange(self, kid: str, payload: Any) -> httpx2.Response:
        head, inner = (json.loads(unb64(payload[one])) for one in ("protected", "payload"))
        new = key_of(head["jwk"])
        verify(new, payload)
        if inner["account"] != kid or thumb(key_of(inner["oldKey"])) != thumb(self.accounts[kid]):
            raise Refused(inner)
        self.accounts[kid] = new
        return answer(200, {"status": "valid"})

    def _post_neworder(self, kid: str, payload: Any) -> httpx2.Response:
        replaces = payload.get("replaces")
        if replaces in self.replaced:
            return says(409, "alreadyReplaced")
        if replaces:
            self.replaced.add(replaces)
        order = Order([one["value"] for one in payload["identifiers"]], kid, payload=payload)
        self.orders.append(order)
        number = len(self.orders) - 1
        return answer(201, self._shown(number), Location=f"{URL}/order/{number}")

    def _post_order(self, kid: str, payload: Any, number: int) -> httpx2.Response:
        return answer(200, self._shown(number))

    def _post_authz(self, kid: str, payload: Any, number: int, place: int) -> httpx2.Response:
        order = self.orders[number]
        name = order.names[place]
        status = order.proved.get(name, "pending")
        kinds = ("http-01", "dns-01") if "*" not in name else ("dns-01",)
        challenges = [
            {
                "type": kind,
                "url": f"{URL}/chall/{number}/{place}",
                "status": status,
                "token": token(number, place),
            }
            for kind in kinds
        ]
        if self.persists:
            url = challenges[0]["url"]
            offer = {"type": "dns-persist-01", "url": url, "status": status}
            challenges = [{**offer, "issuer-domain-names": ["authority.test"]}]  # type: ignore[dict-item]
        body = {"status": status, "identifier": {"type": "dns", "value": name.removeprefix("*.")}}
        body["wildcard"] = "*" in name  # type: ignore[assignment]
        return answer(200, {**body, "challenges": challenges})

    def _post_chall(self, kid: str, payload: Any, number: int, place: int) -> httpx2.Response:
        order = self.orders[number]
        name = order.names[place]
        whole = f"{token(number, place)}.{thumb(self.accounts[kid])}"
        if self.persists:
            whole = f"authority.test; accounturi={kid}" + ("; policy=wildcard" if "*" in name else "")
        order.proved[name] = "valid" if self.sees(name.removeprefix("*."), whole) else "invalid"
        if order.proved[name] == "invalid":
            order.status = "invalid"
        elif all(order.proved.get(one) == "valid" for one in order.names):
            order.status = "ready"
        return answer(
            200, {"type": "http-01", "url": f"{URL}/chall/{number}/{place}", "status": "processing"}
        )

    def _post_finalize(self, kid: str, payload: Any, number: int) -> httpx2.Response:
        order = self.orders[number]
        if order.status != "ready":
            return says(403, "orderNotReady")
        request = x509.load_der_x509_csr(unb64(payload["csr"]))
        if (refused := self.judging(request)) is not None:
            return refused
        order.status = "processing"
        order.certificate = self.issuing(request, order)
        return answer(200, self._shown(number), **{"Retry-After": "2"})

    def _post_cert(self, kid: str, payload: Any, number: int) -> httpx2.Response:
        return answer(200, self.orders[number].certificate, "application/pem-certificate-chain")

    def _shown(self, number: int) -> dict[str, object]:
        order = self.orders[number]
        shown: dict[str, object] = {
            "status": order.status,
            "identifiers": [{"type": "dns", "value": name} for name in order.names],
            "authorizations": [f"{URL}/authz/{number}/{place}" for place in range(len(order.names))],
            "finalize": f"{URL}/finalize/{number}",
        }
        if order.status == "valid":
            shown["certificate"] = f"{URL}/cert/{number}"
        if order.status == "processing" and not self.stays_processing:
            order.status = "valid"  # at the next look
        return shown

    def issue(self, request: x509.CertificateSigningRequest, order: Order) -> bytes:
        """Make the certificate, with its chain."""
        return to_pem(self.leaf(request.public_key(), order.names), self.pki.intermediate)

    def leaf(self, key: Any, names: list[str]) -> x509.Certificate:
        begin = self.now() - timedelta(hours=1)
        alternative = x509.SubjectAlternativeName([x509.DNSName(one) for one in names])
        issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(
            self.pki.intermediate_key.public_key()
        )
        builder = x509.CertificateBuilder(self.pki.intermediate.subject, x509.Name([]), key)
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(begin)
        builder = builder.not_valid_after(begin + timedelta(days=self.days))
        builder = builder.add_extension(alternative, critical=True).add_extension(issuer_key, critical=False)
        made = builder.sign(self.pki.intermediate_key, hashes.SHA256())
        self.issued.append(made)
        return made


def token(number: int, place: int) -> str:
    return b64(hashlib.sha256(f"{number}/{place}".encode()).digest())


def key_of(shown: Mapping[str, str]) -> Key:
    x, y = (int.from_bytes(unb64(shown[one]), "big") for one in "xy")
    return ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()


def thumb(key: Key) -> str:
    numbers = key.public_numbers()
    x, y = (b64(one.to_bytes(32, "big")) for one in (numbers.x, numbers.y))
    return b64(hashlib.sha256(f'{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}'.encode()).digest())


def verify(key: Key, flat: Mapping[str, str]) -> None:
    raw = unb64(flat["signature"])
    signature = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    key.verify(signature, f"{flat['protected']}.{flat['payload']}".encode(), ec.ECDSA(hashes.SHA256()))
