"""Of an EC and an RSA certificate one comes, and the other doesn't: each is served as soon as it can be had.

With a real keeper and store, and an authority in memory, in virtual time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from datetime import timedelta
from functools import cache
from itertools import cycle
from typing import Any

import httpx2
import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_der_private_key

from certstore import Bundle, KeyType
from certstore.atomic import Disk
from certstore.issuers import csr
from certstore.issuers.acme.enrolment import Enrolments, Fallback, Renewal
from certstore.issuers.acme.renewalinfo import certificate_id
from tests.authorities.scripted import Order, answer, says, unjudged
from tests.authorities.years import DAY_S, ROOT, Life, in_virtual_time, most_within
from tests.pki import to_pem
from tests.tlsproxy.test_acme_both import HOUR_S, kinds, live, of_acme, orders_left, served, want
from tlsproxy.cli.acme import _tell
from tlsproxy.control.acmedocuments import AcmeDocument

EC, RSA = KeyType.EC, KeyType.RSA2048
NAME = {EC: "EC", RSA: "RSA"}
OTHER = {EC: RSA, RSA: EC}
KINDS = pytest.mark.parametrize("kind", [EC, RSA], ids=["EC", "RSA"])


@pytest.fixture(autouse=True)
def keys_made(monkeypatch) -> None:
    """Have RSA keys that were made, and prove their primes, once: one that never comes is asked for often."""
    make = csr.new_key
    made = cycle([make(RSA) for _ in range(8)])
    monkeypatch.setattr(csr, "new_key", lambda kind: next(made) if kind.is_rsa else make(kind))
    monkeypatch.setattr("certstore.loading.load_der_private_key", cache(load_der_private_key))


@pytest.fixture
def life(tmp_path, pki, monkeypatch) -> Life:
    in_virtual_time(monkeypatch)
    made = Life.of(tmp_path / "store", pki, days=90, years=1, seed=1, suggests=True)
    made.outages, made.beside = (), RSA
    return made


def of(request: x509.CertificateSigningRequest) -> KeyType:
    return KeyType.of(request.public_key())


def refuse(life: Life, kind: KeyType, response: Callable[[], httpx2.Response]) -> None:
    """Have the authority say this to whoever wants one with such a key."""
    life.authority.judging = lambda request: response() if of(request) is kind else None


def never(life: Life, kind: KeyType) -> None:
    refuse(life, kind, lambda: says(400, "badCSR", "keys like that aren't taken here"))


def renewal(life: Life) -> Renewal:
    enrolments = Enrolments(life.root, Disk())
    assert enrolments.load() == ()
    return enrolments.renewal


def issued(life: Life, kind: KeyType) -> list[x509.Certificate]:
    return [one for one in life.authority.issued if KeyType.of(one.public_key()) is kind]


def at(life: Life, bundle: Bundle) -> bool:
    return bundle.not_before <= life.clock() <= bundle.not_after


async def each_week(life: Life, days: int) -> AsyncIterator[list[Bundle]]:
    """Live on, and look each week at what is served that is good."""
    for _ in range(days // 7):
        await live(life, 7 * DAY_S)
        yield [one for one in served(life) if at(life, one)]


@pytest.mark.parametrize("is_first", [True, False], ids=["enrolment", "renewal"])
@KINDS
async def test_what_comes_is_served_at_once_and_not_ordered_again(autojump_clock, life, kind, is_first):
    if not is_first:
        await live(life, HOUR_S)
    before, count, asked = served(life) if not is_first else [], len(life.authority.issued), list[float]()

    def fails() -> httpx2.Response:
        asked.append(trio.current_time())
        return says(500, "serverInternal")

    refuse(life, kind, fails)
    await live(life, (0 if is_first else 60) * DAY_S + 20 * HOUR_S)
    (came,) = life.authority.issued[count:]
    stays = [one.leaf for one in before if KeyType.of(one.leaf.public_key()) is kind]
    assert {one.leaf for one in served(life)} == {came, *stays}
    assert len(asked) > 2
    assert orders_left(life) == 1
    how = renewal(life)
    assert (how.lacking, how.is_asked, how.failures > 2) == (kind, False, True)
    life.authority.judging = unjudged
    await live(life, 2 * DAY_S)
    assert {one.leaf for one in served(life)} == set(life.authority.issued[count:])
    assert kinds(served(life)) == ["EC", "RSA"]
    assert len(life.authority.issued) == count + 2
    assert orders_left(life) == 0
    assert (renewal(life).lacking, renewal(life).failures) == (None, 0)


@pytest.mark.parametrize("is_first", [True, False], ids=["enrolment", "renewal"])
@KINDS
async def test_where_one_is_never_given_the_other_never_ends(autojump_clock, life, kind, is_first):
    if not is_first:
        await live(life, DAY_S)
    asked, there = list[float](), OTHER[kind]

    def refused() -> httpx2.Response:
        asked.append(trio.current_time())
        return says(400, "badCSR", "keys like that aren't taken here")

    refuse(life, kind, refused)
    async for good in each_week(life, 200):
        assert NAME[there] in kinds(good)
    assert 3 <= len(issued(life, there)) <= 5
    assert len(asked) < 2.5 * 200, "once or twice a day, as for all that only a person can mend"
    assert most_within(asked, HOUR_S) <= 5, "more often shortly before its end"
    assert renewal(life).lacking is kind
    replaced = [order.payload.get("replaces") for order in life.authority.orders if order.certificate]
    chain = [certificate_id(one) for one in issued(life, there)[:-1]]
    assert [one for one in replaced if one in chain] == chain, "each follows its own kind"


@KINDS
async def test_one_that_is_limited_for_ever_does_not_keep_the_other_waiting(autojump_clock, life, kind):
    refuse(life, kind, lambda: says(429, "rateLimited", "not you", Retry_After="3600"))
    await live(life, 6 * HOUR_S)
    assert kinds(served(life)) == [NAME[OTHER[kind]]]
    assert len(life.authority.issued) == 1


@KINDS
async def test_whoever_gets_the_other_at_last_has_both_renewed_together_again(autojump_clock, life, kind):
    never(life, kind)
    await live(life, 10 * DAY_S)
    life.authority.judging = unjudged
    await live(life, 2 * DAY_S)
    first = served(life)
    assert kinds(first) == ["EC", "RSA"]
    assert renewal(life).ids == tuple(one.id for one in first)
    await live(life, 45 * DAY_S)
    assert served(life) == first
    await live(life, 8 * DAY_S)  # when the elder is due
    assert len(life.authority.issued) == 4
    assert [one.leaf for one in served(life)] == life.authority.issued[2:]


@KINDS
async def test_one_that_is_lost_is_asked_for_alone_and_the_other_stays(autojump_clock, life, kind):
    await live(life, HOUR_S)
    before = served(life)
    lost = before[0 if kind is EC else 1]
    with life.store() as store:
        store.ban(lost.spki, via="test")
    await live(life, 2 * HOUR_S)
    assert kinds(served(life)) == ["EC", "RSA"]
    assert len(life.authority.issued) == 3
    assert lost.spki not in {one.spki for one in served(life)}
    assert set(before) - {lost} < set(served(life))
    assert (renewal(life).lacking, renewal(life).failures) == (None, 0)
    await live(life, 60 * DAY_S)
    assert len(life.authority.issued) == 5


async def test_one_that_is_for_other_names_is_not_served_beside_the_first(autojump_clock, life, pki):
    def issue(request: Any, order: Order) -> bytes:
        more = ["www.device.test"] if of(request) is RSA else []
        return to_pem(life.authority.leaf(request.public_key(), [*order.names, *more]), pki.intermediate)

    life.authority.issuing = issue
    await live(life, 5 * DAY_S)
    with life.store() as store:
        (slot,) = of_acme(store)
        assert slot.names == ("device.test",)
    assert kinds(served(life)) == ["EC"]
    assert set(life.told) == {"acme_certificate_refused"}
    assert renewal(life).lacking is RSA
    assert len(issued(life, EC)) == 1
    assert len(issued(life, RSA)) <= 12
    assert orders_left(life) == 0


@KINDS
async def test_one_that_is_refused_here_keeps_the_other_from_nobody(autojump_clock, life, pki, kind):
    def issue(request: Any, order: Order) -> bytes:
        life.authority.days = 0.01 if of(request) is kind else 90.0  # it has ended when it comes
        made: bytes = life.authority.issue(request, order)
        return made

    life.authority.issuing, there = issue, OTHER[kind]
    await live(life, DAY_S)
    assert kinds(served(life)) == [NAME[there]]
    assert renewal(life).lacking is kind
    assert len(issued(life, there)) == 1
    assert orders_left(life) == 0


async def test_an_authority_that_wants_the_one_renewed_early_is_heard_while_the_other_lacks(
    autojump_clock, life
):
    def script(method: str, path: str) -> httpx2.Response | None:
        if not path.startswith("/ari/"):
            return None
        leaf = next(one for one in life.authority.issued if path.endswith(str(certificate_id(one))))
        start = leaf.not_valid_before_utc + timedelta(days=20)
        window = {"start": start.isoformat(), "end": (start + timedelta(days=2)).isoformat()}
        return answer(200, {"suggestedWindow": window}, **{"Retry-After": "21600"})

    never(life, RSA)
    life.authority.script = script
    await live(life, 19 * DAY_S)
    assert len(issued(life, EC)) == 1
    await live(life, 4 * DAY_S)
    assert len(issued(life, EC)) == 2


async def test_the_fallback_gives_what_the_first_authority_does_not_and_each_is_asked_about_its_own(
    autojump_clock, life
):
    other = "https://acme.test/other/dir"
    asked, now_asked = list[str](), [""]

    def script(method: str, path: str) -> httpx2.Response | None:
        if path in {"/dir", "/other/dir"}:
            now_asked[0] = path
            directory: httpx2.Response = life.authority._serve("GET", "/dir", b"")
            return directory
        if path.startswith("/ari/"):
            asked.append(f"{now_asked[0]} {path.removeprefix('/ari/')}")
            suggested: httpx2.Response = life._suggestion(path)
            return suggested
        return None

    life.authority.script = script

    def judge(request: x509.CertificateSigningRequest) -> httpx2.Response | None:
        return says(400, "badCSR") if of(request) is RSA and now_asked[0] == "/dir" else None

    life.authority.judging = judge
    with life.store() as store:
        keeper = life.keeper(store)
        await want(life, keeper, fallback=Fallback(other))
        with trio.move_on_after(3 * DAY_S):
            await keeper.run()
    assert kinds(served(life)) == ["EC", "RSA"]
    how = renewal(life)
    assert (how.authority, how.beside_authority) == (life.authority.server.directory, other)
    ec, rsa = (str(certificate_id(one.leaf)) for one in served(life))
    assert {f"/dir {ec}", f"/other/dir {rsa}"} <= set(asked)
    assert f"/dir {rsa}" not in asked


async def test_what_no_authority_gives_drives_the_other_one_to_no_other_authority(autojump_clock, life):
    other, now_asked, orders = "https://acme.test/other/dir", [""], list[tuple[str, KeyType]]()

    def script(method: str, path: str) -> httpx2.Response | None:
        if path in {"/dir", "/other/dir"}:
            now_asked[0] = path
            directory: httpx2.Response = life.authority._serve("GET", "/dir", b"")
            return directory
        suggested: httpx2.Response | None = life._suggestion(path) if path.startswith("/ari/") else None
        return suggested

    def judge(request: x509.CertificateSigningRequest) -> httpx2.Response | None:
        orders.append((now_asked[0], of(request)))
        return says(500, "serverInternal") if of(request) is RSA else None

    life.authority.script, life.authority.judging = script, judge
    with life.store() as store:
        keeper = life.keeper(store)
        await want(life, keeper, fallback=Fallback(other))
        with trio.move_on_after(130 * DAY_S):
            await keeper.run()
    assert {at for at, kind in orders if kind is RSA} == {"/dir", "/other/dir"}
    assert [at for at, kind in orders if kind is EC] == ["/dir"] * 3
    assert renewal(life).authority == life.authority.server.directory


async def test_what_lacks_is_told_and_how_it_stands(autojump_clock, life, capsys):
    events = list[Mapping[str, object]]()
    never(life, RSA)
    with life.store() as store:
        keeper = life.keeper(store)
        keeper.herald.tell = events.append
        await life.enable(keeper)
        with trio.move_on_after(HOUR_S):
            await keeper.run()
        (finding,) = keeper.troubles()
        shown = await keeper.standing()
    assert finding.code == "acme_half_lacking"
    assert "the RSA one hasn't come in 1 tries" in finding.words
    assert shown is not None
    assert (shown["lacking"], shown["asking"], shown["beside_sha256"]) == ("rsa2048", False, None)
    assert shown["sha256"] is not None
    AcmeDocument(**{**shown, "last_failure": None})  # it has what the API's description has
    capsys.readouterr()
    _tell(shown, as_json=False)
    told = capsys.readouterr().out
    assert "certificate  valid until " in told
    assert "failed       rsa2048: the authority acme.test refuses the key or the request" in told
    assert [one["state"] for one in events if one["state"] != "step"] == ["asked", "issued", "failed"]
    came = next(one for one in events if one["state"] == "issued")
    assert came["key_type"] == "ec"
    with life.store() as store:
        keeper = life.keeper(store)
        await keeper.renew(ROOT)
        with trio.move_on_after(HOUR_S):
            await keeper.run()
    assert len(issued(life, EC)) == 2, "who asks for the next wants both"


async def test_a_year_of_outages_ends_neither_where_the_other_is_refused(
    autojump_clock, monkeypatch, tmp_path, pki
):
    in_virtual_time(monkeypatch, 5)
    life = Life.of(tmp_path / "store", pki, days=47, years=1, seed=5, suggests=True)
    life.beside = RSA
    never(life, RSA)
    await life.live()
    assert list(life.lapses()) == []
    assert most_within(life.orders, 3 * HOUR_S) <= 300
    assert most_within(life.unproved, HOUR_S) <= 5
    assert 365 / 47 <= len(issued(life, EC)) <= 365 / 47 * 2.3
