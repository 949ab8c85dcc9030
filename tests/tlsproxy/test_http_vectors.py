"""The request gate and its counterpart for responses, one file a case in tests/vectors/http.

A file begins with `# outcome: ...` (and maybe `# why: ...`); all after these lines is the head, byte by byte.
`admitted key=value ...` compares what was read; `refused STATUS CODE` (a response: `refused CODE`) the error.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tlsproxy.errors import ClientProtocolError, UpstreamProtocolError
from tlsproxy.http.framing import Framing, Kind
from tlsproxy.http.head import RequestHead, ResponseHead, parse_request, parse_response

VECTORS = Path(__file__).parents[1] / "vectors" / "http"


def read_vector(path: Path) -> tuple[str, bytes]:
    """Split a case into its outcome and its bytes."""
    first, _, rest = path.read_bytes().partition(b"\n")
    if rest.startswith(b"# why: "):
        rest = rest.partition(b"\n")[2]
    return first.removeprefix(b"# outcome: ").decode("latin-1"), rest


def vectors(kind: str) -> list[object]:
    return [pytest.param(path, id=path.stem) for path in sorted((VECTORS / kind).glob("*.http"))]


def said(framing: Framing | None) -> str:
    if framing is None:
        return ""
    return f"length:{framing.length}" if framing.kind is Kind.LENGTH else framing.kind.value


def shown(head: RequestHead | ResponseHead) -> dict[str, str]:
    """Give the facts of a head as the vectors write them."""
    facts = {}
    for name in head.__struct_fields__:
        value = getattr(head, name)
        if isinstance(value, Framing):
            facts[name] = said(value)
        elif isinstance(value, list):
            facts[name] = b",".join(field.lower() for field, _ in value).decode("latin-1")
        elif isinstance(value, bytes):
            facts[name] = value.decode("latin-1")
        elif isinstance(value, bool) or value is None:
            facts[name] = "yes" if value else "no"
        else:
            facts[name] = str(value)
    return facts


def compare(outcome: str, head: RequestHead | ResponseHead, given: frozenset[str] = frozenset()) -> None:
    verdict, *wanted = outcome.split(" ")
    assert verdict == "admitted", f"let in, but {outcome}"
    facts = shown(head)
    for pair in wanted:
        key, _, value = pair.partition("=")
        if key not in given:
            assert facts[key] == value, key


@pytest.mark.parametrize("path", vectors("requests"))
def test_a_request_head_is_let_in_as_one_thing_or_refused_with_its_code(path):
    outcome, raw = read_vector(path)
    if outcome.startswith("refused"):
        with pytest.raises(ClientProtocolError) as caught:
            parse_request(raw)
        assert outcome == f"refused {caught.value.status} {caught.value.code}"
    else:
        compare(outcome, parse_request(raw))


@pytest.mark.parametrize("path", vectors("responses"))
def test_a_response_head_is_let_in_as_one_thing_or_refused_with_its_code(path):
    outcome, raw = read_vector(path)
    words = dict(pair.partition("=")[::2] for pair in outcome.split(" "))
    method, asked = words.get("method", "GET").encode(), words.get("asked")
    arguments = raw, method, asked.encode() if asked else None
    if outcome.startswith("refused"):
        with pytest.raises(UpstreamProtocolError) as caught:
            parse_response(*arguments)
        assert outcome.split(" ")[:2] == ["refused", caught.value.code]
    else:
        compare(outcome, parse_response(*arguments), given=frozenset({"method", "asked"}))


def test_the_vectors_are_there_and_cover_both_verdicts():
    for kind, least in (("requests", 150), ("responses", 30)):
        verdicts = [read_vector(path)[0].split()[0] for path in (VECTORS / kind).glob("*.http")]
        assert len(verdicts) >= least
        assert {"admitted", "refused"} == set(verdicts)
