"""Laws of gathering: whatever lies in a directory, and however it got there."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from certstore.contents import Certificate, Content, Contents, Key, read_content
from certstore.findings import found
from certstore.gathering import Knowledge, Memory, Problem, Ready, Timing, plan
from certstore.pairing import Part, pair_up
from certstore.snapshot import Entry, Group, Kind, Snapshot

TIMING = Timing()
START = datetime(2026, 11, 1, tzinfo=UTC)

# five keys, five leaves (the fifth for the first key again), two authorities, and a file that is broken
LEAVES = [
    Certificate(
        f"leaf{n}", f"spki{n % 4}", False, b"s%d" % n, b"int", START + timedelta(n), f"s{n}", "EC", b"l%d" % n
    )
    for n in range(5)
]
ABOVE = [
    Certificate("int", "spkiI", True, b"int", b"root", START, "int", "EC", b"int"),
    Certificate("root", "spkiR", True, b"root", b"root", START, "root", "EC", b"root"),
]
KEYS = [Key(f"spki{n}", "EC", b"k%d" % n) for n in range(5)]
WHOLE = st.builds(
    lambda certificates, keys: Content(tuple(certificates), tuple(keys)),
    st.lists(st.sampled_from(LEAVES + ABOVE), max_size=3, unique=True),
    st.lists(st.sampled_from(KEYS), max_size=2, unique=True),
).filter(lambda content: content.certificates or content.keys)
BROKEN = st.just(Content(errors=(found("file_empty", file="x"),)))
DIRECTORY = st.dictionaries(st.sampled_from("abcdefgh").map(lambda n: f"{n}.pem"), WHOLE | BROKEN, max_size=8)
KNOWN = st.frozensets(st.sampled_from([key.spki for key in KEYS]))
KINDS = st.sampled_from(Kind)


def entry_of(name, content):
    return Entry(name, None, repr(content).encode(), None, 0.0, 0.0)


def parts_of(directory):
    return [Part(entry_of(name, content), content) for name, content in directory.items()]


class World:
    """A directory under a store that handles all that is planned, step by step through time."""

    def __init__(self, kind, known):
        self.kind, self.known = kind, known
        self.handled = {}
        self.steps = []
        self.memory = Memory()
        self.at = 0.0

    def look(self, directory):
        entries = tuple(entry_of(name, content) for name, content in sorted(directory.items()))
        contents = dict(
            zip((entry.name for entry in entries), (directory[e.name] for e in entries), strict=True)
        )
        snapshot = Snapshot(self.kind, self.at, self.at, (Group("/in", entries),))
        knowledge = Knowledge(
            self.known.__contains__,
            lambda group, digest: self.handled.get((group, digest)),
            lambda entry: contents[entry.name],
        )
        made = plan(snapshot, self.memory, knowledge, TIMING)
        self.memory = made.memory
        steps: list[Ready | Problem] = [*made.ready, *made.problems]
        for step in steps:
            assert (step.group, step.digest) not in self.handled, "planned again"
            self.handled[step.group, step.digest] = "receipt"
            self.steps.append(step)
        return made

    def wait_out(self, directory, looks=50):
        """Look whenever the plan says so, until it says no more."""
        for _ in range(looks):
            made = self.look(directory)
            if made.look_again_at is None:
                return made
            assert made.look_again_at > self.at, "looks again without waiting"
            self.at = made.look_again_at
        raise AssertionError("the plan never comes to rest")


@given(DIRECTORY, KNOWN)
def test_a_pair_is_a_leaf_with_its_own_key_and_every_leaf_is_paired_or_alone(directory, known):
    pairing = pair_up(parts_of(directory), known.__contains__)
    here = {key.spki for content in directory.values() for key in content.keys}
    for pair in pairing.pairs:
        assert pair.key.spki == pair.leaf.spki if pair.key else pair.leaf.spki in known - here
    leaves = {c for content in directory.values() for c in content.certificates if c in LEAVES}
    assert {pair.leaf for pair in pairing.pairs} | {lone.leaf for lone in pairing.lone_leaves} == leaves
    assert not here & {lone.leaf.spki for lone in pairing.lone_leaves}


@given(DIRECTORY, KNOWN, st.randoms())
def test_pairing_does_not_depend_on_the_order_of_the_files(directory, known, random):
    names = list(directory)
    random.shuffle(names)
    shuffled = {name: directory[name] for name in names}
    first = pair_up(parts_of(directory), known.__contains__)
    second = pair_up(parts_of(shuffled), known.__contains__)
    assert [pair.digest for pair in first.pairs] == [pair.digest for pair in second.pairs]
    assert {lone.leaf for lone in first.lone_leaves} == {lone.leaf for lone in second.lone_leaves}
    assert {lone.key for lone in first.lone_keys} == {lone.key for lone in second.lone_keys}


@given(DIRECTORY, KNOWN, KINDS)
def test_a_quiet_directory_comes_to_rest_and_each_thing_is_planned_once(directory, known, kind):
    world = World(kind, known)
    world.wait_out(directory)
    count = len(world.steps)
    world.at += 10 * TIMING.lonely_s
    world.look(directory)
    assert len(world.steps) == count


@given(DIRECTORY, KNOWN, KINDS)
def test_every_pair_is_proposed_after_the_settle_time_whatever_lies_beside_it(directory, known, kind):
    world = World(kind, known)
    world.look(directory)
    world.at = TIMING.settle_s
    made = world.look(directory)
    pairs = pair_up(parts_of(directory), known.__contains__).pairs
    assert {step.digest for step in made.ready} == {pair.digest for pair in pairs}


@given(DIRECTORY, KNOWN)
def test_in_the_inbox_no_file_is_passed_over_in_silence(directory, known):
    world = World(Kind.INBOX, known)
    world.wait_out(directory)
    told = {entry.name for step in world.steps for entry in step.entries}
    for name, content in directory.items():
        needed = [c for c in content.certificates if c in LEAVES] + [
            k for k in content.keys if k.spki not in known
        ]
        if content.errors or needed:
            assert name in told


@given(DIRECTORY, KNOWN)
def test_nothing_of_a_watched_directory_is_ever_to_be_moved(directory, known):
    world = World(Kind.WATCH, known)
    made = world.wait_out(directory)
    world.at += 2 * TIMING.lonely_s
    assert world.look(directory).leftovers == made.leftovers == ()
    assert all(step.own == () for step in world.steps if not hasattr(step, "candidate"))


@given(st.lists(st.tuples(DIRECTORY, st.floats(0.0, 8.0)), min_size=1, max_size=6), KNOWN, KINDS)
def test_a_candidate_is_made_only_of_files_that_stood_still(history, known, kind):
    world = World(kind, known)
    since: dict[str, tuple[object, float]] = {}
    for directory, wait_s in history:
        before, since = since, {}
        for name, content in directory.items():
            was, at = before.get(name, (None, world.at))
            since[name] = (content, at if was == content else world.at)
        for step in world.look(directory).ready:
            assert all(world.at >= since[e.name][1] + TIMING.settle_s for e in step.entries)
        world.at += wait_s


@settings(max_examples=300)
@given(st.binary(max_size=400) | st.binary(max_size=200).map(lambda b: b"-----BEGIN CERTIFICATE-----\n" + b))
def test_no_bytes_make_reading_a_file_raise(data):
    entry = replace(entry_of("x.pem", ()), content=data)
    content = Contents(read_content).of(entry)
    assert content.errors or content.certificates or content.keys
