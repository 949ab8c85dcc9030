"""A script as a customer writes it, for any Python from 3.9 on: run as a program of its own.

    python python_client.py PORT TRUSTED NAME VERSION

Connects to 127.0.0.1, verifies NAME by the file TRUSTED with `ssl.create_default_context` and nothing else
set (but VERSION, the only one to speak), asks for `/headers`, comes back with the session that it got, and
asks by urllib where NAME leads here. Prints as JSON what came of it.
"""

from __future__ import annotations

import json
import socket
import ssl
import sys
import urllib.request

TIMEOUT_S = 30.0


def visit(context, port, name, session=None):
    """Connect and ask; gives what was negotiated, and the session."""
    request = f"GET /headers HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n"
    with (
        socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as sock,
        context.wrap_socket(sock, server_hostname=name, session=session) as tls,
    ):
        tls.sendall(request.encode())
        answer = b""
        while True:
            data = tls.recv(65536)
            if not data:
                break
            answer += data
        facts = {
            "version": tls.version(),
            "cipher": tls.cipher()[0],
            "alpn": tls.selected_alpn_protocol(),
            "resumed": tls.session_reused,
            "answer": answer.partition(b"\r\n")[0].decode().strip(),
        }
        return facts, tls.session


def main():
    """Visit twice, then ask by urllib."""
    port, trusted, name, version = sys.argv[1:]
    context = ssl.create_default_context(cafile=trusted)
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    context.set_alpn_protocols(["h2", "http/1.1"])
    first, session = visit(context, int(port), name)
    second, _ = visit(context, int(port), name, session)
    fields = None
    if name == "localhost":
        handlers = urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        opener = urllib.request.build_opener(*handlers)
        with opener.open(f"https://localhost:{port}/headers", timeout=TIMEOUT_S) as answer:
            fields = dict(json.load(answer))
    told = {"python": sys.version.split()[0], "visits": [first, second], "fields": fields}
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()
