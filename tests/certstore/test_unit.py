"""Whose store is it: what may be concluded from ids, and what must not be."""

from __future__ import annotations

import json
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certstore.registration import Registration
from certstore.unit import Seen, Unit, judge

OWN, OTHERS = frozenset({"own"}), frozenset({"customer's"})
A, B = "board-a", "board-b"
MACHINE, ANOTHER = "0" * 32, "1" * 32


def known(hardware: dict[str, str], machine: str | None = MACHINE) -> Unit:
    return Unit.of("salt", Seen(hardware, machine))


def verdict(before: Unit | None, hardware: dict[str, str], machine: str | None = MACHINE):
    return judge(before, Seen(hardware, machine), OWN, OTHERS, "fresh")


def test_the_first_start_of_an_empty_store_remembers_the_unit_and_suspects_nothing():
    first = judge(None, Seen({"dmi-uuid": A}, MACHINE), frozenset(), frozenset(), "fresh")
    assert (first.is_copy, first.machine_changed, first.unit.inherited) == (False, False, frozenset())
    assert first.unit == Unit.of("fresh", Seen({"dmi-uuid": A}, MACHINE))


def test_a_key_of_the_devices_own_before_its_first_start_came_with_an_image_and_a_customers_may_not_have():
    assert verdict(None, {"dmi-uuid": A}).unit.inherited == OWN


def test_on_other_hardware_it_is_a_copy_and_all_keys_may_be_anothers_too():
    found = verdict(known({"dmi-uuid": A}), {"dmi-uuid": B})
    assert found.is_copy
    assert found.unit.inherited == OWN | OTHERS
    assert found.unit.salt == "fresh"
    assert not verdict(found.unit, {"dmi-uuid": B}).is_copy
    assert verdict(found.unit, {"dmi-uuid": A}).is_copy


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ({"dmi-uuid": A}, {"dmi-uuid": A}),
        ({"dmi-uuid": A}, {}),  # a permission that went away
        ({}, {"dmi-uuid": B}),  # a firmware that tells more
        ({}, {}),
        ({"dmi-uuid": A}, {"device-tree": B}),  # nothing to compare
        ({"dmi-uuid": A}, {"dmi-uuid": A, "dmi-serial": B}),  # service filled in the serial number
        ({"dmi-uuid": A, "dmi-serial": A}, {"dmi-uuid": A, "dmi-serial": B}),
        ({"file /a": A}, {"file /b": B}),  # another file was configured
    ],
)
def test_what_may_have_other_reasons_is_no_copy(before, now):
    found = verdict(known(before), now)
    assert not found.is_copy
    assert found.unit.inherited == frozenset()


def test_what_was_learnt_is_kept_when_it_cant_be_read_and_compared_when_it_can_again():
    without = verdict(known({"dmi-uuid": A}), {})
    assert without.unit == known({"dmi-uuid": A})
    assert verdict(without.unit, {"dmi-uuid": B}).is_copy


def test_another_machine_id_alone_is_told_once_and_changes_nothing_else():
    for hardware in ({"dmi-uuid": A}, {}):
        found = verdict(known(hardware), hardware, ANOTHER)
        assert (found.is_copy, found.machine_changed) == (False, True)
        assert found.unit.inherited == frozenset()
        assert not verdict(found.unit, hardware, ANOTHER).machine_changed
    assert not verdict(known({}, None), {}, MACHINE).machine_changed
    assert not verdict(known({}), {}, None).machine_changed


def test_a_store_made_where_nothing_told_the_hardware_and_started_on_another_system_has_a_doubtful_key():
    found = verdict(known({}), {"dmi-uuid": A}, ANOTHER)
    assert (found.is_copy, found.machine_changed, found.unit.inherited) == (False, True, OWN)


def test_a_key_that_is_gone_is_remembered_no_longer():
    before = verdict(known({"dmi-uuid": A}), {"dmi-uuid": B}).unit
    after = judge(before, Seen({"dmi-uuid": B}, MACHINE), frozenset({"new"}), OTHERS, "x")
    assert after.unit.inherited == OTHERS


ids = st.dictionaries(st.sampled_from(["dmi-uuid", "dmi-serial", "device-tree"]), st.sampled_from([A, B]))
machines = st.sampled_from([None, MACHINE, ANOTHER])


@given(st.lists(st.tuples(ids, machines), max_size=6), ids, machines)
def test_a_start_that_sees_what_the_last_one_saw_concludes_nothing(history, hardware, machine):
    unit = None
    for earlier in history:
        unit = verdict(unit, *earlier).unit
    unit = verdict(unit, hardware, machine).unit
    again = verdict(unit, hardware, machine)
    assert (again.is_copy, again.machine_changed, again.unit) == (False, False, unit)


def test_the_record_holds_no_id_in_clear_and_is_ours_alone(tmp_path):
    unit = Unit.of("salt", Seen({"dmi-serial": "SN-0042"}, MACHINE), OWN)
    Registration(tmp_path).save(unit)
    path = tmp_path / "unit.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert b"SN-0042" not in path.read_bytes()
    assert MACHINE.encode() not in path.read_bytes()
    assert "SN-0042" not in repr(Seen({"dmi-serial": "SN-0042"}, MACHINE))
    assert Registration(tmp_path).load() == unit


def test_two_units_with_one_serial_number_have_different_records():
    seen = Seen({"dmi-serial": "SN-0042"})
    assert Unit.of("a", seen).hardware != Unit.of("b", seen).hardware


def test_a_record_is_written_only_when_there_is_something_new(tmp_path):
    registration = Registration(tmp_path)
    unit = known({"dmi-uuid": A})
    registration.save(unit)
    before = (tmp_path / "unit.json").stat().st_mtime_ns
    registration.save(known({"dmi-uuid": A}))
    assert (tmp_path / "unit.json").stat().st_mtime_ns == before


@pytest.mark.parametrize("content", [b"", b"{}", b"\0\0", b'{"hardware": {"a": 1}}', b"[" * 100_000])
def test_a_damaged_record_is_told_and_counts_as_none(tmp_path, content):
    (tmp_path / "unit.json").write_bytes(content)
    registration = Registration(tmp_path)
    assert registration.load() is None
    assert registration.damaged is not None
    assert json.loads(json.dumps(str(registration.damaged)))
