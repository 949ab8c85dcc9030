"""A client by an OpenSSL of former times, which a wheel of its years brought: run as a program of its own.

    python old_openssl.py FOLDER PORT TRUSTED METHOD [CIPHERS]

FOLDER holds libssl and libcrypto, 1.0.2 or 1.1.1; LD_LIBRARY_PATH must name it. METHOD is the name of the
function that makes the client, such as `TLSv1_client_method`. Connects to 127.0.0.1, verifies `localhost` by
the file TRUSTED, asks for `/headers`, connects anew with the session that it got, and prints as JSON what
came of both. A handshake that fails is told by OpenSSL's reason: 1000 and the number of the alert that came.
"""

from __future__ import annotations

import ctypes
import json
import socket
import sys
from pathlib import Path
from typing import Any

REQUEST = b"GET /headers HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
TIMEOUT_S = 30.0
# ssl.h and err.h, the same in both releases
VERIFY_PEER = 1
SET_HOST_NAME, GET_SESSION_REUSED, GET_SERVER_KEY = 55, 8, 109
REASONS = 0xFFF
KEYS = {408: "EC", 1034: "X25519", 1035: "X448"}


class Library:
    """libssl and libcrypto of one folder; every result is a pointer unless it is listed here."""

    NUMBERS = frozenset(
        [
            "SSL_connect",
            "SSL_read",
            "SSL_write",
            "SSL_ctrl",
            "SSL_set_fd",
            "SSL_session_reused",
            "SSL_CTX_set_cipher_list",
            "SSL_CTX_load_verify_locations",
            "SSL_CTX_set_alpn_protos",
            "SSL_get_verify_result",
            "EVP_PKEY_id",
        ]
    )
    TEXTS = frozenset(["SSL_get_version", "SSL_CIPHER_get_name", "SSLeay_version", "OpenSSL_version"])

    def __init__(self, folder: Path) -> None:
        (crypto,), (tls,) = folder.rglob("libcrypto*.so*"), folder.rglob("libssl*.so*")
        self._parts = [ctypes.CDLL(str(crypto), ctypes.RTLD_GLOBAL), ctypes.CDLL(str(tls))]
        if self.has("SSL_library_init"):  # 1.1 does it by itself
            self.SSL_library_init()

    def has(self, name: str) -> bool:
        """Whether this release has a function."""
        return any(hasattr(part, name) for part in self._parts)

    def __getattr__(self, name: str) -> Any:
        function = next(getattr(part, name) for part in self._parts if hasattr(part, name))
        text = ctypes.c_char_p if name in self.TEXTS else ctypes.c_void_p
        function.restype = ctypes.c_int if name in self.NUMBERS else text

        def call(*arguments: Any) -> Any:
            return function(*(ctypes.c_void_p(one) if one is None else one for one in arguments))

        return call

    def pointer(self, value: int | None) -> ctypes.c_void_p:
        """Give a result as an argument: a bare number would be cut to 32 bits."""
        return ctypes.c_void_p(value)


def visit(lib: Library, context: ctypes.c_void_p, port: int, session: int | None) -> tuple[Any, int | None]:
    """Connect and ask; gives what came of it, and the session to come back with."""
    tls = lib.pointer(lib.SSL_new(context))
    lib.SSL_ctrl(tls, SET_HOST_NAME, 0, b"localhost")
    lib.X509_VERIFY_PARAM_set1_host(lib.pointer(lib.SSL_get0_param(tls)), b"localhost", 9)
    if session:
        lib.SSL_set_session(tls, lib.pointer(session))
    with socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as sock:
        sock.setblocking(True)
        lib.SSL_set_fd(tls, sock.fileno())
        if lib.SSL_connect(tls) != 1:
            return {"reason": (lib.ERR_get_error() or 0) & REASONS}, None
        lib.SSL_write(tls, REQUEST, len(REQUEST))
        buffer, answer = ctypes.create_string_buffer(65_536), b""
        while (size := lib.SSL_read(tls, buffer, len(buffer))) > 0:
            answer += buffer.raw[:size]
        return facts(lib, tls, answer), lib.SSL_get1_session(tls)


def facts(lib: Library, tls: ctypes.c_void_p, answer: bytes) -> dict[str, Any]:
    """Say what was negotiated; `group` is None where this release can't tell (a resumed session's)."""
    key = ctypes.c_void_p()
    cipher = lib.pointer(lib.SSL_get_current_cipher(tls))
    if lib.has("SSL_session_reused"):
        resumed = lib.SSL_session_reused(tls)
    else:
        resumed = lib.SSL_ctrl(tls, GET_SESSION_REUSED, 0, None)
    has_key = lib.SSL_ctrl(tls, GET_SERVER_KEY, 0, ctypes.byref(key)) == 1
    return {
        "version": lib.SSL_get_version(tls).decode(),
        "cipher": lib.SSL_CIPHER_get_name(cipher).decode(),
        "key": KEYS.get(lib.EVP_PKEY_id(key)) if has_key else None,
        "verified": lib.SSL_get_verify_result(tls) == 0,
        "resumed": bool(resumed),
        "answer": answer.decode("latin-1").partition("\r\n")[0].rstrip(),
    }


def main() -> None:
    """Visit twice, and print a JSON object."""
    folder, port, trusted, method, *ciphers = sys.argv[1:]
    lib = Library(Path(folder))
    context = lib.pointer(lib.SSL_CTX_new(lib.pointer(getattr(lib, method)())))
    lib.SSL_CTX_set_verify(context, VERIFY_PEER, None)
    assert lib.SSL_CTX_load_verify_locations(context, trusted.encode(), None) == 1
    lib.SSL_CTX_set_alpn_protos(context, b"\x02h2\x08http/1.1", 12)
    if ciphers:
        assert lib.SSL_CTX_set_cipher_list(context, ciphers[0].encode()) == 1
    name = "OpenSSL_version" if lib.has("OpenSSL_version") else "SSLeay_version"
    first, session = visit(lib, context, int(port), None)
    second = visit(lib, context, int(port), session)[0] if session else None
    told = {"library": getattr(lib, name)(0).decode(), "first": first, "second": second}
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()
