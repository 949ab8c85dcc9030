"""`tlsproxy certs csr`, with a running proxy and without one."""

from __future__ import annotations

import json

import pytest
from cryptography import x509

from certstore import KeyType, Source, Store
from certstore.requesting import MOST, Wish
from tests.pki import to_pem
from tests.requesting import sign
from tests.tlsproxy.test_cli_certs_life import Place, place, run
from tlsproxy.cli.either import open_store
from tlsproxy.errors import ExitCode

__all__ = ["place"]  # a fixture


async def run_sub(place: Place, *words: str):
    """Run a subcommand, which takes the place behind its name."""
    config = place.path.parent / "tlsproxy.toml"
    return await run("certs", "csr", words[0], "--config", str(config), *words[1:])


async def bring(place, tmp_path, *certificates):
    answer = tmp_path / "answer.pem"
    answer.write_bytes(to_pem(*certificates))
    return await place.command("import", str(answer), "--json")


def look(place, question):
    if place.held is not None:
        return question(place.held)
    with open_store(place.path, 5.0) as store:
        return question(store)


async def test_a_request_is_made_signed_and_its_answer_goes_live_with_the_key_that_stayed(
    place, pki, tmp_path
):
    file = tmp_path / "device.csr"
    answer = await place.command("csr", "--name", "Device.Test", "--ip", "192.0.2.1", "--output", str(file))
    assert answer.code == ExitCode.DONE, answer.err
    assert answer.out == ""
    assert "hand in the answer: tlsproxy certs import FILE --config" in answer.err
    certificate = sign(pki, file.read_text())
    done = await bring(place, tmp_path, certificate, pki.intermediate)
    assert done.code == ExitCode.DONE, done.out
    assert "request_answered" in [one["code"] for one in done.document["findings"]]
    assert look(place, lambda store: store.requests.all()) == ()
    bundle = look(place, lambda store: store.bundle(done.document["bundle"]))
    assert bundle.names == ("192.0.2.1", "device.test")
    audit = [json.loads(line) for line in (place.path / "audit.jsonl").read_text().splitlines()]
    assert [(one["what"], one["outcome"]) for one in audit] == [
        ("make_request", "done"),
        ("propose", "confirmed"),
    ]
    assert audit[0]["names"] == ["192.0.2.1", "device.test"]


async def test_stdout_is_the_request_alone_for_a_pipe(place):
    answer = await place.command("csr", "--name", "a.test", "--key-type", "ec384", "--organization", "ACME")
    read = x509.load_pem_x509_csr(answer.out.encode())
    assert answer.out.startswith("-----BEGIN CERTIFICATE REQUEST-----\n")
    assert read.subject.rfc4514_string() == "CN=a.test,O=ACME"
    assert "waits until" in answer.err


async def test_what_waits_is_listed_shown_and_removed(place):
    first, second = [
        (await place.command("csr", "--name", name, "--json")).document for name in ("a.test", "b.test")
    ]
    assert first["running"] is place.is_running
    listed = await run_sub(place, "list", "--json")
    assert [one["id"] for one in listed.document["requests"]] == [first["id"], second["id"]]
    assert {one["state"] for one in listed.document["requests"]} == {"waits"}
    table = (await run_sub(place, "list")).out.splitlines()
    assert table[0].split() == ["id", "names", "key", "made", "waits", "until", "state"]
    assert table[1].startswith(first["id"])
    shown = await run_sub(place, "show", first["id"])
    assert x509.load_pem_x509_csr(shown.out.encode()).is_signature_valid
    assert "a.test" in shown.out
    removed = await run_sub(place, "remove", first["id"])
    assert (removed.code, first["id"] in removed.out) == (ExitCode.DONE, True)
    for gone in (("remove", first["id"]), ("show", first["id"])):
        answer = await run_sub(place, *gone)
        assert answer.code == ExitCode.FAILED
        assert "certs csr list" in answer.err
    assert [one.id for one in look(place, lambda store: store.requests.all())] == [second["id"]]


async def test_a_renewal_asks_for_the_same_names_with_a_new_key_or_the_same(place, pki):
    issued = pki.leaf(("device.test", "192.0.2.1"), key="rsa")
    place.fill((issued, Source.CUSTOMER), (pki.leaf(("other.test",)), Source.ACME))
    renewed = (await place.command("csr", "--for", "device.test", "--json")).document
    assert renewed["names"] == ["192.0.2.1", "device.test"]
    assert renewed["key_type"] == "rsa2048"
    assert renewed["renews"] == issued.bundle().id
    assert renewed["spki"] != issued.bundle().spki
    same = (await place.command("csr", "--for", "device.test", "--same-key", "--json")).document
    assert same["spki"] == issued.bundle().spki
    several = await place.command("csr", "--renew")
    assert (several.code, "several certificates fit" in several.err) == (ExitCode.MISUSE, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "for which name"),
        (("--ip", "a.test"), "is no address"),
        (("--name", "no name"), "can't stand in a certificate"),
        (("--name", "a.test", "--country", "Germany"), "country"),
        (("--name", "a.test", "--same-key"), "--same-key goes with --renew"),
        (("--for", "nobody.test"), "there is no certificate nobody.test"),
        (("--name", "a.test", "list"), "don't go with list"),
    ],
)
async def test_what_makes_no_sense_is_told_and_leaves_nothing(place, pki, words, said):
    place.fill((pki.leaf(), Source.CUSTOMER))
    answer = await place.command("csr", *words)
    assert answer.code in {ExitCode.MISUSE, ExitCode.FAILED}
    assert said in answer.err
    assert look(place, lambda store: store.requests.all()) == ()


async def test_beyond_the_bound_it_says_which_one_could_go(place):
    def fill(store: Store) -> str:
        made = [store.requests.make(Wish((f"{n}.test",), KeyType.EC), via="x") for n in range(MOST)]
        return made[0].id

    oldest = look(place, fill)
    answer = await place.command("csr", "--name", "a.test")
    assert answer.code == ExitCode.FAILED
    assert f"certs csr remove {oldest}" in answer.err
