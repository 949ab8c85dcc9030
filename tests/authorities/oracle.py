"""certbot's `acme` package, as a program in an environment of its own: DIRECTORY ROOTS KEY.

Prints what it has of the account with this key, as JSON: its URL and the key's thumbprint.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import josepy
from acme import client, errors, messages
from cryptography.hazmat.primitives.serialization import load_pem_private_key


def main(directory: str, roots: str, key_file: str) -> None:
    key = josepy.JWKEC(key=load_pem_private_key(Path(key_file).read_bytes(), None))
    net = client.ClientNetwork(key, alg=josepy.ES256, verify_ssl=roots)
    acme = client.ClientV2(messages.Directory.from_json(net.get(directory).json()), net)
    try:
        acme.new_account(messages.NewRegistration(only_return_existing=True))
        url = ""
    except errors.ConflictError as known:
        url = known.location
    sys.stdout.write(json.dumps({"url": url, "thumbprint": josepy.b64.b64encode(key.thumbprint()).decode()}))


main(*sys.argv[1:])
