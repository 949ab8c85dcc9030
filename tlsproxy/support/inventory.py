"""The inventory (SBOM): the parts that are installed here, with versions and licences, in CycloneDX 1.6.

Made by ourselves of what the installed packages say of themselves (importlib.metadata), not by a tool: what
counts is what lies on *this* device, where no tool is, and two facts that no tool knows stand in it, the
OpenSSL of each engine, asked of the libraries themselves. Wheels that bring an inventory of their own (PEP
770: the crates and the OpenSSL that were built into them) have it taken over.

Promises: a document that fits the schema; every part once; the same installation gives the same document but
for `timestamp`; a licence stands there only where the package names one. Refuses to know of what isn't
required by us, though it may be installed beside us, and of the system's libraries but OpenSSL.
"""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from tlsproxy.observe.status import Software

__all__ = ["inventory", "required"]

_ROOT = "tlsproxy"
_NAME = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[([^\]]*)\])?")
_EXTRA = re.compile(r"extra\s*==\s*[\"']([^\"']+)[\"']")

# What packages from before PEP 639 wrote for an SPDX expression; all else is taken over as a name.
_SPDX = {
    "mit": "MIT",
    "mit license": "MIT",
    "apache license, version 2.0": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "license :: osi approved :: mit license": "MIT",
    "license :: osi approved :: apache software license": "Apache-2.0",
    "license :: osi approved :: mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
}
_IDS = frozenset(
    {"MIT", "MIT-0", "ISC", "BSD-2-Clause", "BSD-3-Clause", "Apache-2.0", "MPL-2.0", "PSF-2.0", "Unlicense"}
)


def inventory(loaded: Software, at: datetime) -> dict[str, object]:
    """Give the document. Raises PackageNotFoundError where tlsproxy itself isn't installed as a package."""
    parts = required(_ROOT)
    root, others = parts[_ROOT], [part for name, part in sorted(parts.items()) if name != _ROOT]
    components = [_python(loaded), *(_component(part, loaded) for part in others)]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": at.isoformat(timespec="seconds"),
            "component": {**_component(root, loaded), "type": "application"},
            "properties": [
                {"name": "tlsproxy:machine", "value": platform.machine()},
                {"name": "tlsproxy:engine", "value": loaded.engine},
            ],
        },
        "components": components,
        "dependencies": [
            {
                "ref": _ref(part),
                "dependsOn": sorted(_ref(parts[name]) for name in _wanted(part) if name in parts),
            }
            for _, part in sorted(parts.items())
        ],
    }


def required(root: str) -> dict[str, Distribution]:
    """Give a package and all that it requires, as far as it is installed, by normalised names.

    A requirement that isn't installed is one that isn't for this system: pip would have installed it.
    """
    found: dict[str, Distribution] = {_normalised(root): distribution(root)}
    waiting = [(_normalised(root), frozenset[str]())]
    seen = set(waiting)
    while waiting:
        name, extras = waiting.pop()
        for wanted, more in _requirements(found[name], extras):
            if wanted not in found:
                try:
                    found[wanted] = distribution(wanted)
                except PackageNotFoundError:
                    continue
            if (wanted, more) not in seen:
                seen.add((wanted, more))
                waiting.append((wanted, more))
    return found


def _requirements(part: Distribution, extras: frozenset[str]) -> Iterator[tuple[str, frozenset[str]]]:
    """Give what a package requires, with the extras that it wants of that (PEP 508)."""
    for line in part.requires or ():
        text, _, marker = line.partition(";")
        asked = set(_EXTRA.findall(marker))
        if (match := _NAME.match(text)) and (not asked or asked & extras):
            more = frozenset(one.strip() for one in (match[2] or "").split(",") if one.strip())
            yield _normalised(match[1]), more


def _wanted(part: Distribution) -> set[str]:
    return {name for name, _ in _requirements(part, frozenset())}


def _component(part: Distribution, loaded: Software) -> dict[str, object]:
    shown: dict[str, object] = {
        "type": "library",
        "bom-ref": _ref(part),
        "name": part.name,
        "version": part.version,
        "purl": _ref(part),
    }
    if licences := _licences(part):
        shown["licenses"] = licences
    inside = list(_built_in(part))
    if _normalised(part.name) == "cryptography":
        inside = _with_openssl(inside, _ref(part), loaded)
    if inside:
        shown["components"] = inside
    return shown


def _licences(part: Distribution) -> list[dict[str, object]]:
    """Give the licence as the package names it: as an SPDX expression where it is one, else by its name."""
    facts = part.metadata
    if "License-Expression" in facts:
        return [{"expression": facts["License-Expression"]}]
    text = facts["License"].strip() if "License" in facts else ""
    if known := _SPDX.get(text.lower()):
        return [{"expression": known}]
    if text and all(one in _IDS for one in re.split(r" (?:OR|AND) ", text)):
        return [{"expression": text}]
    classified = [one for one in facts.get_all("Classifier") or () if one.startswith("License ::")]
    mapped = [_SPDX.get(one.lower(), "") for one in classified]
    if classified and all(mapped):
        return [{"expression": " OR ".join(sorted(mapped))}]
    named = [one.rpartition(" :: ")[2] for one in classified] or [text.splitlines()[0][:100] if text else ""]
    return [{"license": {"name": name}} for name in named if name]


def _built_in(part: Distribution) -> Iterator[dict[str, object]]:
    """Give what was built into a wheel, where it says so (PEP 770)."""
    seen = set()
    for file in sorted(part.files or (), key=str):
        if ".dist-info/sboms/" not in str(file) or file.suffix != ".json":
            continue
        try:
            document = json.loads(file.read_text("utf-8"))
            listed = document["components"]
        except (OSError, ValueError, KeyError, TypeError):
            continue  # the part itself stands there all the same
        for one in listed if isinstance(listed, list) else ():
            taken = _taken_over(one, _ref(part)) if isinstance(one, Mapping) else None
            if taken is not None and taken["bom-ref"] not in seen:
                seen.add(taken["bom-ref"])
                yield taken


def _taken_over(one: Mapping[str, object], within: str) -> dict[str, object] | None:
    name, version = one.get("name"), one.get("version")
    if not isinstance(name, str) or not isinstance(version, str):
        return None
    kept = {key: one[key] for key in ("purl", "licenses", "hashes") if key in one}
    return {
        "type": "library",
        "bom-ref": f"{within}#{name}@{version}",
        "name": name,
        "version": version,
        **kept,
    }


def _with_openssl(inside: list[dict[str, object]], within: str, loaded: Software) -> list[dict[str, object]]:
    """Put the OpenSSL of the `bundled` engine there, with what the wheel says of it where it is the same."""
    asked = _openssl(loaded.openssl_bundled, "bundled", within)
    told = [one for one in inside if one["name"] == "openssl" and one["version"] == asked["version"]]
    others = [one for one in inside if one["name"] != "openssl"]
    return [{**asked, **(told[0] if told else {})}, *others]


def _python(loaded: Software) -> dict[str, object]:
    ref = f"pkg:generic/cpython@{loaded.python}"
    return {
        "type": "platform",
        "bom-ref": ref,
        "name": platform.python_implementation(),
        "version": loaded.python,
        "purl": ref,
        "licenses": [{"expression": "PSF-2.0"}],
        "components": [_openssl(loaded.openssl_system, "system", ref)],
    }


def _openssl(text: str, engine: str, within: str) -> dict[str, object]:
    """Describe an OpenSSL by its own words: `OpenSSL 3.0.17 1 Jul 2025`; a fork's name is kept."""
    name, _, rest = text.partition(" ")
    version = rest.partition(" ")[0]
    shown: dict[str, object] = {
        "type": "library",
        "bom-ref": f"{within}#{name.lower()}@{version}",
        "name": name.lower(),
        "version": version,
        "purl": f"pkg:generic/{name.lower()}@{version}",
        "properties": [
            {"name": "tlsproxy:engine", "value": engine},
            {"name": "tlsproxy:version-text", "value": text},
        ],
    }
    if name == "OpenSSL" and version[:1].isdigit() and int(version.partition(".")[0]) >= 3:
        shown["licenses"] = [{"expression": "Apache-2.0"}]  # since 3.0
    return shown


def _ref(part: Distribution) -> str:
    return f"pkg:pypi/{_normalised(part.name)}@{part.version}"


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()  # PEP 503
