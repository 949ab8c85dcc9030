"""The ACME client with an authority that misbehaves, in virtual time; see tests/authorities/scripted.py."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import httpx2
import pytest
import trio

from certstore.atomic import Disk
from certstore.errors import StoreNotWritable
from certstore.issuers.acme import client as clients
from certstore.issuers.acme.challenges import Challenge
from certstore.issuers.acme.errors import AcmeError
from certstore.issuers.acme.messages import Authorization, Identifier, Order, OrderStatus, ProofStatus
from certstore.issuers.acme.order import Known, Seen
from certstore.issuers.acme.pursuit import Pursuit
from certstore.issuers.acme.renewalinfo import certificate_id
from certstore.issuers.acme.wishes import Progress, Step, Wish
from tests.authorities.answering import Recorder
from tests.authorities.scripted import EPOCH, URL, Scripted, answer, says, unscripted
from tests.authorities.store import open_issuer
from tests.pki import to_pem

WISH = Wish(("device.test",))


class Site:
    """A device and its authority."""

    def __init__(self, root, pki) -> None:
        self.root = root
        self.answering = Recorder()
        self.authority = Scripted(pki, self.sees)
        self.issuer = open_issuer(root, self.authority)
        self.told: list[Progress] = []

    def sees(self, name: str, whole: str) -> bool:
        return any((one.name, one.key_authorization) == (name, whole) for one in self.answering.given)

    def reboot(self, skew: timedelta = timedelta()) -> None:
        self.issuer = open_issuer(self.root, self.authority, skew)

    async def register(self):
        return await self.issuer.register(self.authority.server, terms_agreed=True)

    async def issue(self, wish=WISH):
        answerers = {Challenge.HTTP_01: self.answering, Challenge.DNS_01: self.answering}
        return await self.issuer.issue(self.authority.server, wish, answerers, self.told.append)

    async def refused(self, wish=WISH) -> AcmeError:
        with pytest.raises(AcmeError) as error:
            await self.issue(wish)
        assert self.answering.given == []
        return error.value


@pytest.fixture
async def site(tmp_path, pki) -> Site:
    made = Site(tmp_path, pki)
    await made.register()
    return made


def once(path: str, response):
    """A script that answers in the authority's place, the first time that this path is asked for."""
    left = [response]

    def script(method: str, asked: str):
        return left.pop() if asked.startswith(path) and method != "HEAD" and left else None

    return script


async def test_an_order_comes_to_its_end_and_says_what_it_waits_for(autojump_clock, site):
    issued = await site.issue()
    assert issued.names == ("device.test",)
    assert site.told[0].step is Step.ACCOUNT
    assert {one.step for one in site.told} >= {Step.ORDER, Step.ANSWERING, Step.ISSUANCE, Step.DOWNLOAD}
    assert all(one.until is None or one.until > EPOCH for one in site.told)


@pytest.mark.parametrize("said", ["7200", "Fri, 20 Nov 2026 02:00:00 GMT"])
@pytest.mark.parametrize("skew_days", [0, -400, 400])
async def test_a_rate_limit_keeps_its_time_by_the_authoritys_own_clock(autojump_clock, site, said, skew_days):
    skew = timedelta(days=skew_days)
    site.reboot(skew)
    site.authority.script = once("/neworder", says(429, "rateLimited", "too many", **{"Retry-After": said}))
    error = await site.refused()
    assert error.code == "acme_rate_limited"
    assert error.retry_at is not None
    assert abs(error.retry_at - (EPOCH + skew + timedelta(hours=2))) < timedelta(seconds=2)
    assert len(site.authority.orders) == 0
    await site.issue()
    assert len(site.authority.issued) == 1


async def test_a_limit_that_is_told_without_a_problem_is_one_as_well(autojump_clock, site):
    page = answer(503, b"<html>busy", "text/html", **{"Retry-After": "999999999"})
    site.authority.script = once("/neworder", page)
    error = await site.refused()
    assert error.code == "acme_server_failed"
    assert error.retry_at == EPOCH + clients.LONGEST_WAIT


async def test_one_that_was_replaced_already_is_asked_for_without_that(autojump_clock, site):
    first = await site.issue()
    await site.issuer.taken(first)
    wish = Wish(("device.test",), replaces=certificate_id(first.leaf))
    second = await site.issue(wish)
    assert second.replaced
    assert site.authority.orders[-1].payload["replaces"] == wish.replaces
    await site.issuer.taken(second)
    third = await site.issue(wish)
    assert not third.replaced
    assert "replaces" not in site.authority.orders[-1].payload
    assert third.leaf != second.leaf


async def test_an_authority_without_renewal_information_hears_of_no_predecessor(autojump_clock, site):
    site.authority.has_renewal_info = False
    first = await site.issue()
    assert await site.issuer.renewal_info(site.authority.server, first.leaf) is None
    await site.issuer.taken(first)
    await site.issue(Wish(("device.test",), replaces=certificate_id(first.leaf)))
    assert "replaces" not in site.authority.orders[-1].payload


async def test_the_window_for_renewal_is_read_and_asked_again_within_a_day(autojump_clock, site):
    issued = await site.issue()
    site.authority.window = {
        "suggestedWindow": {"start": "2026-12-01T00:00:00Z", "end": "2026-12-03T00:00:00.5Z"},
        "explanationURL": "https://acme.test/why",
    }
    info = await site.issuer.renewal_info(site.authority.server, issued.leaf)
    assert info is not None
    assert (info.start.day, info.end.day, info.explanation) == (1, 3, "https://acme.test/why")
    assert info.again_at - EPOCH <= timedelta(days=1, minutes=1)
    site.authority.window = {
        "suggestedWindow": {"start": "2026-12-03T00:00:00Z", "end": "2026-12-01T00:00:00Z"}
    }
    with pytest.raises(AcmeError) as strange:
        await site.issuer.renewal_info(site.authority.server, issued.leaf)
    assert strange.value.code == "acme_answer_strange"


@pytest.mark.parametrize("place", ["/neworder", "/order", "/chall", "/finalize", "/cert"])
async def test_500s_for_hours_cost_neither_the_order_nor_its_key(autojump_clock, site, place):
    end = trio.current_time() + 5 * 3600

    def broken(method: str, path: str):
        return says(500, "serverInternal") if path.startswith(place) and trio.current_time() < end else None

    site.authority.script = broken
    tries = 0
    while trio.current_time() < end:
        error = await site.refused()
        assert error.code == "acme_server_failed"
        assert not error.is_lasting
        tries += 1
        site.reboot()
        await trio.sleep(1200)
    issued = await site.issue()
    assert tries >= 10
    assert len(site.authority.orders) == 1
    assert site.authority.issued == [issued.leaf]


class Half(httpx2.AsyncByteStream):
    """A body that breaks off."""

    async def __aiter__(self):
        yield b'{"status": "pend'
        raise httpx2.RemoteProtocolError("peer closed connection without sending complete message body")


async def test_a_body_that_breaks_off_is_read_again_where_that_changes_nothing(autojump_clock, site):
    half = httpx2.Response(200, headers={"Content-Type": "application/json"}, stream=Half())
    site.authority.script = once("/order/", half)
    await site.issue()
    assert len(site.authority.orders) == 1


async def test_a_new_order_whose_answer_breaks_off_is_not_sent_again_at_once(autojump_clock, site):
    half = httpx2.Response(201, headers={"Content-Type": "application/json"}, stream=Half())
    site.authority.script = once("/neworder", half)
    error = await site.refused()
    assert error.code == "acme_unreachable"
    assert [path for _, path in site.authority.asked].count("/neworder") == 1
    (record,) = site.issuer.orders.values()
    issued = await site.issue()
    assert issued.order == record.id


@pytest.mark.parametrize(
    ("path", "response"),
    [
        ("/order/", lambda: answer(200, b"<html>Log in", "text/html")),
        ("/order/", lambda: answer(200, b"[]")),
        ("/order/", lambda: answer(200, b"{" * 300_000)),
        ("/order/", lambda: answer(200, {"status": "valid"})),
        ("/order/", lambda: answer(200, b"{}", **{"Content-Encoding": "gzip"})),
        (
            "/authz/",
            lambda: answer(200, {"status": "pending", "identifier": {"type": "dns", "value": "x.test"}}),
        ),
        ("/neworder", lambda: answer(307, b"", Location=f"{URL}/elsewhere")),
        ("/cert/", lambda: answer(200, b"what", "text/plain")),
    ],
)
async def test_an_answer_that_cannot_be_one_is_told_and_the_order_goes_on_later(
    autojump_clock, site, path, response
):
    site.authority.script = once(path, response())
    error = await site.refused()
    assert error.code == "acme_answer_strange", error
    assert ("POST", "/elsewhere") not in site.authority.asked
    await site.issue()
    assert len(site.authority.issued) == 1


@pytest.mark.parametrize("fault", ["chain", "names", "key", "text"])
async def test_a_certificate_that_was_not_asked_for_is_not_taken(autojump_clock, site, pki, fault):
    authority = site.authority

    def strange(request, order):
        own = request.public_key()
        if fault == "chain":
            return to_pem(authority.leaf(own, ["device.test"]), pki.root)
        if fault == "names":
            return to_pem(authority.leaf(own, ["other.test"]), pki.intermediate)
        return pki.leaf(("device.test",)).chain_pem if fault == "key" else b"sorry"

    authority.issuing = strange
    error = await site.refused()
    assert error.code == "acme_certificate_foreign"
    assert not site.issuer.orders
    authority.issuing = authority.issue
    assert (await site.issue()).names == ("device.test",)


async def test_an_order_that_never_leaves_processing_is_left_and_taken_up_again(autojump_clock, site):
    site.authority.stays_processing = True
    error = await site.refused()
    assert error.code == "acme_order_stuck"
    assert trio.current_time() < 1000
    site.reboot()
    assert (await site.refused()).code == "acme_order_stuck"
    assert len(site.authority.asked) < 150
    site.authority.stays_processing = False
    site.authority.orders[0].status = "valid"
    await site.issue()
    assert len(site.authority.orders) == len(site.authority.issued) == 1


@pytest.mark.parametrize("skew_days", [-3650, 3650])
async def test_a_wrong_clock_stops_no_order(autojump_clock, site, skew_days):
    site.reboot(timedelta(days=skew_days))
    assert (await site.issue()).names == ("device.test",)


async def test_an_order_that_its_authority_has_forgotten_starts_anew(autojump_clock, site):
    site.authority.stays_processing = True
    await site.refused()
    site.authority.stays_processing = False
    site.authority.script = once("/order/", says(404, "malformed", "no such order"))
    await site.issue()
    assert len(site.authority.orders) == 2
    assert len(site.issuer.orders) == 1


async def test_a_finished_certificate_waits_until_it_is_taken(autojump_clock, site):
    issued = await site.issue()
    asked = len(site.authority.asked)
    site.reboot()
    again = await site.issue()
    assert again.leaf == issued.leaf
    assert len(site.authority.asked) == asked
    await trio.sleep(40 * 86400)  # nobody took it: it is no answer to a wish of today
    assert (await site.issue()).leaf != issued.leaf


@pytest.mark.parametrize("is_told", [True, False])
async def test_a_new_account_key_is_found_out_after_a_lost_answer(autojump_clock, site, is_told):
    def lost(method: str, path: str) -> None:
        if path == "/keychange":
            raise httpx2.ReadError("gone")

    before = site.issuer.account(site.authority.server.directory)
    if is_told:
        site.authority.after = lost
    else:
        site.authority.script = lost
    with pytest.raises(AcmeError):
        await site.issuer.roll_over(site.authority.server)
    site.authority.after = site.authority.script = unscripted
    site.reboot()
    await site.issue()
    after = site.issuer.account(site.authority.server.directory)
    assert (after.thumbprint != before.thumbprint) is is_told


async def test_a_full_disk_stops_an_order_before_its_authority_hears_of_it(autojump_clock, site):
    def full(step, path):
        if "orders" in path.parts and step == "write":
            raise OSError(28, "no space left on device")

    site.issuer = open_issuer(site.root, site.authority, disk=Disk(full))
    with pytest.raises(StoreNotWritable):
        await site.issue()
    assert site.authority.orders == []


async def test_no_key_stands_in_what_is_shown(autojump_clock, site):
    issued = await site.issue()
    shown = repr((issued, issued.candidate(), site.issuer.accounts, site.issuer.orders, WISH))
    assert "PRIVATE" not in shown
    assert "PrivateKey" not in shown


async def test_a_record_that_stands_proves_names_and_wildcards(autojump_clock, site):
    site.authority.persists = True
    answerers = {Challenge.DNS_PERSIST_01: site.answering}
    wish = Wish(("*.device.test", "device.test"))
    await site.issuer.issue(site.authority.server, wish, answerers)
    account = next(iter(site.issuer.accounts.values()))
    assert {one.key_authorization for one in site.answering.ever} == {
        f"authority.test; accounturi={account.url}",
        f"authority.test; accounturi={account.url}; policy=wildcard",
    }
    assert {one.name for one in site.answering.ever} == {"device.test"}


async def test_who_waits_for_proofs_is_told_of_those_that_are_still_looked_for(site):
    known = Known((Challenge.HTTP_01,))
    statuses = {
        "one.test": ProofStatus.VALID,
        "two.test": ProofStatus.PENDING,
        "x.test": ProofStatus.PROCESSING,
    }
    authorizations = tuple(
        Authorization(f"{URL}/{name}", status, Identifier("dns", name), is_wildcard=False, offers=())
        for name, status in statuses.items()
    )
    pending = Order(OrderStatus.PENDING, frozenset(), (), f"{URL}/f")
    waiting = Pursuit.__new__(Pursuit)
    waiting._known = replace(known, seen=Seen(pending, authorizations))
    assert waiting._unproved() == ("two.test", "x.test")
