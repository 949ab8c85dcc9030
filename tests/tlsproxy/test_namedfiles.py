import os
from pathlib import Path

import pytest

from tlsproxy.namedfiles import read_named


def test_a_file_is_read_whole_up_to_its_bound(tmp_path):
    (tmp_path / "it").write_bytes(b"x" * 10)
    assert read_named(tmp_path / "it", 10) == b"x" * 10
    with pytest.raises(ValueError, match="is larger than 9 bytes"):
        read_named(tmp_path / "it", 9)


def test_a_link_to_a_file_is_followed(tmp_path):
    (tmp_path / "it").write_bytes(b"x")
    (tmp_path / "link").symlink_to("it")
    assert read_named(tmp_path / "link", 10) == b"x"


def test_a_pipe_without_a_writer_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="pipe is no file"):
        read_named(tmp_path / "pipe", 10)


def test_a_device_is_no_file():
    with pytest.raises(ValueError, match="/dev/zero is no file"):
        read_named(Path("/dev/zero"), 10)


def test_a_folder_and_nothing_are_errors_of_the_system(tmp_path):
    with pytest.raises(IsADirectoryError):
        read_named(tmp_path, 10)
    with pytest.raises(FileNotFoundError):
        read_named(tmp_path / "none", 10)
