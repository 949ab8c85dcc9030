"""Whoever enables while an authority can't be reached, with a real keeper and store, in virtual time."""

from __future__ import annotations

from dataclasses import replace

import httpx2
import pytest
import trio

from certstore import layout
from certstore.atomic import Disk
from certstore.issuers.acme.enrolment import Enrolments, Fallback
from certstore.issuers.acme.introductions import Introductions
from certstore.issuers.acme.wishes import Binding
from tests.authorities.scripted import answer, says
from tests.authorities.years import DAY_S, NAME, ROOT, Life, in_virtual_time
from tlsproxy.acmekeeping import AcmeRefusedError, Terms

HOUR_S = 3_600.0
SECRET = b"a key that binds the account"


@pytest.fixture
def life(tmp_path, pki, monkeypatch) -> Life:
    in_virtual_time(monkeypatch)
    made = Life.of(tmp_path / "store", pki, days=90, years=1, seed=1, suggests=True)
    made.outages = ()
    return made


def dead(_method: str, _path: str) -> None:
    raise httpx2.ConnectError("nobody there")


def bound(life: Life) -> Terms:
    binding = {life.authority.server.directory: Binding("kid", SECRET)}
    return Terms(("a@device.test",), is_agreed=True, bindings=binding)


def enrolments(life: Life) -> Enrolments:
    read = Enrolments(life.root, Disk())
    assert read.load() == ()
    return read


async def test_an_authority_that_is_not_there_yet_is_asked_again_until_it_is(autojump_clock, life):
    """Also after a reboot, with the terms that were agreed to; then they are forgotten."""
    life.authority.script = dead
    life.authority.meta = {"termsOfService": "https://acme.test/terms", "externalAccountRequired": True}
    events = list[dict[str, object]]()
    with life.store() as store:
        keeper = life.keeper(store)
        keeper.herald.tell = events.append
        await keeper.enable(life.enrolment, bound(life), ROOT)
        standing = await keeper.standing()
    assert standing is not None
    assert (standing["asking"], standing["failures"], standing["sha256"]) == (True, 1, None)
    assert standing["next_at"] is not None
    assert standing["last_failure"]["code"] == "acme_unreachable"
    assert [one["state"] for one in events] == ["step", "step", "step", "asked", "failed"]
    assert life.told == ["acme_unreachable"]
    terms = life.root / layout.TERMS
    assert terms.stat().st_mode & 0o077 == 0
    with life.store() as store, trio.move_on_after(HOUR_S):
        await life.keeper(store).run()
    assert enrolments(life).renewal.failures > 1
    assert terms.exists()
    life.authority.script = life._script
    with life.store() as store, trio.move_on_after(DAY_S):
        await life.keeper(store).run()
    assert len(life.authority.issued) == len(life.authority.accounts) == 1
    assert not terms.exists()
    assert enrolments(life).renewal.failures == 0


@pytest.mark.parametrize(
    ("response", "code"),
    [
        (lambda: answer(404, b""), "acme_directory_missing"),
        (lambda: answer(200, b"<html>", "text/html"), "acme_directory_missing"),
        (lambda: says(403, "unauthorized", "the key is unknown"), "acme_binding_refused"),
        (lambda: says(400, "userActionRequired"), "acme_terms_unagreed"),
    ],
)
async def test_what_a_person_has_to_change_keeps_nothing(autojump_clock, life, response, code):
    path = "/dir" if code == "acme_directory_missing" else "/account"

    def refuses(_method: str, asked: str) -> httpx2.Response | None:
        if asked != path:
            return None
        return response() if path == "/dir" or life.authority.asked.count(("POST", path)) > 1 else None

    life.authority.script = refuses
    with life.store() as store:
        keeper = life.keeper(store)
        with pytest.raises(AcmeRefusedError) as refused:
            await keeper.enable(life.enrolment, bound(life), ROOT)
        assert await keeper.standing() is None
    assert refused.value.code == code
    assert enrolments(life).enrolment is None
    assert not (life.root / layout.TERMS).exists()


async def test_what_is_wanted_already_and_well_does_not_fail_by_being_wanted_again(autojump_clock, life):
    with life.store() as store:
        keeper = life.keeper(store)
        await life.enable(keeper)
        with trio.move_on_after(HOUR_S):
            await keeper.run()
        before = enrolments(life).renewal
        life.authority.script = dead
        with pytest.raises(AcmeRefusedError) as refused:
            await life.enable(keeper)
        assert refused.value.code == "acme_unreachable"
        assert enrolments(life).renewal == before
        life.authority.script = life._script
        with trio.move_on_after(80 * DAY_S):
            await keeper.run()
    assert len(life.authority.issued) == 2
    assert not (life.root / layout.TERMS).exists()


async def test_a_fallback_that_is_not_there_hinders_nobody_and_is_told_later(autojump_clock, life):
    other = "https://acme.test/other/dir"

    def first_alone(_method: str, path: str) -> httpx2.Response | None:
        if path == "/other/dir":
            raise httpx2.ConnectError("nobody there")
        return None

    life.authority.script = first_alone
    with life.store() as store:
        keeper = life.keeper(store)
        make = life.enrolment
        await keeper.enable(
            lambda since: replace(make(since), fallback=Fallback(other)), Terms(is_agreed=True), ROOT
        )
        with trio.move_on_after(HOUR_S):
            await keeper.run()
        assert len(life.authority.issued) == 1
        assert (life.root / layout.TERMS).exists()

        def fallback_alone(_method: str, path: str) -> httpx2.Response | None:
            if path == "/dir":
                raise httpx2.ConnectError("nobody there")
            if path == "/other/dir":
                served: httpx2.Response = life.authority._serve("GET", "/dir", b"")
                return served
            return life._suggestion(path) if path.startswith("/ari/") else None

        life.authority.script = fallback_alone
        with trio.move_on_after(89 * DAY_S):
            await keeper.run()
    assert len(life.authority.issued) == 2
    assert enrolments(life).renewal.authority == other
    assert not (life.root / layout.TERMS).exists()


async def test_who_disables_leaves_nothing_of_what_was_to_be_told(autojump_clock, life):
    life.authority.script = dead
    with life.store() as store:
        keeper = life.keeper(store)
        await keeper.enable(life.enrolment, bound(life), ROOT)
        kept = Introductions(life.root, Disk()).load()
        assert kept is not None
        assert SECRET.decode() not in repr(kept)
        assert kept == bound(life).introduction()
        await keeper.disable(ROOT)
    left = {one.name for one in (life.root / layout.ACCOUNTS).rglob("*")}
    assert left == {"declined.json"}


async def test_what_is_waited_for_and_why_it_takes_another_try_is_told(autojump_clock, life):
    breaks = 2

    def script(_method: str, path: str) -> None:
        nonlocal breaks
        if breaks and path == "/dir":
            breaks -= 1
            raise httpx2.ConnectError("nobody there")

    life.authority.script = script
    events = list[dict[str, object]]()
    with life.store() as store:
        keeper = life.keeper(store)
        keeper.herald.tell = events.append
        await life.enable(keeper)
        why = "the authority acme.test can't be reached: nobody there"
        assert [(one["state"], one.get("why")) for one in events] == [
            ("step", ""),
            ("step", why),
            ("step", why),
            ("asked", None),
        ]
        assert {(one["step"], tuple(one["names"])) for one in events[:-1]} == {("account", (NAME,))}  # type: ignore[arg-type]
