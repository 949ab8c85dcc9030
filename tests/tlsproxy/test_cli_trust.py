"""`tlsproxy trust`: a set is named by an argument, as certificates are, or by --name; at rest or running."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pki import Pki, crl
from tests.tlsproxy.test_cli_certs_life import Place, place, run
from tlsproxy.errors import ExitCode

__all__ = ["place"]  # a fixture


async def said(place: Place, *words: str):
    config = place.path.parent / "tlsproxy.toml"
    return await run("trust", words[0], "--config", str(config), *words[1:])


async def bring(place: Place, folder: Path, pki: Pki, name: str) -> None:
    path = folder / "ca.pem"
    path.write_bytes(pki.root_pem + crl(pki.root, pki.root_key, (7,)))
    done = await said(place, "import", str(path), "--name", name)
    assert done.code == ExitCode.DONE, done


async def held(place: Place) -> list[str]:
    done = await said(place, "list", "--json")
    return [one["name"] for one in done.document["sets"]]


@pytest.mark.parametrize("words", [["plant"], ["--name", "plant"], ["plant", "--name", "plant"]])
async def test_a_set_is_shown_and_removed_by_its_name(place, tmp_path, pki, words):
    await bring(place, tmp_path, pki, "plant")
    await bring(place, tmp_path, pki, "default")
    shown = await said(place, "show", *words)
    assert shown.code == ExitCode.DONE
    for part in ("set plant", "authority CN=Test Root", "list of CN=Test Root", "1 revoked"):
        assert part in shown.out
    one = (await said(place, "show", *words, "--json")).document
    assert one["anchors"][0]["fingerprint"] in shown.out
    done = await said(place, "remove", *words)
    assert done.code == ExitCode.DONE, done
    assert await held(place) == ["default"]
    assert (await said(place, "show", *words)).code == ExitCode.FAILED


async def test_without_a_name_it_is_the_default_set(place, tmp_path, pki):
    await bring(place, tmp_path, pki, "plant")
    await bring(place, tmp_path, pki, "default")
    assert "set default" in (await said(place, "show")).out
    assert (await said(place, "remove")).code == ExitCode.DONE
    assert await held(place) == ["plant"]


@pytest.mark.parametrize("words", [["plant", "--name", "other"], ["No Name"]])
async def test_two_names_or_what_is_none_is_misuse(place, words):
    for command in ("show", "remove"):
        assert (await said(place, command, *words)).code == ExitCode.MISUSE
