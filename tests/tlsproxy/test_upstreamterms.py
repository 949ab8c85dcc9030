"""The files that an https upstream's terms are made from, as people have them."""

from __future__ import annotations

import os

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from tests.pki import Pki, to_pem
from tlsproxy.config.addresses import UpstreamAddress
from tlsproxy.config.values import RouteConfig, UpstreamTLSConfig
from tlsproxy.terms import Terms
from tlsproxy.tls.engines.outward import context_of
from tlsproxy.upstreamterms import mistakes, terms_of

PKI = Pki()
ADDRESS = UpstreamAddress("https", "127.0.0.1", 8443)


def terms_with(**tls: object) -> Terms:
    route = RouteConfig("/", ADDRESS, tls=UpstreamTLSConfig(**tls))  # type: ignore[arg-type]  # as a table gives it
    (terms,) = terms_of([route]).values()
    return terms


@pytest.mark.parametrize(
    "comment",
    [
        "# NetLock Arany (Class Gold) Főtanúsítvány\n".encode(),  # as Fedora's list has it
        "# Főtanúsítvány\n".encode("iso8859-2"),
        b"\xff\xfe\x00\x00\n",
    ],
)
def test_comments_beside_the_roots_may_be_in_any_encoding(comment, tmp_path):
    file = tmp_path / "roots.pem"
    file.write_bytes(comment + to_pem(PKI.root) + comment)
    terms = terms_with(ca_file=file)
    assert terms.unready == ""
    assert list(mistakes({"x": terms})) == []
    context_of(terms)


def test_a_pipe_is_no_file_and_nobody_waits_for_what_comes_out_of_it(tmp_path):
    os.mkfifo(tmp_path / "roots.pem")
    assert terms_with(ca_file=tmp_path / "roots.pem").unready == f"{tmp_path / 'roots.pem'} is no file"


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_an_encrypted_client_key_is_told_of_and_nobody_is_asked_for_its_passphrase(form, tmp_path):
    (tmp_path / "ca.pem").write_bytes(to_pem(PKI.root))
    leaf = PKI.leaf(("client.test",))
    key = leaf.key.private_bytes(Encoding.PEM, form, BestAvailableEncryption(b"secret"))
    (tmp_path / "client.pem").write_bytes(leaf.chain_pem + key)
    terms = terms_with(ca_file=tmp_path / "ca.pem", client_certificate=tmp_path / "client.pem")
    assert terms.unready.startswith("its client key is encrypted")
    assert "secret" not in terms.unready
