"""`tlsproxy certs import --dry-run` without a proxy: the same words as an import, and nothing is kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.pki import Pki
from tests.storing import files_under
from tlsproxy.cli import main
from tlsproxy.errors import ExitCode


@pytest.fixture
def store(tmp_path: Path, pki: Pki) -> Path:
    """A store that has been used."""
    hold(tmp_path / "first.pem", pki.leaf(("first.test",)))
    assert main(["certs", "import", str(tmp_path / "first.pem"), "--store", str(tmp_path / "store")]) == 0
    return tmp_path / "store"


def hold(file, issued):
    file.write_bytes(issued.key_pem + issued.chain_pem)
    return file


def test_what_would_be_served_is_told_and_nothing_is_kept(store, tmp_path, pki, capsys):
    file = hold(tmp_path / "new.pem", pki.leaf(("new.test",)))
    before = files_under(store)
    capsys.readouterr()
    assert main(["certs", "import", str(file), "--dry-run", "--store", str(store)]) == ExitCode.DONE
    said = capsys.readouterr().out
    assert "would be served: new.test, valid until" in said
    assert "no proxy runs on this store" in said
    assert files_under(store) == before


def test_what_would_be_refused_is_told_with_its_reason(store, tmp_path, pki, capsys):
    file = tmp_path / "half.pem"
    file.write_bytes(pki.leaf().chain_pem)
    before = files_under(store)
    capsys.readouterr()
    assert main(["certs", "import", str(file), "--dry-run", "--store", str(store)]) == ExitCode.FAILED
    said = capsys.readouterr()
    assert "would be refused:" in said.err
    assert "[certificate_without_key]" in said.err
    assert "would be served" not in said.out
    assert files_under(store) == before


def test_programs_are_told_in_json(store, tmp_path, pki, capsys):
    issued = pki.leaf(("new.test",))
    capsys.readouterr()
    words = ["certs", "import", "--dry-run", "--json", "--store", str(store)]
    assert main([*words, str(hold(tmp_path / "new.pem", issued))]) == ExitCode.DONE
    told = json.loads(capsys.readouterr().out)
    assert (told["dry_run"], told["accepted"], told["running"]) == (True, True, False)
    assert told["certificate"] == {"names": ["new.test"], "sha256": issued.bundle().fingerprint}
    assert main([*words, str(tmp_path / "nowhere.pem")]) == ExitCode.FAILED
    told = json.loads(capsys.readouterr().out)
    assert (told["accepted"], told["certificate"]) == (False, None)
    assert [one["code"] for one in told["findings"]] == ["file_missing"]


def test_no_store_is_made_for_it(tmp_path, pki, capsys):
    file = hold(tmp_path / "new.pem", pki.leaf())
    nowhere = tmp_path / "nowhere"
    assert main(["certs", "import", str(file), "--dry-run", "--store", str(nowhere)]) == ExitCode.MISUSE
    assert "tlsproxy doctor" in capsys.readouterr().err
    assert not nowhere.exists()
