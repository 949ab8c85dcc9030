"""Plans from snapshots made by hand: every moment is chosen, nothing is waited for."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from certstore.assembly import assemble
from certstore.bundle import PrivateKey, spki_of
from certstore.contents import Contents, read_content
from certstore.findings import found
from certstore.gathering import Knowledge, Memory, Timing, plan
from certstore.snapshot import Entry, Group, Kind, Snapshot
from tests.pki import key_to_pem, to_pem

TIMING = Timing()
TICK = 0.001  # how long a snapshot takes


@dataclass
class Desk:
    """A directory's files, a store's knowledge, and a clock, all set by hand."""

    kind: Kind = Kind.INBOX
    files: dict[str, object] = field(default_factory=dict)
    keys: dict[str, PrivateKey] = field(default_factory=dict)
    handled: dict[tuple[str, str], str] = field(default_factory=dict)
    at: float = 1000.0
    memory: Memory = field(default_factory=Memory)
    contents: Contents = field(default_factory=lambda: Contents(read_content))

    def entry(self, name, content):
        if isinstance(content, bytes):
            return Entry(name, None, content, None, self.at, self.at)
        return Entry(name, None, None, content, self.at, self.at)

    def look(self, after_s=0.0):
        """Take a snapshot `after_s` later, and plan."""
        self.at += after_s
        entries = tuple(self.entry(name, content) for name, content in sorted(self.files.items()))
        snapshot = Snapshot(self.kind, self.at, self.at + TICK, (Group("/in", entries),))
        self.at += TICK
        knowledge = Knowledge(
            lambda spki: spki in self.keys,
            lambda group, digest: self.handled.get((group, digest)),
            self.contents.of,
        )
        made = plan(snapshot, self.memory, knowledge, TIMING)
        self.memory = made.memory
        return made

    def put(self, **files):
        self.files.update({name.replace("_", "."): content for name, content in files.items()})
        return self

    def handle(self, made):
        for step in (*made.ready, *made.problems):
            self.handled[step.group, step.digest] = f"receipt{len(self.handled)}"

    def settled(self):
        self.look()
        return self.look(TIMING.settle_s)

    def quiet(self):
        self.look()
        return self.look(TIMING.patience_s)

    def bundles(self, made):
        return [assemble(step.candidate, self.keys.get)[0] for step in made.ready]


def codes(made):
    return sorted(finding.code for problem in made.problems for finding in problem.findings)


def names(step):
    return {entry.name for entry in step.entries}


@pytest.fixture
def desk():
    return Desk()


def test_a_pair_is_a_candidate_when_it_has_not_changed_for_the_settle_time(desk, pki):
    one = pki.leaf()
    desk.put(tls_crt=one.chain_pem, tls_key=one.key_pem)
    first = desk.look()
    assert not first.ready
    assert first.look_again_at == pytest.approx(desk.at + TIMING.settle_s, abs=2 * TICK)
    assert not desk.look(TIMING.settle_s - 2 * TICK).ready
    made = desk.look(2 * TICK)
    assert [bundle.id for bundle in desk.bundles(made)] == [one.bundle().id]
    assert made.look_again_at is None


def test_a_change_within_the_settle_time_begins_it_anew(desk, pki):
    one = pki.leaf()
    desk.put(tls_crt=one.cert_pem, tls_key=one.key_pem)
    desk.look()
    desk.put(tls_crt=one.chain_pem)
    assert not desk.look(TIMING.settle_s).ready
    assert len(desk.look(TIMING.settle_s).ready) == 1


def test_another_file_that_keeps_changing_holds_back_no_pair(desk, pki):
    one = pki.leaf()
    desk.put(tls_crt=one.chain_pem, tls_key=one.key_pem, noise_log=b"0")
    desk.look()
    desk.put(noise_log=b"1")
    assert len(desk.look(TIMING.settle_s).ready) == 1


def test_what_was_handled_is_no_candidate_again_and_different_content_is(desk, pki):
    one, two = pki.leaf(), pki.leaf()
    desk.put(tls_crt=one.chain_pem, tls_key=one.key_pem)
    desk.handle(desk.settled())
    assert not desk.settled().ready
    desk.put(tls_crt=two.chain_pem, tls_key=two.key_pem)
    made = desk.settled()
    assert [bundle.id for bundle in desk.bundles(made)] == [two.bundle().id]
    desk.handle(made)
    assert desk.look(TIMING.lonely_s * 2).problems == ()


def test_text_around_the_blocks_and_other_names_make_no_new_candidate(desk, pki):
    one = pki.leaf()
    desk.put(tls_crt=one.chain_pem, tls_key=one.key_pem)
    desk.handle(desk.settled())
    desk.files = {"all in one.pem": b"subject: a device\r\n" + one.key_pem + b"\r\n" + one.chain_pem}
    assert not desk.settled().ready


def test_a_chain_that_comes_later_is_a_new_candidate(desk, pki):
    one = pki.leaf()
    desk.put(cert_pem=one.cert_pem, privkey_pem=one.key_pem)
    made = desk.settled()
    assert desk.bundles(made)[0].chain == ()
    desk.handle(made)
    desk.put(chain_pem=pki.intermediate_pem)
    assert [len(bundle.chain) for bundle in desk.bundles(desk.settled())] == [1]


def test_a_leaf_that_lies_in_two_files_is_one_candidate(desk, pki):
    one = pki.leaf()
    desk.kind = Kind.WATCH
    desk.put(
        cert_pem=one.cert_pem,
        chain_pem=pki.intermediate_pem,
        fullchain_pem=one.chain_pem,
        privkey_pem=one.key_pem,
    )
    made = desk.settled()
    assert [bundle.id for bundle in desk.bundles(made)] == [one.bundle().id]
    assert names(made.ready[0]) >= {"cert.pem", "fullchain.pem", "privkey.pem"}


def test_two_pairs_in_one_directory_are_two_candidates_the_newer_last(desk, pki, now):
    old, new = pki.leaf(("a.test",)), pki.leaf(("b.test",), start=now)
    desk.put(one_pem=new.chain_pem + new.key_pem, two_pem=old.chain_pem + old.key_pem)
    made = desk.settled()
    assert [bundle.names for bundle in desk.bundles(made)] == [("a.test",), ("b.test",)]


def test_two_pairs_in_one_file_are_two_candidates(desk, pki):
    one, two = pki.leaf(("a.test",)), pki.leaf(("b.test",))
    desk.put(all_pem=one.chain_pem + one.key_pem + two.chain_pem + two.key_pem)
    made = desk.settled()
    assert {bundle.names for bundle in desk.bundles(made)} == {("a.test",), ("b.test",)}
    assert all(step.own == () for step in made.ready)


def test_a_refused_pair_takes_along_only_the_files_that_no_other_pair_needs(desk, pki):
    one, two = pki.leaf(("a.test",)), pki.leaf(("b.test",))
    desk.put(
        a_crt=one.cert_pem,
        a_key=one.key_pem,
        b_crt=two.cert_pem,
        b_key=two.key_pem,
        chain_pem=pki.intermediate_pem,
    )
    for step in desk.settled().ready:
        assert "chain.pem" in names(step)
        assert {entry.name[1:] for entry in step.own} == {".crt", ".key"}


def test_a_certificate_whose_key_the_store_holds_is_a_candidate_by_itself(desk, pki):
    one = pki.leaf()
    desk.keys[spki_of(one.key.public_key())] = one.key
    desk.put(issued_pem=one.chain_pem)
    assert [bundle.id for bundle in desk.bundles(desk.settled())] == [one.bundle().id]


def test_a_key_that_the_store_holds_is_no_problem_by_itself(desk, pki):
    one = pki.leaf()
    desk.keys[spki_of(one.key.public_key())] = one.key
    desk.put(old_key=one.key_pem)
    made = desk.quiet()
    assert not made.problems
    assert made.look_again_at is None


def test_a_renewed_certificate_that_comes_before_its_key_waits_for_it(desk, pki):
    old, new = pki.leaf(), pki.leaf()
    desk.keys[spki_of(old.key.public_key())] = old.key
    desk.put(tls_crt=old.chain_pem, tls_key=old.key_pem)
    desk.handle(desk.settled())
    desk.put(tls_crt=new.chain_pem)
    made = desk.settled()
    assert not made.ready
    assert not made.problems
    desk.put(tls_key=new.key_pem)
    assert [bundle.id for bundle in desk.bundles(desk.settled())] == [new.bundle().id]


def test_a_lone_half_is_told_after_quiet_seconds_stays_and_still_finds_its_partner(desk, pki):
    one = pki.leaf()
    desk.put(tls_key=one.key_pem)
    assert not desk.settled().problems
    made = desk.look(TIMING.patience_s)
    assert codes(made) == ["key_without_certificate"]
    assert made.problems[0].own == ()
    desk.handle(made)
    assert not desk.look(TIMING.patience_s).problems
    desk.put(tls_crt=one.chain_pem)
    assert len(desk.settled().ready) == 1


def test_a_lone_half_is_moved_after_an_hour_to_the_receipt_that_told_of_it(desk, pki):
    desk.put(tls_crt=pki.leaf().cert_pem)
    made = desk.quiet()
    assert codes(made) == ["certificate_without_key"]
    desk.handle(made)
    later = desk.look()
    assert later.leftovers == ()
    assert later.look_again_at is not None
    assert [left.receipt for left in desk.look(TIMING.lonely_s).leftovers] == ["receipt0"]


def test_in_a_watched_directory_a_lone_half_is_never_moved(desk, pki):
    desk.kind = Kind.WATCH
    desk.put(tls_crt=pki.leaf().cert_pem)
    made = desk.quiet()
    desk.handle(made)
    assert made.problems[0].own == ()
    assert desk.look(TIMING.lonely_s).leftovers == ()


def test_a_file_that_still_changes_may_be_the_other_half_but_not_for_ever(desk, pki):
    one = pki.leaf()
    desk.put(tls_crt=one.cert_pem)
    for length in range(7):
        desk.put(slow_key=one.key_pem[: 20 + length])
        assert "certificate_without_key" not in codes(desk.look(TIMING.patience_s))
    told = []
    for length in range(20):
        desk.put(slow_key=one.key_pem[: 40 + length])
        told += codes(desk.look(TIMING.patience_s))
    assert "certificate_without_key" in told


@pytest.mark.parametrize(
    ("crt", "key"), [("tls.crt", "tls.key"), ("cert.pem", "private.pem"), ("both.pem", "both.pem")]
)
def test_a_certificate_and_a_key_that_do_not_belong_together_are_one_mismatch(desk, pki, crt, key):
    one, two = pki.leaf(), pki.leaf()
    desk.files = {crt: one.cert_pem, key: two.key_pem} if crt != key else {crt: one.cert_pem + two.key_pem}
    made = desk.quiet()
    assert codes(made) == ["key_mismatch"]
    assert {entry.name for entry in made.problems[0].own} == {crt, key}


def test_a_key_that_waits_for_its_certificate_is_no_mismatch_of_another_one(desk, pki):
    desk.put(waiting_key=pki.leaf().key_pem)
    desk.handle(desk.quiet())
    desk.put(other_crt=pki.leaf().cert_pem)
    assert codes(desk.quiet()) == ["certificate_without_key"]


BROKEN = {
    "file_empty": lambda _: b"",
    "file_truncated": lambda pki: pki.leaf().chain_pem[:-300],
    "unparsable": lambda _: b"\x00\xffnot a certificate at all" * 9,
    "chain_only": lambda pki: pki.intermediate_pem,
    "certificate_unparsable": lambda pki: to_pem(pki.leaf().certificate).replace(b"MII", b"MIX", 1),
    "key_without_certificate": lambda pki: pki.leaf().key_pem,
    "certificate_without_key": lambda pki: pki.leaf().cert_pem,
    "nothing_usable": lambda _: b"-----BEGIN DH PARAMETERS-----\nMAYCAQcCAQI=\n-----END DH PARAMETERS-----\n",
    "file_too_large": lambda _: found("file_too_large", file="x", limit=1),
    "file_unreadable": lambda _: found("file_unreadable", file="x", why="permission denied"),
    "is_directory": lambda _: found("is_directory", file="x"),
    "symlink_loop": lambda _: found("symlink_loop", file="x"),
    "symlink_dangling": lambda _: found("symlink_dangling", file="x"),
    "not_a_file": lambda _: found("not_a_file", file="x"),
}


@pytest.mark.parametrize("code", BROKEN)
def test_each_broken_kind_is_told_once_with_its_own_code_beside_a_good_pair(desk, pki, code):
    good = pki.leaf()
    desk.put(broken_pem=BROKEN[code](pki))
    if code != "chain_only":
        desk.put(good_crt=good.cert_pem, good_key=good.key_pem)
    made = desk.settled()
    assert len(made.ready) == (code != "chain_only")
    desk.handle(made)
    later = desk.look(TIMING.patience_s)
    desk.handle(later)
    assert codes(made) + codes(later) == [code]
    assert codes(desk.look(TIMING.patience_s)) == []


@pytest.mark.parametrize("code", ["file_too_large", "not_a_file", "symlink_loop"])
def test_what_no_waiting_heals_is_told_after_the_settle_time(desk, pki, code):
    desk.put(broken_pem=BROKEN[code](pki))
    assert not desk.look().problems
    assert codes(desk.look(TIMING.settle_s)) == [code]


def test_a_broken_file_that_is_mended_in_time_is_never_told(desk, pki):
    one = pki.leaf()
    pem = one.chain_pem + one.key_pem
    for length in range(0, len(pem), 200):
        desk.put(slow_pem=pem[:length])
        assert not desk.look(TIMING.patience_s - 0.1).problems
    desk.put(slow_pem=pem)
    assert len(desk.settled().ready) == 1


def test_other_things_in_somebody_elses_directory_are_not_judged(desk, pki):
    desk.kind = Kind.WATCH
    one = pki.leaf()
    desk.put(
        README=b"This directory contains your keys and certificates.",
        namespace=b"default",
        ca_crt=pki.root_pem,
        dhparams_pem=BROKEN["nothing_usable"](pki),
        tls_crt=one.cert_pem,
        tls_key=one.key_pem,
    )
    made = desk.quiet()
    assert len(made.ready) == 1
    assert not made.problems


def test_in_somebody_elses_directory_missing_rights_are_never_passed_over(desk, pki):
    desk.kind = Kind.WATCH
    desk.put(privkey=BROKEN["file_unreadable"](pki))
    assert codes(desk.quiet()) == ["file_unreadable"]


def test_a_small_authority_of_ones_own_gives_the_certificate_of_its_server(desk, pki):
    desk.kind = Kind.WATCH
    one = pki.leaf(issuer="root")
    desk.put(
        ca_crt=pki.root_pem, ca_key=key_to_pem(pki.root_key), server_crt=one.cert_pem, server_key=one.key_pem
    )
    assert [bundle.names for bundle in desk.bundles(desk.settled())] == [("device.test",)]
    assert not desk.look(TIMING.patience_s).problems


def test_a_refused_pair_takes_its_chain_along_though_another_one_has_the_same(desk, pki):
    one, two = pki.leaf(("a.test",)), pki.leaf(("b.test",))
    desk.put(a_pem=one.chain_pem + one.key_pem, b_pem=two.chain_pem + two.key_pem)
    assert sorted(entry.name for step in desk.settled().ready for entry in step.own) == ["a.pem", "b.pem"]


def test_a_self_signed_certificate_with_ca_true_is_proposed_so_that_its_fault_is_told(desk, pki):
    one = pki.leaf(issuer=None, ca=True)
    desk.put(own_crt=one.cert_pem, own_key=one.key_pem)
    assert len(desk.settled().ready) == 1
