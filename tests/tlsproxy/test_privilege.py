"""What a process gives up: tried in processes of their own, since nothing of it comes back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.confining import FOUND, needs_landlock
from tlsproxy.errors import PrivilegeError
from tlsproxy.privilege import landlock
from tlsproxy.privilege.account import choose, named
from tlsproxy.privilege.facts import Confined
from tlsproxy.privilege.supervisor import Kept

BEGIN = """
import json, os, sys
from pathlib import Path
from tlsproxy.privilege import facts
from tlsproxy.privilege.landlock import READ, WRITE, Rules, enter
from tlsproxy.privilege.worker import Needs, give_up_all_but
def fails(act):
    try:
        act()
    except OSError as error:
        return error.strerror
"""


def apart(script: str, *arguments: object) -> Any:
    """Run a script in a process of its own; gives the JSON that it prints."""
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + script, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@needs_landlock
def test_a_fence_that_cannot_be_entered_any_more_says_why_and_the_process_goes_on() -> None:
    found = apart("""
print(json.dumps([[v.abi, v.why] for v in (enter(Rules(WRITE)) for _ in range(17))]))
""")
    assert found[:16] == [[FOUND.abi, ""]] * 16
    assert found[16] == [0, "it can't be entered: 16 domains surround this process already"]


@needs_landlock
def test_what_is_not_there_when_the_fence_is_entered_gets_no_right_and_hinders_nothing(
    tmp_path: Path,
) -> None:
    (tmp_path / "there").mkdir()
    found = apart(
        """
here = Path(sys.argv[1])
enter(Rules(WRITE, {str(here / name): WRITE for name in ("missing", "there")}))
(here / "there" / "file").write_text("x")
print(json.dumps(fails((here / "missing").mkdir)))
""",
        tmp_path,
    )
    assert found == "Permission denied"
    assert (tmp_path / "there" / "file").read_text() == "x"


def test_the_facts_are_those_of_the_kernel() -> None:
    facts, status = apart("""
from dataclasses import asdict
found = give_up_all_but(Needs(reads=["/proc"]))
print(json.dumps([asdict(found), open("/proc/self/status").read()]))
""")
    assert facts["landlock"] == FOUND.abi
    assert (facts["capabilities"], facts["no_new_privs"], facts["dumpable"]) == ([], True, False)
    assert "CapPrm:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status
    assert f"Uid:\t{facts['uid']}\t" in status
    assert facts["seccomp"] == ("Seccomp:\t0" not in status)


@needs_landlock
def test_a_store_in_a_source_tree_is_not_read_for_the_sake_of_its_code(tmp_path: Path) -> None:
    """As with `make demo`: the clone is on the path of modules, and the demo's store in it."""
    package, secret = tmp_path / "package", tmp_path / "store" / "authority" / "secret"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "late.py").write_text("here = True")
    secret.parent.mkdir(parents=True)
    secret.touch()
    found = apart(
        """
sys.path.insert(0, sys.argv[1])
import package
give_up_all_but(Needs())
import package.late, wave
print(json.dumps([package.late.here, fails(Path(sys.argv[2]).read_bytes)]))
""",
        tmp_path,
        secret,
    )
    assert found == [True, "Permission denied"]


def test_a_process_without_landlock_says_why_in_its_status() -> None:
    facts = Confined(1, 5, 5, (5,), ("net_bind_service",), False, True, False, 0, "the kernel has none")
    assert facts.words == (
        "uid 5; capabilities: net_bind_service; NEW PRIVILEGES POSSIBLE; "
        "no Landlock (the kernel has none); no seccomp"
    )


def test_only_what_was_known_at_the_start_may_be_written_later() -> None:
    kept = Kept(was_root=False, landlock=7, landlock_why="", writes=("/var/lib/s", "/run/s"))
    assert kept.may_write(Path("/var/lib/s/inbox"))
    assert not kept.may_write(Path("/var/lib/store"))
    assert Kept.nothing("").may_write(Path("/anywhere"))


def test_a_user_is_found_by_name_or_number_with_the_groups_that_the_system_knows() -> None:
    root = named("root")
    assert (root.uid, root.gid) == (0, 0)
    assert named("0").name == "root"
    assert set(root.groups) == set(os.getgrouplist("root", 0))
    nobody = named("64001", "64002")
    assert (nobody.uid, nobody.gid, nobody.groups) == (64001, 64002, (64002,))
    for user, group in (("no-such-user", ""), ("root", "no-such-group")):
        with pytest.raises(PrivilegeError, match="there is no") as caught:
            named(user, group)
        assert "add --system" in caught.value.hint


def test_who_is_the_user_already_needs_nothing_whatever_group_a_manager_gave(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 64001)
    monkeypatch.setattr(os, "getegid", lambda: 7)
    assert choose("64001", "", tmp_path, unsafe_as_root=False) is None
    assert choose("64001", "7", tmp_path, unsafe_as_root=False) is None
    for user, group in (("64001", "8"), ("64002", "")):
        with pytest.raises(PrivilegeError, match="only root can become"):
            choose(user, group, tmp_path, unsafe_as_root=False)


def test_the_first_landlock_would_forbid_a_store_to_move_files_so_it_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(landlock, "abi", lambda: landlock.Verdict(1))
    verdict = landlock.enter(landlock.Rules(landlock.WRITE, {"/": landlock.WRITE}))
    assert verdict == landlock.Verdict(
        0, "this kernel's Landlock (ABI 1) forbids to move files between folders"
    )
