"""The watcher on a real file system: each kind of change gives a hint, whatever happens to the directory."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from certstore import watch

LONG = 3600.0  # a rescan that never comes: what is seen was told by an event


class Hints:
    """Counts hints, and lets a test wait for one more than it has seen."""

    def __init__(self):
        self.count = 0
        self._told = trio.Event()
        self.troubles = []

    def __call__(self):
        self.count += 1
        self._told.set()
        self._told = trio.Event()

    async def more_than(self, count):
        while self.count <= count:
            await self._told.wait()

    async def after(self, change, *, within_s=2.0):
        """Do `change` and wait for the hint that it causes; seconds until it came."""
        await self.are_quiet()
        before, began = self.count, trio.current_time()
        change()
        with trio.fail_after(within_s):
            await self.more_than(before)
        return trio.current_time() - began

    async def are_quiet(self):
        """Wait until what happened before has been told."""
        while True:
            before = self.count
            with trio.move_on_after(0.15):
                await self.more_than(before)
                continue
            return


@asynccontextmanager
async def watching(*paths, rescan_s=LONG):
    hints = Hints()
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            await nursery.start(
                partial(watch.run, paths, hints, rescan_s=rescan_s, on_trouble=hints.troubles.append)
            )
            await hints.more_than(0)
            yield hints
            nursery.cancel_scope.cancel()


def touch(path, content="x"):
    path.write_text(content)


async def test_a_file_that_appears_changes_is_renamed_or_goes_away_gives_a_hint(tmp_path):
    async with watching(tmp_path) as hints:
        await hints.after(lambda: touch(tmp_path / "a"))
        await hints.after(lambda: touch(tmp_path / "a", "y"))
        await hints.after(lambda: (tmp_path / "a").rename(tmp_path / "b"))
        await hints.after((tmp_path / "b").unlink)


@pytest.mark.parametrize(
    "name", ["cert.pem~", ".git", "node_modules", "x.pyc", ".cert.pem.swp", "naïve cert.pem"]
)
async def test_no_name_is_filtered_out(tmp_path, name):
    async with watching(tmp_path) as hints:
        await hints.after(lambda: touch(tmp_path / name))


def named(folder, name):
    """Give a path whose last part is these bytes."""
    return Path(os.fsdecode(os.fsencode(folder) + b"/" + name))


async def test_a_file_whose_name_is_no_utf_8_gives_a_hint_and_so_do_those_after_it(tmp_path):
    """Hints came every two seconds from then on, and the kernel's limits were blamed."""
    async with watching(tmp_path) as hints:
        for name in (b"\xff\xfe.pem", b"good.pem", b"\xff.key", b"other.pem"):
            await hints.after(partial(touch, named(tmp_path, name)), within_s=20)
        assert hints.troubles == []


async def test_a_folder_whose_name_is_no_utf_8_hides_nothing_beside_it(tmp_path):
    """It ended the whole proxy: anybody who may put files into the inbox could do that."""
    bad = named(tmp_path, b"\xff")
    bad.mkdir()
    touch(bad / "x")
    (tmp_path / "link.pem").symlink_to(bad / "x")
    async with watching(tmp_path) as hints:
        await hints.after(lambda: touch(tmp_path / "device.pem"), within_s=20)
        await hints.after(named(tmp_path, b"\xff\xfe").mkdir, within_s=20)
        await hints.after(lambda: touch(tmp_path / "other.pem"), within_s=20)
        assert hints.troubles == []


async def test_a_path_that_is_no_utf_8_itself_is_looked_at_all_the_same(tmp_path):
    path = named(tmp_path, b"\xff")
    path.mkdir()
    async with watching(path) as hints:
        assert [trouble.code for trouble in hints.troubles] == ["watch_limited"]
        await hints.more_than(1)


async def test_a_change_in_a_sub_directory_gives_a_hint_also_in_one_that_came_later(tmp_path):
    (tmp_path / "old").mkdir()
    async with watching(tmp_path) as hints:
        await hints.after(lambda: touch(tmp_path / "old" / "cert.pem"))
        await hints.after((tmp_path / "new").mkdir)
        await hints.after(lambda: touch(tmp_path / "new" / "cert.pem"))


async def test_a_directory_that_was_deleted_and_made_again_is_not_lost(tmp_path):
    place = tmp_path / "place"
    place.mkdir()
    async with watching(place) as hints:
        await hints.after(lambda: shutil.rmtree(place))
        await hints.after(place.mkdir)
        await hints.after(lambda: touch(place / "cert.pem"))


async def test_a_directory_that_was_deleted_and_made_again_at_once_is_not_lost(tmp_path):
    place = tmp_path / "place"
    place.mkdir()

    def replace():
        place.rmdir()
        place.mkdir()

    async with watching(place) as hints:
        await hints.after(replace)
        await hints.after(lambda: touch(place / "cert.pem"))


async def test_a_path_that_does_not_exist_yet_is_seen_when_it_appears(tmp_path):
    place = tmp_path / "a" / "b" / "c"
    async with watching(place) as hints:
        await hints.after((tmp_path / "a").mkdir)
        await hints.after((tmp_path / "a" / "b").mkdir)
        await hints.after(place.mkdir)
        await hints.after(lambda: touch(place / "cert.pem"))


async def test_a_symlinked_directory_is_followed_to_its_new_target(tmp_path):
    for name in ("v1", "v2"):
        (tmp_path / name).mkdir()
    place = tmp_path / "current"
    place.symlink_to("v1")

    def swap():
        (tmp_path / "next").symlink_to("v2")
        (tmp_path / "next").rename(place)

    async with watching(place) as hints:
        await hints.after(lambda: touch(tmp_path / "v1" / "cert.pem"))
        await hints.after(swap)
        await hints.after(lambda: touch(tmp_path / "v2" / "cert.pem"))


async def test_a_change_in_place_behind_a_symlink_gives_a_hint(tmp_path):
    (tmp_path / "archive").mkdir()
    (tmp_path / "live").mkdir()
    touch(tmp_path / "archive" / "cert1.pem")
    (tmp_path / "live" / "cert.pem").symlink_to("../archive/cert1.pem")
    async with watching(tmp_path / "live") as hints:
        await hints.after(lambda: touch(tmp_path / "archive" / "cert1.pem", "new"))


async def test_the_neighbours_of_a_watched_directory_give_no_hints(tmp_path):
    place = tmp_path / "place"
    place.mkdir()
    async with watching(place) as hints:
        await hints.are_quiet()
        before = hints.count
        for number in range(20):
            touch(tmp_path / f"neighbour{number}")
        await hints.are_quiet()
        assert hints.count == before


async def test_a_slow_rescan_gives_a_hint_where_no_event_does(tmp_path):
    async with watching(tmp_path, rescan_s=0.2) as hints:
        await hints.more_than(3)


async def test_cancelling_takes_milliseconds_and_leaves_no_thread(tmp_path):
    async with watching(tmp_path) as hints:
        await hints.are_quiet()
        began = trio.current_time()
    # one step of the thread is 20 ms; the default of watchfiles took 4.5 s
    assert trio.current_time() - began < 0.5


async def test_a_storm_of_changes_is_told_in_few_hints(tmp_path):
    async with watching(tmp_path) as hints:
        await hints.are_quiet()
        before = hints.count
        for number in range(500):
            touch(tmp_path / f"file{number % 10}", str(number))
        await hints.are_quiet()
        assert 1 <= hints.count - before <= 100


LIMITED = """
    import sys, trio
    from functools import partial
    from pathlib import Path
    from certstore import watch

    async def main():
        place, told = Path(sys.argv[1]), []
        enough = trio.Event()
        hints = []
        def hint():
            hints.append(1)
            if len(hints) == 3:
                enough.set()
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                run = partial(watch.run, [place], hint, rescan_s=0.05, on_trouble=told.append)
                await nursery.start(run)
                await enough.wait()
                nursery.cancel_scope.cancel()
        print(len(told), told[0].code if told else "")

    trio.run(main)
"""


def in_namespace(limit):
    """A command line that runs its arguments in a user namespace with this limit of inotify, or None."""
    if not shutil.which("unshare"):
        return None
    script = f'echo 0 > /proc/sys/user/{limit} && exec "$@"'
    command = ["unshare", "-U", "-r", "sh", "-c", script, "sh"]
    return (
        command
        if subprocess.run([*command, "true"], check=False, capture_output=True).returncode == 0
        else None
    )


@pytest.mark.parametrize("limit", ["max_inotify_instances", "max_inotify_watches"])
def test_where_the_kernel_can_not_watch_it_says_so_once_and_goes_on_by_looking(tmp_path, limit):
    command = in_namespace(limit)
    if command is None:
        pytest.skip("no user namespace with a limit of its own can be made here")
    program = [sys.executable, "-c", textwrap.dedent(LIMITED), str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [*command, *program], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.split() == ["1", "watch_limited"], done.stderr


async def test_a_change_is_told_soon(tmp_path):
    async with watching(tmp_path) as hints:
        times = sorted([await hints.after(lambda: touch(tmp_path / "a", "z")) for _ in range(5)])
    assert times[2] < 0.2  # 30 ms on a quiet machine


async def test_symlinks_that_lead_nowhere_or_to_themselves_do_no_harm(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to("nowhere/at/all")
    async with watching(tmp_path) as hints:
        await hints.after(lambda: touch(tmp_path / "cert.pem"))
