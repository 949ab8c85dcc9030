"""Commands that the supervisor waits for: in order, once, and never waited for in vain."""

from __future__ import annotations

import trio
import trio.testing

from tlsproxy.config.values import AcmeConfig, NotifyConfig
from tlsproxy.notify.errands import Desk, Errands
from tlsproxy.notify.helper import Notifier
from tlsproxy.notify.letters import Done, Errand, decode, encode
from tlsproxy.observe.events import EventLog


async def test_each_is_done_in_order_to_its_end_also_when_no_more_are_taken(autojump_clock):
    done = list[str]()

    async def do(errand: Errand) -> None:
        await trio.sleep(1)
        done.append(errand.id)

    errands = Errands(do)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(errands.run)
        for number in range(3):
            errands.take(Errand(str(number), ()))
        await trio.sleep(0.5)
        errands.end()
    assert done == ["0", "1", "2"]


async def test_who_waits_hears_of_the_end_of_his_own_of_the_helpers_and_of_time(autojump_clock):
    desk, heard = Desk(), dict[str, str]()
    mine, lost, late = (desk.take((word,)) for word in ("mine", "lost", "late"))

    async def wait(errand: Errand) -> None:
        heard[errand.words[0]] = (await desk.wait(errand, 10.0)).why

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait, mine)
        desk.close(Done("somebody-elses", "x"))
        desk.close(Done(mine.id, ""))
        nursery.start_soon(wait, lost)
        await trio.testing.wait_all_tasks_blocked()
        desk.lose_all("it has ended")
        await trio.testing.wait_all_tasks_blocked()
    assert heard == {"mine": "", "lost": "it has ended"}
    assert (await desk.wait(late, 0.0)).why == "it has ended"
    never = desk.take(())
    assert (await desk.wait(never, 5.0)).why == "nobody said within 5 s what came of it"


def test_they_cross_the_channel_as_they_are():
    for message in (Errand("1", ("present", "a.", "b")), Done("1", "no", "last")):
        assert decode(encode(message)) == message


async def test_a_helper_is_there_for_a_hook_alone_and_its_death_is_told(tmp_path):
    hook = AcmeConfig(dns_hook=("/bin/sh", "-c", 'echo "$0 $1"; test "$0" = present'))
    notifier = Notifier(NotifyConfig(), None, None, reloaded=False, acme=hook)
    events = EventLog(lambda: None)  # type: ignore[arg-type, return-value]
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(notifier.run, events)
            good = await notifier.run_dns_hook(("present", "_acme-challenge.a."))
            assert (good.why, good.last_line) == ("", "present _acme-challenge.a.")
            bad = await notifier.run_dns_hook(("cleanup", "b"))
            assert (bad.why, bad.last_line) == ("it ended with exit code 1", "cleanup b")
            nursery.cancel_scope.cancel()
        notifier.close()
        assert (await notifier.run_dns_hook(())).why == "the helper that runs it isn't there"


async def test_a_helper_that_is_killed_leaves_nobody_waiting(tmp_path):
    hook = AcmeConfig(dns_hook=("/bin/sh", "-c", "kill -9 $PPID; sleep 1000"))
    notifier = Notifier(NotifyConfig(), None, None, reloaded=False, acme=hook)
    events = EventLog(lambda: None)  # type: ignore[arg-type, return-value]
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(notifier.run, events)
            assert (await notifier.run_dns_hook(())).why == "the helper that runs it has ended"
            nursery.cancel_scope.cancel()
        notifier.close()
