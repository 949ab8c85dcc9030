"""News for hooks: what is news, how often it is tried, and that nothing secret of a URL is shown."""

from __future__ import annotations

import errno
import json
import os
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from tests.live.test_hooks import Collector
from tests.pki import Issued, Pki, to_pem
from tlsproxy import policy_notices as policy
from tlsproxy.config import NotifyConfig
from tlsproxy.config.reading import parse_webhook, read
from tlsproxy.notify import hook, letters
from tlsproxy.notify.helper import Helper, HelperState, Notifier
from tlsproxy.notify.letters import Letter, Renew, Report, Settings, Waiting
from tlsproxy.notify.process import Postman, pause_s
from tlsproxy.notify.webhook import post
from tlsproxy.observe.events import Event, EventLog
from tlsproxy.observe.status import Rung
from tlsproxy.telling import Teller

AT = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
ALL = ("expiry", "refused", "rung", "revoked")


@pytest.mark.parametrize(
    ("kind", "facts", "wanted", "is_news"),
    [
        ("expiry", {}, ALL, True),
        ("rung", {}, ALL, True),
        ("rung", {}, ("expiry",), False),
        ("receipt", {"state": "refused"}, ALL, True),
        ("receipt", {"state": "refused"}, ("expiry", "rung"), False),
        ("receipt", {"state": "confirmed"}, ALL, False),
        ("finding", {}, ALL, False),
        ("finding", {"code": "store_gone"}, ALL, False),
        ("finding", {"code": "certificate_revoked"}, ALL, True),
        ("finding", {"code": "certificate_reinstated"}, ALL, True),
        ("finding", {"code": "certificate_revoked"}, ("expiry", "rung"), False),
    ],
)
def test_news_are_the_events_that_were_asked_for(kind, facts, wanted, is_news):
    assert letters.is_news(Event(1, AT, kind, facts), wanted) is is_news


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://a.example", "https://a.example"),
        ("https://a.example/", "https://a.example"),
        ("https://a.example:8443/services/T0/B0/s3cret", "https://a.example:8443/..."),
        ("https://me:s3cret@a.example", "https://a.example/..."),
        ("https://a.example?key=s3cret", "https://a.example/..."),
        ("http://s3cret@[::1]:80/x", "http://[::1]:80/..."),
    ],
)
def test_a_url_is_shown_without_what_may_be_secret(url, shown):
    assert letters.shown(url) == shown
    assert parse_webhook(url) == url


@pytest.mark.parametrize(
    "url", ["", "a.example", "ftp://a.example/s3cret", "http://a.example/s3cret", "https://[::1/s3cret"]
)
def test_a_url_that_is_none_or_in_the_clear_is_refused_without_repeating_it(url):
    with pytest.raises(ValueError, match=r".") as caught:
        parse_webhook(url)
    assert "s3cret" not in str(caught.value)


def test_the_configuration_of_hooks_is_read_and_its_mistakes_have_their_places() -> None:
    text = """
store = "s"
[[listener]]
address = "127.0.0.1:0"
[[route]]
upstream = "http://127.0.0.1:9"
[notify]
"""
    good = read(
        text + 'command = ["/bin/hook", "x"]\nwebhook = "https://h"\nwebhook_ca = "ca.pem"\n'
        'events = ["rung"]\ntry_s = 5',
        Path("/etc"),
    )
    assert good.config is not None
    notify = good.config.notify
    assert (notify.command, notify.webhook_ca, notify.events) == (
        ("/bin/hook", "x"),
        Path("/etc/ca.pem"),
        ("rung",),
    )
    assert notify.is_on
    bad = read(
        text + 'command = ["hook"]\nwebhook = "http://h/s3cret"\nevents = ["all"]\ntry_s = 0', Path("/")
    )
    assert {mistake.key for mistake in bad.mistakes} == {
        "notify.command",
        "notify.webhook",
        "notify.events",
        "notify.try_s",
    }
    assert "s3cret" not in str(bad.mistakes)


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_pauses_grow_at_random_and_stay_bounded(tries: int, chance: float) -> None:
    assert 0 <= pause_s(tries, chance) <= policy.RETRY_MOST_S
    assert pause_s(tries, 1.0) <= pause_s(tries + 1, 1.0)


async def test_what_fails_for_a_day_is_given_up_and_the_next_is_tried(autojump_clock):
    reports: list[Report] = []

    async def attempt(letter: Letter) -> tuple[str, str]:
        return ("no" if letter.text == "1" else "", "")

    postman = Postman("command", attempt, reports.append)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(postman.run)
        for text in ("1", "2"):
            postman.take(Letter("expiry", text))
        await trio.sleep(policy.GIVE_UP_S + policy.RETRY_MOST_S)
        nursery.cancel_scope.cancel()
    assert [one.result for one in reports[-2:]] == ["given_up", "delivered"]
    assert {one.result for one in reports[:-2]} == {"failed"}
    assert 24 < len(reports) < 120


async def test_a_full_queue_drops_the_oldest_and_says_so(autojump_clock):
    reports: list[Report] = []

    async def never(_letter: Letter) -> tuple[str, str]:
        await trio.sleep_forever()
        return "", ""

    postman = Postman("webhook", never, reports.append)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(postman.run)
        postman.take(Letter("first", ""))
        await trio.testing.wait_all_tasks_blocked()
        for number in range(policy.LETTERS_WAITING + 2):
            postman.take(Letter(f"n{number}", ""))
        nursery.cancel_scope.cancel()
    assert [(one.kind, one.result) for one in reports] == [("n0", "dropped"), ("n1", "dropped")]


async def test_at_the_end_what_waits_is_tried_once(autojump_clock):
    reports: list[Report] = []

    async def fail(_letter: Letter) -> tuple[str, str]:
        return "no", ""

    postman = Postman("webhook", fail, reports.append)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(postman.run)
        postman.take(Letter("one", ""))
        postman.take(Letter("two", ""))
        await trio.testing.wait_all_tasks_blocked()
        postman.end()
    assert [one.result for one in reports if one.result != "failed"] == ["given_up", "given_up"]


def test_messages_survive_their_packets_and_strangers_are_passed_by():
    for message in (
        Settings(("/bin/x",), "https://h", "", 3.0, ("/bin/y",), 9.0, ("u", 1, 2, (3,))),
        Letter("expiry", "{}"),
        Report("expiry", "command", "failed", 2, "why", "out"),
        Renew(),
    ):
        assert letters.decode(letters.encode(message)) == message
    assert letters.decode(b'{"type":"tomorrow"}') is None
    assert letters.decode(b"\xff") is None


def test_the_rung_is_told_when_it_changes_and_not_again_after_a_reload():
    events = EventLog(lambda: AT)
    teller = Teller(events)
    for rung in (Rung.WANTED, Rung.WANTED, Rung.EXPIRED, Rung.EXPIRED):
        teller.rung(rung)
    again = Teller(EventLog(lambda: AT, events.state()))
    again.rung(Rung.EXPIRED)
    again.rung(Rung.WANTED)
    told = [(one.facts["before"], one.facts["rung"]) for one in again.events.after(0).events]
    assert told == [(None, "expired"), ("expired", "wanted")]


@contextmanager
def secure_collector(folder: Path, issued: Issued) -> Iterator[Collector]:
    file = folder / "server.pem"
    file.write_bytes(issued.key_pem + issued.chain_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    with Collector() as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            ThreadingHTTPServer.shutdown(server)
            thread.join()


async def test_a_webhook_is_believed_only_with_a_certificate_that_is_trusted(
    tmp_path: Path, pki: Pki
) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_bytes(to_pem(pki.root))
    with trio.fail_after(30), secure_collector(tmp_path, pki.leaf(("127.0.0.1",))) as server:
        url = f"https://me:s3cret@127.0.0.1:{server.server_port}/x"
        why = await post(url, b"{}", "", 10.0)
        assert why.startswith("no connection: its certificate is not trusted"), why
        assert server.got == []
        assert await post(url, b'{"a":1}', str(ca), 10.0) == ""
        assert server.got == [("/x", {"a": 1})]
        assert "can't be used" in await post(url, b"{}", str(tmp_path / "absent"), 10.0)
        os.mkfifo(tmp_path / "pipe")
        assert "it is no file" in await post(url, b"{}", str(tmp_path / "pipe"), 10.0)
    why = await post(url, b"{}", str(ca), 10.0)
    assert why.startswith("no connection")
    assert "s3cret" not in why


async def test_a_hook_for_which_no_descriptor_is_left_is_a_failed_try_and_leaves_no_process(monkeypatch):
    """The helper ended with all that waited in it."""

    def none_left(_pid: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "pidfd_open", none_left)
    with trio.fail_after(30):
        ended = await hook.run(["/bin/sleep", "1000"], b"{}\n", 20.0)
    assert ended.why == "it can't be followed: too many open files"
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)  # noqa: ASYNC222


async def test_a_hook_with_a_word_that_no_program_can_get_is_a_failed_try():
    ended = await hook.run(["/bin/echo", "a\0b"], b"{}\n", 20.0)
    assert ended.why == "it can't be started: embedded null byte"


async def test_a_hook_whose_group_takes_the_signal_but_who_lives_on_holds_up_nobody(monkeypatch):
    """A `sudo` whose child is ours: the helper waited for it in its event loop, for ever."""
    monkeypatch.setattr(os, "killpg", lambda _pid, _signal: None)
    monkeypatch.setattr(policy, "KILL_S", 0.05)
    with trio.fail_after(30):
        ended = await hook.run(["/bin/sleep", "1000"], b"{}\n", 0.1)
    assert "did not end within" in ended.why
    (left,) = hook._left
    left.kill()
    left.wait()
    await hook.run(["/bin/true"], b"{}\n", 20.0)
    assert not hook._left


@pytest.mark.parametrize("url", ["https://a..b/s3cret", f"https://{'a' * 64}.example/"])
async def test_a_webhook_whose_host_is_no_name_is_a_failed_try_and_the_next_is_made(url, autojump_clock):
    """The helper ended with all that waited in it, at each event."""
    reports: list[Report] = []

    async def attempt(letter: Letter) -> tuple[str, str]:
        return (await post(url, b"{}", "", 20.0) if letter.text == "1" else ""), ""

    postman = Postman("webhook", attempt, reports.append)
    for text in ("1", "2"):
        postman.take(Letter("rung", text))
    postman.end()
    await postman.run()
    assert [(one.result, one.why) for one in reports] == [
        ("given_up", "it failed (UnicodeError)"),
        ("delivered", ""),
    ]


async def test_a_hook_that_cannot_be_killed_holds_up_nobody(monkeypatch):
    """A `sudo` that waits: it is another user's, and was waited for without an end."""

    def forbidden(_pid: int, _signal: int) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    with monkeypatch.context() as patched:
        patched.setattr(os, "killpg", forbidden)
        with trio.fail_after(30):
            ended = await hook.run(["/bin/sleep", "1000"], b"{}\n", 0.1)
    assert "did not end within" in ended.why
    (left,) = hook._left
    left.kill()
    left.wait()
    await hook.run(["/bin/true"], b"{}\n", 20.0)
    assert not hook._left


async def test_a_halted_queue_ends_what_it_tries_and_keeps_the_rest_for_later(autojump_clock):
    reports: list[Report] = []

    async def fail(_letter: Letter) -> tuple[str, str]:
        await trio.sleep(1)
        return "no", ""

    async def bring(_letter: Letter) -> tuple[str, str]:
        return "", ""

    postman = Postman("command", fail, reports.append)
    for text in ("1", "2"):
        postman.take(Letter("rung", text))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(postman.run)
        await trio.testing.wait_all_tasks_blocked()
        postman.halt()
    assert [(one.result, one.tries) for one in reports] == [("failed", 1)]
    first, second = postman.waiting
    assert (first.letter.text, first.tries) == ("1", 1)
    assert first.age_s == pytest.approx(1.0)
    assert second == Waiting("command", Letter("rung", "2"))
    later = Postman("command", bring, reports.append, [*postman.waiting, Waiting("webhook", first.letter)])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(later.run)
        await trio.testing.wait_all_tasks_blocked()
        later.end()
    assert [(one.result, one.tries) for one in reports[1:]] == [("delivered", 2), ("delivered", 1)]


async def test_a_helper_that_cannot_be_started_is_told_once_and_tried_again_and_ends_nothing(monkeypatch):
    """It ended the proxy, where no process, descriptor or thread was left for a moment."""
    start, failures = Helper.start, [OSError(errno.EAGAIN, "Resource temporarily unavailable")] * 3

    def start_at_last(settings: Settings) -> Helper:
        if failures:
            raise failures.pop()
        return start(settings)

    monkeypatch.setattr(Helper, "start", start_at_last)
    monkeypatch.setattr(policy, "HELPER_RETRY_S", 0.01)
    events, reports = EventLog(lambda: AT), list[Report]()
    with trio.fail_after(60), capture_logs() as log:
        notifier = Notifier(NotifyConfig(command=("/bin/cat",)), None, None, reloaded=False)
        notifier.on_report = reports.append
        async with trio.open_nursery() as nursery:
            nursery.start_soon(notifier.run, events)
            while notifier.helper is None or notifier.confined is None:  # noqa: ASYNC110
                await trio.sleep(0.01)
            events.add("rung", {"rung": "expired"})
            while not reports:  # noqa: ASYNC110
                await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
        await trio.to_thread.run_sync(notifier.close)
    assert (reports[0].result, '"rung":"expired"' in reports[0].output) == ("delivered", True)
    assert [line["event"] for line in log].count("hook_helper_not_started") == 1


async def test_what_happens_while_a_helper_is_dead_is_told_by_the_next_one(monkeypatch):
    """Ten seconds of news were passed by, each time."""
    start, may_start = Helper.start, threading.Event()

    def start_when_it_may(settings: Settings) -> Helper:
        may_start.wait()
        return start(settings)

    monkeypatch.setattr(policy, "HELPER_RETRY_S", 0.01)
    events, reports = EventLog(lambda: AT), list[Report]()
    with trio.fail_after(60):
        notifier = Notifier(NotifyConfig(command=("/bin/cat",)), None, None, reloaded=False)
        notifier.on_report = reports.append
        monkeypatch.setattr(Helper, "start", start_when_it_may)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(notifier.run, events)
            events.add("rung", {"rung": "first"})
            while not reports:  # noqa: ASYNC110
                await trio.sleep(0.01)
            assert notifier.helper is not None
            os.kill(notifier.helper.pid, 9)
            while notifier.helper is not None:  # noqa: ASYNC110
                await trio.sleep(0.01)
            events.add("rung", {"rung": "second"})
            assert notifier.handed == 1
            assert notifier.state() is None
            may_start.set()
            while len(reports) < 2:  # noqa: ASYNC110
                await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
        await trio.to_thread.run_sync(notifier.close)
    assert ['"rung":"first"' in reports[0].output, '"rung":"second"' in reports[1].output] == [True, True]


@pytest.mark.parametrize(("told", "heard"), [(1, ["second", "third"]), (-1, ["third"])])
async def test_after_a_reload_without_a_helper_the_next_one_goes_on_where_the_last_one_was(told, heard):
    """-1: there were no hooks before, and what has been is no news."""
    events, reports = EventLog(lambda: AT), list[Report]()
    for rung in ("first", "second"):
        events.add("rung", {"rung": rung})
    with trio.fail_after(60):
        notifier = Notifier(NotifyConfig(command=("/bin/cat",)), None, None, reloaded=True)
        notifier.on_report = reports.append
        notifier.begin_after(told)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(notifier.run, events)
            await trio.testing.wait_all_tasks_blocked()
            events.add("rung", {"rung": "third"})
            while len(reports) < len(heard):  # noqa: ASYNC110
                await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
        await trio.to_thread.run_sync(notifier.close)
    assert [json.loads(one.output)["rung"] for one in reports] == heard


async def test_a_reload_in_whose_midst_a_helper_starts_takes_it_along(monkeypatch):
    """It forgot it, and nobody waited for its end: the new image had a zombie for ever."""
    start, begun, may_go_on = Helper.start, threading.Event(), threading.Event()

    def fail(settings: Settings) -> Helper:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    def start_slowly(settings: Settings) -> Helper:
        helper = start(settings)
        begun.set()
        may_go_on.wait()
        return helper

    monkeypatch.setattr(Helper, "start", fail)
    notifier = Notifier(NotifyConfig(command=("/bin/cat",)), None, None, reloaded=False)
    monkeypatch.setattr(Helper, "start", start_slowly)

    def rest() -> HelperState | None:
        with notifier.at_rest():
            return notifier.state()

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(notifier.run, EventLog(lambda: AT))
            await trio.to_thread.run_sync(begun.wait)
            threading.Timer(0.05, may_go_on.set).start()  # whoever doesn't wait is through before
            state = await trio.to_thread.run_sync(rest)
            assert state is not None
            assert state.pid in children()
            nursery.cancel_scope.cancel()
        await trio.to_thread.run_sync(notifier.close)
    assert state.pid not in children()


def children() -> set[int]:
    lists = Path("/proc/self/task").glob("*/children")
    return {int(pid) for one in lists for pid in one.read_text().split()}
