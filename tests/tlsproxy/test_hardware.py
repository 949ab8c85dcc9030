"""Ids of the hardware: read where they are, and none where everybody has the same."""

from __future__ import annotations

import pytest

from tlsproxy import hardware

MACHINE = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def firmware(tmp_path):
    def write(**contents: bytes):
        paths = {kind.replace("_", "-"): tmp_path / kind for kind in contents}
        for kind, content in contents.items():
            (tmp_path / kind).write_bytes(content)
        return {**paths, "absent": tmp_path / "absent"}

    return write


def test_what_the_firmware_tells_is_read_and_what_it_doesnt_is_no_trouble(firmware, tmp_path):
    (tmp_path / "machine-id").write_text(MACHINE + "\n")
    paths = firmware(device_tree=b"SN-0042\0", dmi_uuid=b"4C4C4544-0042-3510-8052-B4C04F4D3532\n")
    seen, troubles = hardware.look(None, paths, tmp_path / "machine-id")
    assert seen.hardware == {"device-tree": "sn-0042", "dmi-uuid": "4c4c4544-0042-3510-8052-b4c04f4d3532"}
    assert (seen.machine, troubles) == (MACHINE, ())


@pytest.mark.parametrize(
    "blank", [b"", b"\0", b"0", b"Default string\n", b"03000200-0400-0500-0006-000700080009", b"Not Settable"]
)
def test_what_every_board_has_is_no_id(firmware, tmp_path, blank):
    assert hardware.look(None, firmware(dmi_uuid=blank), tmp_path / "none")[0].hardware == {}
    seen, troubles = hardware.look(firmware(dmi_uuid=blank)["dmi-uuid"], {}, tmp_path / "none")
    assert seen.hardware == {}
    assert [finding.code for finding in troubles] == ["hardware_id_unreadable"]


def test_a_configured_file_counts_alone_and_is_missed_where_it_is_not_there(firmware, tmp_path):
    own = tmp_path / "own"
    own.write_text("Unit 7")
    seen, troubles = hardware.look(own, firmware(dmi_uuid=b"abc"), tmp_path / "none")
    assert (seen.hardware, troubles) == ({f"file {own}": "unit 7"}, ())
    own.unlink()
    seen, (trouble,) = hardware.look(own, firmware(dmi_uuid=b"abc"), tmp_path / "none")
    assert seen.hardware == {}
    assert (trouble.code, trouble.words.endswith("no such file or directory")) == (
        "hardware_id_unreadable",
        True,
    )


def test_what_root_copied_at_boot_is_the_same_id_and_the_firmware_itself_wins(firmware, tmp_path):
    copies = {"dmi-uuid": tmp_path / "copy"}
    (tmp_path / "copy").write_text("4C4C4544-0042\n")
    seen, troubles = hardware.look(None, {"dmi-uuid": tmp_path / "absent"}, tmp_path / "none", copies)
    assert (seen.hardware, troubles) == ({"dmi-uuid": "4c4c4544-0042"}, ())
    seen, _ = hardware.look(None, firmware(dmi_uuid=b"4c4c4544-0043"), tmp_path / "none", copies)
    assert seen.hardware == {"dmi-uuid": "4c4c4544-0043"}
    own = tmp_path / "own"
    own.write_text("Unit 7")
    assert hardware.look(own, {}, tmp_path / "none", copies)[0].hardware == {f"file {own}": "unit 7"}


@pytest.mark.parametrize("content", ["", "uninitialized\n"])
def test_a_machine_id_that_is_not_made_yet_is_none(tmp_path, content):
    (tmp_path / "machine-id").write_text(content)
    assert hardware.look(None, {}, tmp_path / "machine-id")[0].machine is None
