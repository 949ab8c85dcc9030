"""The ACME client against Let's Encrypt's test authority, which refuses half of all nonces."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
import trio
from cryptography import x509

from certstore import layout
from certstore.atomic import Disk
from certstore.decode import decode
from certstore.issuers import csr
from certstore.issuers.acme.challenges import Challenge
from certstore.issuers.acme.errors import AcmeError
from certstore.issuers.acme.issuing import Issuer, Surroundings
from certstore.issuers.acme.wishes import Binding, Progress, Server, Step, Wish
from certstore.issuers.csr import KeyType
from tests.authorities import pebble as pebbles
from tests.authorities.answering import ByDns, ByHttp, Recorder
from tests.authorities.pebble import Pebble

WITHIN_S = 120
ORACLE = Path(pebbles.__file__).with_name("oracle.py")


@pytest.fixture(scope="module")
def pebble(tmp_path_factory, pki) -> Iterator[Pebble]:
    with pebbles.running(tmp_path_factory.mktemp("pebble"), pki) as running:
        yield running


def make_issuer(root, disk=None) -> Issuer:
    for folder in layout.folders():
        (root / folder).mkdir(mode=0o700, parents=True, exist_ok=True)
    surroundings = Surroundings(lambda: datetime.now(UTC), random.random)
    issuer = Issuer(root, disk or Disk(), surroundings)
    assert issuer.load() == ()
    return issuer


@pytest.fixture
def issuer(tmp_path) -> Issuer:
    return make_issuer(tmp_path)


@pytest.fixture(autouse=True)
async def deadline():
    with trio.fail_after(WITHIN_S):
        yield


@pytest.mark.parametrize("kind", [KeyType.EC, KeyType.RSA2048])
async def test_a_certificate_comes_by_http_01_and_is_a_candidate(pebble, issuer, kind):
    told: list[Progress] = []
    await issuer.register(pebble.server, contacts=["office@example.test"], terms_agreed=True)
    async with ByHttp.on(pebble.http) as web:
        wish = Wish(("b.example.test", "A.example.test"), kind)
        issued = await issuer.issue(pebble.server, wish, {Challenge.HTTP_01: web}, told.append)
    assert issued.names == ("a.example.test", "b.example.test")
    decoded = decode(issued.candidate().files)
    assert not [one for one in decoded.findings if one.is_error]
    assert KeyType.of(decoded.keys[0].public_key()) is kind
    assert web.given == []
    assert len(web.ever) == 2
    steps = list(dict.fromkeys(one.step for one in told))
    assert steps == [*Step][:3] + [s for s in [*Step][3:] if s in steps]
    await issuer.taken(issued)
    assert not issuer.orders


async def test_a_wildcard_comes_by_dns_01_beside_its_own_domain(pebble, issuer):
    await issuer.register(pebble.server, terms_agreed=True)
    dns = ByDns(pebble)
    answerers = {Challenge.HTTP_01: Recorder(), Challenge.DNS_01: dns}
    issued = await issuer.issue(pebble.server, Wish(("*.wild.example.test",)), answerers)
    assert issued.names == ("*.wild.example.test",)
    both = Wish(("*.wild.example.test", "wild.example.test"))
    issued = await issuer.issue(pebble.server, both, {Challenge.DNS_01: dns})
    assert issued.names == both.names


async def test_an_address_is_certified(pebble, issuer):
    await issuer.register(pebble.server, terms_agreed=True)
    async with ByHttp.on(pebble.http) as web:
        issued = await issuer.issue(pebble.server, Wish(("127.0.0.1",)), {Challenge.HTTP_01: web})
    alternative = issued.leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(one) for one in alternative.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]


async def test_a_proof_that_is_not_there_is_told_and_the_next_try_starts_anew(pebble, issuer):
    await issuer.register(pebble.server, terms_agreed=True)
    nobody = Recorder()
    with pytest.raises(AcmeError) as refused:
        await issuer.issue(pebble.server, Wish(("lost.example.test",)), {Challenge.HTTP_01: nobody})
    assert refused.value.code == "acme_challenge_failed"
    assert "lost.example.test" in str(refused.value)
    assert nobody.ever[0].key_authorization not in str(refused.value)
    assert nobody.given == []
    assert not issuer.orders
    async with ByHttp.on(pebble.http) as web:
        await issuer.issue(pebble.server, Wish(("lost.example.test",)), {Challenge.HTTP_01: web})


async def test_the_chain_that_leads_to_a_preferred_root_is_chosen(pebble, issuer):
    await issuer.register(pebble.server, terms_agreed=True)
    roots = [x509.load_pem_x509_certificate(pebble.root(number)) for number in (0, 1)]
    async with ByHttp.on(pebble.http) as web:
        for root in roots:
            name = root.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value
            wish = Wish(("chain.example.test",), preferred_chain=str(name))
            issued = await issuer.issue(pebble.server, wish, {Challenge.HTTP_01: web})
            last = x509.load_pem_x509_certificates(issued.chain_pem)[-1]
            last.verify_directly_issued_by(root)
            await issuer.taken(issued)


async def test_a_kept_key_is_used_again(pebble, issuer):
    await issuer.register(pebble.server, terms_agreed=True)
    key = csr.new_key(KeyType.EC384)
    async with ByHttp.on(pebble.http) as web:
        wish = Wish(("pinned.example.test",), KeyType.EC384, same_key=key)
        issued = await issuer.issue(pebble.server, wish, {Challenge.HTTP_01: web})
    assert issued.leaf.public_key() == key.public_key()


async def test_the_account_is_found_again_and_gets_a_new_key(pebble, issuer, tmp_path):
    account = await issuer.register(pebble.server, terms_agreed=True)
    assert await issuer.register(pebble.server) == account
    rolled = await issuer.roll_over(pebble.server)
    assert rolled.thumbprint != account.thumbprint
    assert rolled.url == account.url
    again = make_issuer(tmp_path)
    assert again.account(pebble.server.directory) == rolled
    changed = await again.register(pebble.server, contacts=["new@example.test"])
    assert (changed.url, changed.contacts) == (account.url, ("new@example.test",))


async def test_certbots_acme_finds_the_same_account_by_the_same_key(pebble, issuer, tmp_path, tool, pki):
    await issuer.register(pebble.server, terms_agreed=True)
    account = await issuer.roll_over(pebble.server)
    (tmp_path / "roots.pem").write_bytes(pki.root_pem)
    python = Path(tool("waitress-serve")).with_name("python")
    key = tmp_path / layout.account_folder(account.id) / layout.KEY
    words = [str(python), str(ORACLE), pebble.server.directory, str(tmp_path / "roots.pem"), str(key)]
    run = partial(trio.run_process, words, capture_stdout=True, capture_stderr=True, check=False)
    done = await run()
    for _ in range(20):  # half of all nonces are refused, and it asks only once more
        if done.returncode == 0:
            break
        done = await run()
    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout) == {"url": account.url, "thumbprint": account.thumbprint}


@pytest.mark.parametrize("by", ["account", "key"])
async def test_a_certificate_is_revoked_and_once_more_is_no_harm(pebble, issuer, by):
    await issuer.register(pebble.server, terms_agreed=True)
    async with ByHttp.on(pebble.http) as web:
        issued = await issuer.issue(pebble.server, Wish((f"{by}.example.test",)), {Challenge.HTTP_01: web})
    assert pebble.status_of(issued.leaf.serial_number) == "Valid"
    key = issued.key if by == "key" else None
    for _ in range(2):
        await issuer.revoke(pebble.server, issued.leaf, key=key, reason=4)
    assert pebble.status_of(issued.leaf.serial_number) == "Revoked"


async def test_an_account_ends_with_its_key_and_its_orders(pebble, issuer, tmp_path):
    await issuer.register(pebble.server, terms_agreed=True)
    async with ByHttp.on(pebble.http) as web:
        await issuer.issue(pebble.server, Wish(("end.example.test",)), {Challenge.HTTP_01: web})
    await issuer.deactivate(pebble.server)
    assert not issuer.accounts
    assert not issuer.orders
    assert list((tmp_path / layout.ACCOUNTS).iterdir()) == []
    with pytest.raises(AcmeError) as unknown:
        await issuer.issue(pebble.server, Wish(("end.example.test",)), {})
    assert unknown.value.code == "acme_account_unknown"


async def test_a_profile_that_is_not_listed_is_not_asked_for(pebble, issuer):
    await issuer.register(pebble.server, terms_agreed=True)
    with pytest.raises(AcmeError) as refused:
        await issuer.issue(pebble.server, Wish(("p.example.test",), profile="shortlived"), {})
    assert refused.value.code == "acme_profile_unknown"


async def test_an_authority_that_binds_accounts_takes_only_its_own_key(pki, tmp_path):
    with pebbles.running(tmp_path, pki, binding=True) as strict:
        issuer = make_issuer(tmp_path / "store")
        with pytest.raises(AcmeError) as needed:
            await issuer.register(strict.server, terms_agreed=True)
        assert needed.value.code == "acme_binding_needed"
        wrong = Binding("kid-1", b"w" * 32)
        with pytest.raises(AcmeError) as refused:
            await issuer.register(strict.server, terms_agreed=True, binding=wrong)
        assert refused.value.code == "acme_binding_refused"
        account = await issuer.register(strict.server, terms_agreed=True, binding=strict.binding)
        assert account.binding == "kid-1"
        assert "w" * 32 not in repr(wrong)


async def test_terms_must_be_agreed_to(pebble, issuer):
    with pytest.raises(AcmeError) as refused:
        await issuer.register(pebble.server)
    assert refused.value.code == "acme_terms_unagreed"
    assert not issuer.accounts


async def test_a_server_that_is_not_trusted_is_told_as_that(pebble, issuer, pki):
    with pytest.raises(AcmeError) as refused:
        await issuer.directory(Server(pebble.server.directory))
    assert refused.value.code == "acme_untrusted"
