"""The `system` engine: Python's own `ssl` over memory BIOs, with the OpenSSL that Python is linked to.

Cheaper per byte and per idle connection than `bundled` (DESIGN section 7), and able to use keys of OpenSSL
providers. What `ssl` can't do before Python 3.15 is confessed here: neither groups nor TLS 1.3 suites can be
chosen for a context (`openssl_conf` gives the way round, for a fresh process; without it a client that asks
OpenSSL 3.0 for ffdhe8192 costs 123 ms of CPU in TLS 1.3, where X25519 costs 2: measured), the session
cache of TLS 1.2 can't be switched off (only clients without ticket support use it; at most 20,480 sessions a
context), nor SSL_MODE_NO_AUTO_CHAIN be set.

A context that asks for client certificates must resume nothing: a session would go on that its client's
certificate, or its revocation list, has not outlived. So each of its connections begins by an empty context
of its own, and gets the one that serves before it has read a byte: OpenSSL keeps sessions with the context
that a connection began by (`session_ctx`), and takes certificate, authorities and lists from the one that it
has. That costs 0.14 ms a handshake (measured).

Theory. `SSLObject.unwrap` calls SSL_shutdown, and after our close_notify went out calls it again, which
reads: where application data of the client waits, that raises APPLICATION_DATA_AFTER_CLOSE_NOTIFY and the
data are lost. With an empty incoming BIO the second call finds nothing to read, and later reads work. So
`shut` first reads all that was fed and holds it for `read`. What was fed is bounded by the caller's one read
from its socket.
"""

from __future__ import annotations

import os
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tlsproxy.errors import HandshakeError
from tlsproxy.policy_tls import TICKETS, TLSPolicy, group_list
from tlsproxy.tls.choice import curve_of
from tlsproxy.tls.engines.port import ContextError, Data, TLSBroken, TLSFacts, reason_of, refusal_of
from tlsproxy.tls.engines.reading import RECORD, Reading
from tlsproxy.tls.signatures import Signed, signed_by

if TYPE_CHECKING:
    from certstore import Bundle
    from tlsproxy.policy_clients import ClientAuth
    from tlsproxy.tls.asking import Asking
    from tlsproxy.tls.keylog import KeyLog

# SSL_OP_PRIORITIZE_CHACHA (ssl.h; no name in Python): a client that puts ChaCha20 first has no AES in
# hardware.
PRIORITIZE_CHACHA = 0x200000
_DER = 2  # of `_ssl`
_UNKNOWN = Signed()


class SystemEngine(Reading):
    """One connection; see the port. It works for the client's side too, which is what probes are."""

    __slots__ = ("_in", "_out", "_shut", "_signed", "_tls")

    def __init__(
        self,
        context: ssl.SSLContext,
        *,
        server_side: bool = True,
        server_name: str | None = None,
        session: ssl.SSLSession | None = None,
        signed: Signed = _UNKNOWN,
    ) -> None:
        super().__init__()
        self._signed = signed
        self._in = ssl.MemoryBIO()
        self._out = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_side, server_name, session)
        self._shut = False

    def be_served_by(self, context: ssl.SSLContext) -> None:
        """Go on with another context than the one by which this began; before anything is fed."""
        self._tls.context = context

    def feed(self, data: Data) -> None:
        """Hand in ciphertext."""
        self._in.write(data)

    def take(self) -> bytes:
        """Return the ciphertext to send."""
        return self._out.read()

    def handshake(self) -> bool:
        """Go on with the handshake."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLCertVerificationError as error:
            raise HandshakeError(refusal_of(error.verify_code)) from error
        except ssl.SSLError as error:
            raise HandshakeError(reason_of(error.reason)) from error
        return True

    def write(self, data: Data) -> None:
        """Encrypt all of `data`."""
        try:
            sent = self._tls.write(data) if data else 0
            while sent < len(data):
                sent += self._tls.write(memoryview(data)[sent:])
        except ssl.SSLError as error:
            raise TLSBroken(reason_of(error.reason)) from error

    def shut(self) -> None:
        """Queue close_notify, after rescuing what the client sent (see the module's theory)."""
        if self._shut:
            return
        self._shut = True
        self.hold_rest()
        try:
            self._tls.unwrap()
        except ssl.SSLError:
            return  # WANT_READ: it is queued, the client's own is yet to come; else there is nothing to close

    def facts(self) -> TLSFacts:
        """Say what was negotiated."""
        tls = self._tls
        cipher, version, resumed = tls.cipher(), tls.version() or "", bool(tls.session_reused)
        return TLSFacts(
            version=version,
            cipher=cipher[0] if cipher else "",
            group=tls.group() if hasattr(tls, "group") else None,  # Python 3.15
            alpn=tls.selected_alpn_protocol(),
            resumed=resumed,
            signature=self._signed(version, resumed=resumed),
        )

    def client_chain(self) -> tuple[bytes, ...]:
        """Give the client's verified chain, the leaf first."""
        leaf = self.peer_der()
        if leaf is None:
            return ()
        private: Any = self._tls  # public from Python 3.13 on
        chain = private._sslobj.get_verified_chain() or ()  # noqa: SLF001
        return tuple(one.public_bytes(_DER) for one in chain) or (leaf,)

    def returning(self) -> SystemEngine:
        """Give a client that wants to resume this client's session."""
        return SystemEngine(self._tls.context, server_side=False, session=self._tls.session)

    def peer_der(self) -> bytes | None:
        """Return the certificate that the other side showed."""
        return self._tls.getpeercert(binary_form=True)

    def _records(self, room: int) -> list[bytes]:
        parts: list[bytes] = []
        waiting, read = self._in, self._tls.read
        try:
            while room and (waiting.pending or self._in_part):
                asked = min(RECORD, room)
                data = read(asked)
                if not data:  # close_notify, where we had not ended yet ourselves
                    self._end = True
                    break
                self._in_part = len(data) == asked < RECORD
                parts.append(data)
                room -= len(data)
        except ssl.SSLWantReadError:
            self._in_part = False
        except ssl.SSLZeroReturnError:
            self._end = True
        except ssl.SSLError as error:
            self._end = TLSBroken(reason_of(error.reason))
            self._end.__cause__ = error
        return parts


class SystemContext:
    """One bundle in an `ssl.SSLContext`. Keys go there through a memfd: they never touch a disk."""

    __slots__ = ("_context", "_signed", "bundle_id", "curve", "policy", "rule")
    engine_name = "system"

    def __init__(
        self,
        bundle: Bundle,
        policy: TLSPolicy,
        asking: Asking | None = None,
        key_log: KeyLog | None = None,
    ) -> None:
        self.bundle_id, self.curve = bundle.id, curve_of(bundle.key)
        self.policy = policy
        self.rule: ClientAuth | None = asking.rule if asking is not None else None
        self._signed = signed_by(bundle)
        self._context = _context(policy)
        try:
            load_pem(self._context, bundle.key_pem(), bundle.chain_pem())
            if asking is not None:
                _ask(self._context, asking)
            if key_log is not None:
                with suppress(
                    OSError
                ):  # no descriptor left, or /proc not there: clients are served all the same
                    self._context.keylog_filename = key_log.path
        except ssl.SSLError as error:
            raise ContextError(bundle.id, self.engine_name, reason_of(error.reason)) from error

    def accept(self) -> SystemEngine:
        """Begin a connection."""
        if self.rule is None or self.policy.is_tls13_only:  # 1.3 resumes by tickets alone
            return SystemEngine(self._context, signed=self._signed)
        engine = SystemEngine(_forgetful(self._context), signed=self._signed)
        engine.be_served_by(self._context)
        return engine


def _context(policy: TLSPolicy) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3 if policy.is_tls13_only else ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | PRIORITIZE_CHACHA
    if policy.ciphers:
        context.set_ciphers(":".join(policy.ciphers))
    # Our preference counts only where the order of the TLS 1.3 suites is ours too (`openssl_conf`).
    # OpenSSL's own puts AES-256 first; the client's, for every browser, AES-128.
    if context.get_ciphers()[0]["name"] != policy.suites[0]:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    if policy.tickets:
        context.num_tickets = TICKETS
    else:
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
    context.set_alpn_protocols([name.decode("ascii") for name in policy.alpn])
    return context


def _forgetful(serving: ssl.SSLContext) -> ssl.SSLContext:
    """Make the context by which one connection begins that is to be resumed by none (see the theory).

    What a connection copies from it, once and for all, is as `serving` has it.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version, context.options = serving.minimum_version, serving.options
    context.num_tickets = serving.num_tickets
    context.verify_mode, context.verify_flags = serving.verify_mode, serving.verify_flags
    return context


def load_pem(context: ssl.SSLContext, key_pem: bytes, chain_pem: bytes) -> None:
    """Load a key and its chain; `ssl` takes only paths, so they stand in a file without a disk.

    Nobody is asked for a passphrase, as OpenSSL would by itself at a terminal. Raises ssl.SSLError.
    """
    with os.fdopen(os.memfd_create("bundle", os.MFD_CLOEXEC), "wb") as file:
        file.write(key_pem + chain_pem)
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{file.fileno()}", password=_no_passphrase)


def _no_passphrase() -> str:
    return ""


def _ask(context: ssl.SSLContext, asking: Asking) -> None:
    """Have clients asked; every authority of the set is an anchor, and lists count where there are any."""
    context.verify_mode = ssl.CERT_REQUIRED if asking.is_required else ssl.CERT_OPTIONAL
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    held = asking.trust
    if held.crls:
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    if held.anchors:
        with os.fdopen(os.memfd_create("trust", os.MFD_CLOEXEC), "wb") as file:
            file.write(held.anchors_pem() + held.crls_pem())
            file.flush()
            context.load_verify_locations(f"/proc/self/fd/{file.fileno()}")


def has_mlkem() -> bool:
    """Say whether the OpenSSL that Python is linked to knows hybrid groups (3.5 and later)."""
    return ssl.OPENSSL_VERSION.startswith("OpenSSL ") and ssl.OPENSSL_VERSION_INFO >= (3, 5)


def openssl_conf(policy: TLSPolicy) -> str:
    """Give an OPENSSL_CONF file that holds a policy's groups and TLS 1.3 suites, for a process yet to start.

    OpenSSL reads it once, before the first context; it applies to every context of that process
    (config(5ssl)).
    """
    lines = (
        "openssl_conf = tlsproxy",
        "[tlsproxy]",
        "ssl_conf = modules",
        "[modules]",
        "system_default = tls",
        "[tls]",
        f"Groups = {group_list(policy.groups, has_hybrid=has_mlkem())}",
        f"Ciphersuites = {':'.join(policy.suites)}",
    )
    return "\n".join(lines) + "\n"
