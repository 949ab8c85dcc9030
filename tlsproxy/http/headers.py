"""The heads that go on: written from values that were let in, never copied from what came.

Promises: hop-by-hop fields end here, framing is written from the `Framing` alone, and what a request says
about its own origin is dropped unless its peer is trusted. Refuses to know: who is trusted and why.

Decided:
- Host goes on as the client sent it, so that the program behind us makes right links; it is the first
  field.
- From an untrusted peer X-Forwarded-*, Forwarded, X-Real-IP and the like are dropped, and ours begin the
  chain. From a trusted one they go on with us appended to the chains that it keeps, For and Forwarded;
  Proto and Host stay as the outermost proxy said. Where it keeps only one of the two kinds, only that goes
  on: beside a long chain a short one would name the proxy in front of us as the client.
- `Tlsproxy-*`, `Client-Cert`, `Client-Cert-Chain` (RFC 9440) and `X-Client-Cert-*` are ours, also against a
  trusted peer: what comes is dropped, whether or not we say something ourselves.
- No Via: it is for proxies that a request might loop through or that lower its version (RFC 9110 section
  7.6.3); here it would tell strangers what stands at the door. No Server, no Date: the program's own go
  through. No HSTS: a device with a self-signed certificate would lock its users out.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tlsproxy.http.framing import Framing, Kind
from tlsproxy.http.grammar import Field
from tlsproxy.http.head import RequestHead, ResponseHead

_COLON = b": "


@dataclass(frozen=True, slots=True)
class ForwardedFacts:
    """What the proxy knows about where a request came from; made once for a connection.

    client_ip: as text, b"" where there is none (UNIX sockets). scheme: b"https" or b"http". host: what to
    call ourselves where an HTTP/1.0 client named no host. trusted: believe what the peer says about the
    origin. bundle, generation: the leaf's fingerprint in hex and the generation, to be told to the
    upstream; b"" and 0 tell nothing. client: whole fields that tell who its certificate says it is.
    """

    client_ip: bytes
    scheme: bytes
    host: bytes
    trusted: bool = False
    bundle: bytes = b""
    generation: int = 0
    client: bytes = b""
    # What is the same for every request of a connection is written once.
    _begin: bytes = field(init=False, repr=False, compare=False)
    _end: bytes = field(init=False, repr=False, compare=False)
    # The lines for the host that was asked for last: hardly a connection asks for two.
    _latest: dict[bytes, bytes] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        address = self.address
        chain = b"X-Forwarded-For: %b\r\n" % address if address else b""
        ours = b""
        if self.bundle:
            ours = b"Tlsproxy-Bundle: %b\r\nTlsproxy-Generation: %d\r\n" % (self.bundle, self.generation)
        object.__setattr__(self, "_begin", b"%bX-Forwarded-Proto: %b\r\n" % (chain, self.scheme))
        object.__setattr__(self, "_end", ours + self.client)

    @property
    def address(self) -> bytes:
        """The client's address without a zone, an IPv4 one never as an IPv6 one."""
        plain = self.client_ip.partition(b"%")[0]
        return plain.removeprefix(b"::ffff:") if b"." in plain else plain

    def element(self, host: bytes) -> bytes:
        """Write our element of Forwarded (RFC 7239 section 4); a host let in has nothing to escape."""
        return b'for=%b;proto=%b;host="%b"' % (_node(self.address), self.scheme, host)

    def lines_for(self, host: bytes) -> bytes:
        """Write the fields that say where a request for `host` came from, each with its CRLF."""
        lines = self._latest.get(host)
        if lines is None:
            parts = (self._begin, host, self.element(host), self._end)
            lines = b"%bX-Forwarded-Host: %b\r\nForwarded: %b\r\n%b" % parts
            self._latest.clear()
            self._latest[host] = lines
        return lines

    def continued(self, origin: list[Field], host: bytes) -> bytes:
        """Write the fields of `lines_for` as the continuation of what a trusted peer said in `origin`."""
        said: dict[bytes, list[bytes]] = {}
        for name, value in origin:
            said.setdefault(name.lower(), []).append(value)
        keeps_x, keeps_forwarded = any(name.startswith(b"x-") for name in said), b"forwarded" in said
        chain, elements = said.pop(b"x-forwarded-for", []), said.pop(b"forwarded", [])
        lines: list[Field] = []
        if keeps_x or not keeps_forwarded:
            chain += [self.address] if self.address else []
            said = {b"x-forwarded-proto": [self.scheme], b"x-forwarded-host": [host]} | said
            lines += [(b"X-Forwarded-For", b", ".join(chain))] if chain else []
        if keeps_forwarded or not keeps_x:
            lines.append((b"Forwarded", b", ".join([*elements, self.element(host)])))
        lines += [(name.title(), b", ".join(values)) for name, values in said.items()]
        return b"".join([b"%b: %b\r\n" % line for line in lines]) + self._end


def request_headers_for_upstream(head: RequestHead, facts: ForwardedFacts) -> bytes:
    """Write the whole request head for the upstream with its empty line, always in HTTP/1.1."""
    host = head.host or facts.host
    lines = [b"%b %b HTTP/1.1\r\nHost: %b" % (head.method, head.target, host)]
    lines += map(_COLON.join, head.onward)
    framing = head.framing
    if framing is not Framing.NONE:
        lines.append(_framing_line(framing))
    if head.upgrade is not None:
        lines.append(b"Connection: upgrade\r\nUpgrade: %b" % head.upgrade)
    elif head.trailers:  # RFC 9110 section 10.1.4: TE is for one hop, so it is nominated
        lines.append(b"Connection: te\r\nTE: trailers")
    if head.expect_continue:
        lines.append(b"Expect: 100-continue")
    if facts.trusted and head.origin:
        lines.append(facts.continued(head.origin, host))
    else:
        lines.append(facts.lines_for(host))
    return b"\r\n".join(lines) + b"\r\n"


def framing_for_client(head: ResponseHead, *, http10: bool) -> Framing:
    """Decide how a response's body goes to the client: as it came, in chunks, or (1.0) until we close."""
    framing = head.framing
    if framing.kind is Kind.LENGTH or framing.kind is Kind.NONE:
        return framing
    return Framing.UNTIL_CLOSE if http10 else Framing.CHUNKED


def response_headers_for_client(
    head: ResponseHead, framing: Framing, *, http10: bool, keep_alive: bool
) -> bytes:
    """Write the whole response head for the client, with its empty line.

    `framing` is what `framing_for_client` decided; with UNTIL_CLOSE the client is told that we close,
    whatever `keep_alive`. An interim head (1xx) says nothing of framing or keep-alive.
    """
    lines = [b"HTTP/1.1 %d %b" % (head.status, head.reason)]
    lines += map(_COLON.join, head.onward)
    if head.status >= 200:
        if framing.kind is Kind.LENGTH or framing.kind is Kind.CHUNKED:
            lines.append(_framing_line(framing))
        elif head.status != 204 and head.declared is not None and head.declared.kind is Kind.LENGTH:
            lines.append(_framing_line(head.declared))  # HEAD and 304 tell the length of what they don't send
        if not keep_alive or framing is Framing.UNTIL_CLOSE:
            lines.append(b"Connection: close")
        elif http10:
            lines.append(b"Connection: keep-alive")
    elif head.upgrade is not None:
        lines.append(b"Connection: upgrade\r\nUpgrade: %b" % head.upgrade)
    lines.append(b"\r\n")
    return b"\r\n".join(lines)


def _framing_line(framing: Framing) -> bytes:
    if framing.kind is Kind.CHUNKED:
        return b"Transfer-Encoding: chunked"
    return b"Content-Length: %d" % framing.length


def _node(address: bytes) -> bytes:
    """Write an address as a node of RFC 7239 section 6."""
    if not address:
        return b"unknown"
    return b'"[%b]"' % address if b":" in address else address
