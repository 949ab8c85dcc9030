"""Who may ask: what the kernel says of a peer, who is admitted, and how many find a place."""

from __future__ import annotations

import grp
import os
import pwd
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tlsproxy.control.peers import Access, Peer, peer_of
from tlsproxy.control.places import Place, Places

OWN = 4711
ACCESS = Access(frozenset({1000}), frozenset({50}), own=OWN)
ROOT, OURSELVES, NAMED, STRANGER = (Peer(1, uid, uid, frozenset({uid})) for uid in (0, OWN, 1000, 1001))
MEMBER = Peer(1, 1002, 1002, frozenset({1002, 50}))


def test_a_peer_is_what_the_kernel_says_with_all_its_groups() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        peer = peer_of(ours)
    assert (peer.pid, peer.uid, peer.gid) == (os.getpid(), os.geteuid(), os.getegid())
    assert peer.groups == {os.getegid(), *os.getgroups()}


PEER_IN_GROUPS = """
import os, socket, sys
os.setgroups(range(5000, 5000 + int(sys.argv[1])))
os.setgid(4000)
os.setuid(3_000_000_000)
sock = socket.socket(socket.AF_UNIX)
sock.connect(sys.argv[2])
sock.recv(1)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be in groups of its choice")
@pytest.mark.parametrize("number", [1, 256, 257, 2_000])
def test_whoever_is_in_a_named_group_by_the_way_is_admitted_however_many_others_he_is_in(number) -> None:
    """Python's getsockopt takes 1,024 bytes at most: nobody's further groups were ever known."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        Path(folder).chmod(0o755)
        path = Path(folder) / "x.sock"
        listener.bind(str(path))
        path.chmod(0o666)
        listener.listen()
        command = [sys.executable, "-c", PEER_IN_GROUPS, str(number), str(path)]
        with subprocess.Popen(command) as process:
            sock, _ = listener.accept()
            with sock:
                peer = peer_of(sock)
        assert process.returncode == 0
    last = 5000 + number - 1
    assert peer == Peer(process.pid, 3_000_000_000, 4000, frozenset({4000, *range(5000, last + 1)}))
    assert Access(gids=frozenset({last}), own=OWN).admits(peer)
    assert Access(uids=frozenset({3_000_000_000}), own=OWN).admits(peer)
    assert not Access(gids=frozenset({last + 1}), own=OWN).admits(peer)


def test_root_and_the_own_user_the_named_and_members_of_named_groups_may_ask() -> None:
    assert all(ACCESS.admits(peer) for peer in (ROOT, OURSELVES, NAMED, MEMBER))
    assert not ACCESS.admits(STRANGER)
    assert [Access(own=OWN).admits(peer) for peer in (ROOT, OURSELVES, NAMED)] == [True, True, False]


def test_names_and_numbers_are_looked_up_and_unknown_ones_admit_nobody(
    capsys: pytest.CaptureFixture[str],
) -> None:
    me, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(os.getegid())
    access = Access.of([me.pw_name, "1234", "²", "nobody-has-this-name"], [group.gr_name], 0o660)
    assert access.uids == {me.pw_uid, 1234}
    assert access.gids == {group.gr_gid}
    told = capsys.readouterr().out
    assert "control_user_unknown" in told
    assert "nobody-has-this-name" in told


def places(per_user: int = 2) -> Places:
    return Places(ACCESS, in_all=4, per_user=per_user, refusals=3)


def test_one_user_takes_at_most_its_share_and_others_still_find_a_place() -> None:
    held = places()
    assert [held.take(NAMED) for _ in range(3)] == [Place.SERVED, Place.SERVED, Place.BUSY]
    assert held.take(MEMBER) is Place.SERVED


def test_the_command_line_gets_through_however_many_others_there_are() -> None:
    held = places(per_user=4)
    assert [held.take(NAMED) for _ in range(4)] == [Place.SERVED] * 4
    assert held.take(MEMBER) is Place.BUSY
    assert [held.take(who) for who in (ROOT, OURSELVES, ROOT, ROOT)] == [Place.SERVED] * 4
    assert held.take(ROOT) is Place.BUSY


def test_strangers_take_no_place_and_only_a_few_are_told_so_at_once() -> None:
    held = places()
    assert [held.take(STRANGER) for _ in range(4)] == [Place.FORBIDDEN] * 3 + [Place.NONE]
    assert held.take(NAMED) is Place.SERVED
    held.leave(STRANGER, Place.NONE)
    assert held.take(STRANGER) is Place.NONE
    held.leave(STRANGER, Place.FORBIDDEN)
    assert held.take(STRANGER) is Place.FORBIDDEN


def test_a_place_that_was_left_is_given_again() -> None:
    held = places()
    for _ in range(2):
        held.take(NAMED)
    held.leave(NAMED, Place.SERVED)
    assert held.take(NAMED) is Place.SERVED
