"""`tlsproxy check --image`: what ends a manufacturer's build before it ships a key."""

from __future__ import annotations

import json

import pytest

from certstore import Source
from tests.storing import propose
from tlsproxy.cli import main
from tlsproxy.cli.either import open_store
from tlsproxy.errors import ExitCode


@pytest.fixture
def image(tmp_path):
    root = tmp_path / "rootfs"
    (root / "etc" / "tlsproxy").mkdir(parents=True)
    (root / "data").mkdir()
    return root


def test_an_image_without_keys_is_good_with_a_store_or_without(image, capsys):
    assert main(["check", "--image", str(image)]) == ExitCode.DONE
    open_store(image / "data" / "store", 0.0).close()
    assert main(["check", "--image", str(image)]) == ExitCode.DONE
    assert capsys.readouterr().out.count("good") == 2


def test_an_image_with_a_key_is_bad_and_says_where(image, pki, capsys):
    with open_store(image / "data" / "store", 0.0) as store:
        propose(store, pki.leaf(), Source.GENERATED)
    assert main(["check", "--image", str(image)]) == ExitCode.FAILED
    told = capsys.readouterr()
    assert "key.pem: error: a private key" in told.out
    assert "leave the whole store out" in told.err
    assert main(["check", "--image", str(image), "--json"]) == ExitCode.FAILED
    document = json.loads(capsys.readouterr().out)
    assert (document["good"], document["stores"]) == (False, [str(image / "data" / "store")])


def test_the_images_own_configuration_says_where_its_inbox_is(image, capsys):
    open_store(image / "data" / "store", 0.0).close()
    (image / "data" / "drop").mkdir()
    (image / "data" / "drop" / "all.pem").write_bytes(b"x")
    (image / "etc" / "tlsproxy" / "tlsproxy.toml").write_text(
        'store = "/data/store"\n[inbox]\npath = "/data/drop"\n[[listener]]\naddress = "127.0.0.1:1"\n'
        '[[route]]\nupstream = "http://127.0.0.1:2"\n'
    )
    assert main(["check", "--image", str(image)]) == ExitCode.FAILED
    assert "drop/all.pem: error" in capsys.readouterr().out


def test_a_machine_id_in_an_image_is_worth_advice(image, capsys):
    (image / "etc" / "machine-id").write_text("0" * 32 + "\n")
    assert main(["check", "--image", str(image)]) == ExitCode.DONE
    assert "machine-id: advice" in capsys.readouterr().out


def test_an_image_that_isnt_there_is_a_misuse(tmp_path):
    assert main(["check", "--image", str(tmp_path / "none")]) == ExitCode.MISUSE
