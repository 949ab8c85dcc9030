"""The tables `[[client_auth]]`: for which names and ports clients have to show a certificate.

Pure: tables go in, values and complaints come out. What they mean: docs/client-certificates.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from msgspec import Meta

from certstore import is_trust_name, normalise
from tlsproxy.config.lines import Path
from tlsproxy.config.tables import Table
from tlsproxy.config.values import ListenerConfig
from tlsproxy.policy_clients import DEFAULT_SET, DEPTH, MOST_RULES, ClientAuth, Forward, Mode
from tlsproxy.tls.clientrules import parse_pattern

__all__ = ["find_client_contradictions", "read_client_auth", "rule_words"]

Complaint = tuple[Path, str, str]
_Port = Annotated[int, Meta(ge=1, le=65_535)]
_Depth = Annotated[int, Meta(ge=0, le=10)]


def read_client_auth(table: Table) -> ClientAuth:
    """Read one of them; what is wrong is noted, and the default stands in its place."""
    mode: Mode = table.leaf("mode", Mode, "required")
    forward: Forward = table.leaf("forward", Forward, "none")
    ports: list[int] = table.leaf("ports", list[_Port], [])
    rule = ClientAuth(
        mode=mode,
        names=table.parsed_list("names", _name),
        ports=tuple(ports),
        trust=table.parsed("trust", _set, DEFAULT_SET),
        allow=table.parsed_list("allow", _pattern),
        depth=table.leaf("depth", _Depth, DEPTH),
        forward=forward,
        facts=table.leaf("facts", bool, False),
    )
    for key in ("names", "ports", "allow"):
        if key in table and table.leaf(key, list[Any], None) == []:
            table.refuse(key, "an empty list is for nobody", "leave it out, and it is for all")
    if mode == "off":
        for key in ("trust", "allow", "depth", "forward", "facts"):
            if key in table:
                table.refuse(key, "nobody is asked for a certificate by this rule", "leave it out")
    table.finish()
    return rule


def find_client_contradictions(
    rules: Mapping[Path, ClientAuth], listeners: Sequence[ListenerConfig]
) -> Iterator[Complaint]:
    """Find rules that say different things of one name, and ports where nobody listens for TLS."""
    if len(rules) > MOST_RULES:
        yield ("client_auth",), f"there are {len(rules)} rules, more than {MOST_RULES}", "put names together"
    ports = {one.port for one in listeners if one.kind == "tls"}
    seen: set[tuple[str, int]] = set()
    for path, rule in rules.items():
        for port in rule.ports:
            if port not in ports and 0 not in ports:
                yield (*path, "ports"), f"nothing listens for TLS on port {port}", "name a listener's port"
        for name in rule.names or ("",):
            for port in rule.ports or (0,):
                if (name, port) in seen:
                    what = name or "every other name"
                    yield path, f"{what} has a rule already", "each name has one rule, and each port of it"
                seen.add((name, port))


def rule_words(rules: Sequence[ClientAuth], trust: str) -> str:
    """Say for which names a trust set is asked for; "" for none."""
    return "; ".join(rule.words for rule in rules if rule.asks and rule.trust == trust)


def _name(text: str) -> str:
    try:
        return normalise(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is no host name or address: {error}") from None


def _set(text: str) -> str:
    if not is_trust_name(text):
        raise ValueError(f"{text!r} is no name of a trust set: lower-case letters, digits and hyphens")
    return text


def _pattern(text: str) -> str:
    parse_pattern(text)
    return text
