"""The inventory: held against CycloneDX' own schema, and against what is really installed and loaded."""

from __future__ import annotations

import json
import ssl
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.backends.openssl.backend import backend
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tlsproxy.cli import main
from tlsproxy.errors import ExitCode

ROOT = Path(__file__).parents[2]


@pytest.fixture
def text(capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["support", "--sbom"]) == ExitCode.DONE
    return capsys.readouterr().out


@pytest.fixture
def document(text: str) -> Any:
    return json.loads(text)


def all_of(components: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for one in components:
        yield one
        yield from all_of(one.get("components", []))


def property_of(component: dict[str, Any], name: str) -> str | None:
    return next((one["value"] for one in component.get("properties", []) if one["name"] == name), None)


def test_it_is_what_cyclonedx_calls_one(text: str) -> None:
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None


def test_every_reference_is_unique_and_every_dependency_is_there(document: Any) -> None:
    root = document["metadata"]["component"]
    refs = [one["bom-ref"] for one in (root, *all_of(document["components"]))]
    assert len(refs) == len(set(refs))
    assert {one["ref"] for one in document["dependencies"]} <= set(refs)
    assert {to for one in document["dependencies"] for to in one["dependsOn"]} <= set(refs)


def test_all_that_we_require_is_in_it_as_installed_and_nothing_of_the_tests(document: Any) -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    names = {line.partition(">=")[0].strip() for line in declared}
    versions = {one["name"].lower(): one["version"] for one in document["components"]}
    assert len(names) > 10
    for name in names:
        found = {key.replace("_", "-"): value for key, value in versions.items()}
        assert found[name] == version(name), name
    assert {"h2", "wsproto", "cffi", "attrs"} <= versions.keys()  # what those require in turn
    assert not {"pytest", "mypy", "hypothesis", "pip", "schemathesis"} & versions.keys()


def test_both_openssls_are_in_it_by_their_own_word_and_say_whose_engine_they_are(document: Any) -> None:
    openssls = [one for one in all_of(document["components"]) if one["name"] == "openssl"]
    told = {
        property_of(one, "tlsproxy:engine"): property_of(one, "tlsproxy:version-text") for one in openssls
    }
    assert told == {"system": ssl.OPENSSL_VERSION, "bundled": backend.openssl_version_text()}
    within = {
        one["name"]: inner["version"]
        for one in document["components"]
        for inner in one.get("components", [])
        if inner["name"] == "openssl"
    }
    assert within["cryptography"] == backend.openssl_version_text().split()[1]


def test_every_third_party_part_has_a_licence_and_the_crates_of_wheels_are_told(document: Any) -> None:
    for one in document["components"]:
        assert one["licenses"], one["name"]
    watchfiles = next(one for one in document["components"] if one["name"] == "watchfiles")
    assert any(inner["purl"].startswith("pkg:cargo/") for inner in watchfiles.get("components", []))
