"""The `bundled` engine: pyOpenSSL, with the OpenSSL that comes inside cryptography's wheels.

Brings a current OpenSSL to every system: X25519MLKEM768, chosen groups and suites, keys from memory. It
costs more per byte than `system` (each call goes through cffi and copies once more). Two things can't be
had: one session ticket instead of two (no SSL_CTX_set_num_tickets), and OpenSSL providers.

Theory. pyOpenSSL turns an exception in any callback into the end of a handshake, and refuses changes of a
context in use: so the only callbacks are a membership test
and the look-up of a staple, and a context is finished before anybody sees it.
Three functions are taken from its private `_lib`, each only if it is there: the list of groups, without
which the library's own stands, and the fill of a memory BIO, without which the question costs an exception.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from OpenSSL import SSL
from OpenSSL.crypto import FILETYPE_ASN1, dump_certificate

from tlsproxy.errors import HandshakeError
from tlsproxy.policy_tls import TLSPolicy, group_list
from tlsproxy.tls.choice import curve_of
from tlsproxy.tls.engines.port import ContextError, Data, TLSBroken, TLSFacts, reason_of, refusal_of
from tlsproxy.tls.engines.reading import RECORD, Reading
from tlsproxy.tls.engines.truststore import SharedStore, verify_by
from tlsproxy.tls.signatures import Signed, signed_by

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from certstore import Bundle
    from tlsproxy.policy_clients import ClientAuth
    from tlsproxy.tls.asking import Asking
    from tlsproxy.tls.keylog import KeyLog

_TAKE = 65_536
# ssl.h; pyOpenSSL has no names for them
_PRIORITIZE_CHACHA = 0x200000
_MODE_ENABLE_PARTIAL_WRITE, _MODE_NO_AUTO_CHAIN, _MODE_RELEASE_BUFFERS = 0x1, 0x8, 0x10

_private: Any = SSL  # see the theory above
_lib = _private._lib  # noqa: SLF001
_fill = getattr(_lib, "BIO_get_mem_data", None)
_NULL = _private._ffi.NULL  # noqa: SLF001
_UNKNOWN = Signed()


class BundledEngine(Reading):
    """One connection; see the port. It works for the client's side too, which is what probes are."""

    __slots__ = ("_signed", "_tls")

    def __init__(
        self,
        context: SSL.Context,
        *,
        server_side: bool = True,
        server_name: str | None = None,
        signed: Signed = _UNKNOWN,
    ) -> None:
        super().__init__()
        self._signed = signed
        self._tls = SSL.Connection(context, None)
        if server_side:
            self._tls.set_accept_state()
            return
        self._tls.set_connect_state()
        if server_name is not None:
            self._tls.set_tlsext_host_name(server_name.encode("ascii"))

    def feed(self, data: Data) -> None:
        """Hand in ciphertext."""
        if data:
            self._tls.bio_write(data)

    def take(self) -> bytes:
        """Return the ciphertext to send."""
        if _fill is not None:
            waiting = _fill(self._tls._from_ssl, _NULL)  # noqa: SLF001  saves an exception a call
            return self._tls.bio_read(waiting) if waiting else b""
        parts = []
        while True:
            try:
                parts.append(self._tls.bio_read(_TAKE))
            except SSL.WantReadError:
                return b"".join(parts)

    def handshake(self) -> bool:
        """Go on with the handshake."""
        try:
            self._tls.do_handshake()
        except SSL.WantReadError:
            return False
        except SSL.Error as error:
            raise HandshakeError(self._refusal(error)) from error
        return True

    def _refusal(self, error: SSL.Error) -> str:
        # what OpenSSL found wrong with the certificate (a signature that doesn't fit) stands before that
        if "certificate_verify_failed" not in _reasons(error):
            return _reason(error)
        return refusal_of(_lib.SSL_get_verify_result(self._tls._ssl))  # noqa: SLF001  it has no method for it

    def write(self, data: Data) -> None:
        """Encrypt all of `data`."""
        try:
            sent = self._tls.send(data) if data else 0
            while sent < len(data):
                sent += self._tls.send(memoryview(data)[sent:])
        except SSL.Error as error:
            raise TLSBroken(_reason(error)) from error

    def shut(self) -> None:
        """Queue close_notify; pyOpenSSL calls SSL_shutdown once, which doesn't read."""
        try:
            self._tls.shutdown()
        except SSL.Error:
            return  # before the handshake or after a fatal alert there is nothing to close

    def facts(self) -> TLSFacts:
        """Say what was negotiated."""
        tls = self._tls
        version = tls.get_protocol_version_name()
        resumed = bool(_lib.SSL_session_reused(tls._ssl))  # noqa: SLF001  it has no method for it
        return TLSFacts(
            version=version,
            cipher=tls.get_cipher_name() or "",
            group=tls.get_group_name(),
            alpn=tls.get_alpn_proto_negotiated().decode("ascii") or None,
            resumed=resumed,
            signature=self._signed(version, resumed=resumed),
        )

    def client_chain(self) -> tuple[bytes, ...]:
        """Give the client's verified chain, the leaf first."""
        leaf = self.peer_der()
        if leaf is None:
            return ()
        # not as_cryptography: it reads less than OpenSSL verifies, and who is told of that is up to the gate
        chain = self._tls.get_verified_chain() or ()
        return tuple(dump_certificate(FILETYPE_ASN1, one) for one in chain) or (leaf,)

    def returning(self) -> BundledEngine:
        """Give a client that wants to resume this client's session."""
        again = BundledEngine(self._tls.get_context(), server_side=False)
        session = self._tls.get_session()
        if session is not None:
            again._tls.set_session(session)
        return again

    def peer_der(self) -> bytes | None:
        """Return the certificate that the other side showed."""
        shown = self._tls.get_peer_certificate()
        return None if shown is None else dump_certificate(FILETYPE_ASN1, shown)

    def _records(self, room: int) -> list[bytes]:
        parts: list[bytes] = []
        tls = self._tls
        try:
            while room and (self._in_part or _fill is None or _fill(tls._into_ssl, _NULL)):  # noqa: SLF001  as in `take`
                asked = min(RECORD, room)
                data = tls.recv(asked)
                self._in_part = len(data) == asked < RECORD
                parts.append(data)
                room -= len(data)
        except SSL.WantReadError:
            self._in_part = False
        except SSL.ZeroReturnError:
            self._end = True
        except SSL.Error as error:
            self._end = TLSBroken(_reason(error))
            self._end.__cause__ = error
        return parts


class BundledContext:
    """One bundle in a pyOpenSSL context; the key goes there as an object, by memory."""

    __slots__ = ("_context", "_signed", "_trust", "bundle_id", "curve", "policy", "rule")
    engine_name = "bundled"

    def __init__(
        self,
        bundle: Bundle,
        policy: TLSPolicy,
        asking: Asking | None = None,
        staple: Callable[[], bytes] | None = None,
        key_log: KeyLog | None = None,
    ) -> None:
        self.bundle_id, self.curve = bundle.id, curve_of(bundle.key)
        self.policy = policy
        self.rule: ClientAuth | None = asking.rule if asking is not None else None
        self._signed = signed_by(bundle)
        self._trust: SharedStore | None = None
        self._context = _context(policy)
        try:
            _load(self._context, bundle)
            if asking is not None:
                self._trust = _ask(self._context, asking)
            if staple is not None:
                self._context.set_ocsp_server_callback(lambda _tls, _data: staple())
            if key_log is not None:
                self._context.set_keylog_callback(lambda _tls, line: key_log.write(line))
        except (SSL.Error, TypeError) as error:  # TypeError: a kind of key that pyOpenSSL doesn't know
            raise ContextError(bundle.id, self.engine_name, _reason(error)) from error

    def accept(self) -> BundledEngine:
        """Begin a connection."""
        return BundledEngine(self._context, signed=self._signed)


def _context(policy: TLSPolicy) -> SSL.Context:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_3_VERSION if policy.is_tls13_only else SSL.TLS1_2_VERSION)
    context.set_options(
        SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION | SSL.OP_CIPHER_SERVER_PREFERENCE | _PRIORITIZE_CHACHA
    )
    # pyOpenSSL asks for partial writes, one record a call; whole ones save the calls.
    context.clear_mode(_MODE_ENABLE_PARTIAL_WRITE)
    context.set_mode(_MODE_NO_AUTO_CHAIN | _MODE_RELEASE_BUFFERS)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)  # tickets resume without it
    if not policy.tickets:
        context.set_options(SSL.OP_NO_TICKET)
    if policy.ciphers:
        context.set_cipher_list(":".join(policy.ciphers).encode())
    context.set_tls13_ciphersuites(":".join(policy.suites).encode())
    if hasattr(_lib, "SSL_CTX_set1_curves_list"):
        set_groups(context, group_list(policy.groups, has_hybrid=True))
    offered = policy.alpn

    def choose(_connection: SSL.Connection, asked: Sequence[bytes]) -> Any:
        return next((name for name in offered if name in asked), SSL.NO_OVERLAPPING_PROTOCOLS)

    context.set_alpn_select_callback(choose)
    return context


def set_groups(context: SSL.Context, groups: str) -> None:
    """Limit the groups of `context` to a list in OpenSSL's words; pyOpenSSL has no method for it.

    An unknown name is an error.
    """
    done = _lib.SSL_CTX_set1_curves_list(context._context, groups.encode())  # noqa: SLF001
    if done != 1:
        _private._raise_current_error()  # noqa: SLF001  empties OpenSSL's error queue


def _load(context: SSL.Context, bundle: Bundle) -> None:
    context.use_certificate(bundle.leaf)
    for issuer in bundle.chain:
        context.add_extra_chain_cert(issuer)
    key: Any = bundle.key  # of a kind that pyOpenSSL doesn't know: TypeError, and the bundle is refused
    context.use_privatekey(key)
    context.check_privatekey()


def _ask(context: SSL.Context, asking: Asking) -> SharedStore | None:
    """Have clients asked; gives what the context must keep for it."""
    required = SSL.VERIFY_FAIL_IF_NO_PEER_CERT if asking.is_required else 0
    context.set_verify(SSL.VERIFY_PEER | required)
    context.set_session_id(b"tlsproxy")  # without one OpenSSL refuses a client that wants to resume
    return verify_by(context, asking.trust)


def _reason(error: Exception) -> str:
    """Take the first of OpenSSL's queue: the cause of those after it."""
    return _reasons(error)[0]


def _reasons(error: Exception) -> list[str]:
    """Read OpenSSL's queue of (library, function, reason), at least one."""
    queue = error.args[0] if error.args else None
    if isinstance(queue, list) and queue:
        return [reason_of(reason) for _, _, reason in queue]
    return [reason_of(type(error).__name__ if queue is None else str(queue))]
