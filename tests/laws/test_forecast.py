"""The forecast: it warns of exactly those who were counted, and would be worse off."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from certstore import BundleFacts, Finding, Meta, covers, found
from tlsproxy import policy_forecast as policy
from tlsproxy.forecast import Seen, forecast
from tlsproxy.observe.clientele import Clientele
from tlsproxy.tls.offers import EXCHANGES, OFFERED_VERSIONS, USABLE_KEYS

THEN = datetime(2031, 5, 6, tzinfo=UTC)
counts = st.dictionaries(
    st.tuples(st.sampled_from(OFFERED_VERSIONS), st.sampled_from(USABLE_KEYS), st.sampled_from(EXCHANGES)),
    st.integers(0, 10**9),
)
patterns = st.sampled_from(["a.test", "b.test", "*.test", "*.b.test", "c.b.test", "192.0.2.1"])
some_names = st.lists(patterns, unique=True, max_size=4).map(tuple)
hosts = st.sampled_from(["a.test", "b.test", "c.b.test", "d.b.test", "other.example"])


def meta(names: tuple[str, ...] = ("a.test",), key: str = "EC") -> Meta:
    return Meta("0" * 64, "1" * 64, "2" * 64, key, BundleFacts(names, THEN, THEN, self_signed=False))


def everything(_name: str) -> bool:
    return True


def codes(findings: tuple[Finding, ...]) -> list[str]:
    assert not any(finding.is_error for finding in findings), "a forecast refuses nothing"
    return [finding.code for finding in findings]


@given(counts, st.sampled_from(("RSA", "EC")), st.sampled_from(("RSA", "EC", "")))
def test_the_warning_counts_those_who_can_use_only_the_other_kind(seen, key_type, before):
    other = {"RSA": "ec", "EC": "rsa"}[key_type]
    kept_out = sum(count for (_, keys, _), count in seen.items() if keys == other)
    told = forecast(meta(key=key_type), (), Seen(seen, default_key=before))
    assert len(told) == bool(kept_out and before != key_type)
    for finding in told:
        assert not finding.is_error
        assert f"{kept_out} of {sum(seen.values())} connections" in finding.words


@given(counts, st.sampled_from(("Ed25519", "other")))
def test_of_keys_that_the_gate_judges_nothing_is_foretold(seen, key_type):
    assert not forecast(meta(key=key_type), (), Seen(seen))


@given(some_names, some_names, st.dictionaries(hosts, st.integers(1, 99)))
def test_a_name_is_told_where_only_the_certificate_before_covers_it(old, new, asked):
    told = forecast(meta(new), (), Seen(clientele=Clientele(asked.items()), beside=(meta(old),)))
    lost = {
        name
        for name in asked
        if any(covers(one, name) for one in old) and not any(covers(one, name) for one in new)
    }
    related = any(covers(a, b) or covers(b, a) for a in old for b in new)
    assert codes(told) == ["names_still_used"] * bool(lost and related)
    for finding in told:
        assert all(name in finding.words for name in lost)
        assert f"({sum(asked[name] for name in lost)} of" in finding.words
        assert "2031-05-06" in finding.words


def test_a_certificate_for_something_else_takes_nothing_away():
    seen = Seen(clientele=Clientele([("b.test", 5)]), beside=(meta(("b.test",)),))
    assert codes(forecast(meta(("a.test",)), (), seen)) == []
    assert codes(forecast(meta(("a.test", "b.test")), (), seen)) == []


def test_of_many_names_the_most_asked_for_are_told():
    asked = [(f"n{n}.test", float(n)) for n in range(1, 20)]
    (told,) = forecast(meta(("x.test",)), (), Seen(clientele=Clientele(asked), beside=(meta(("*.test",)),)))
    assert "n19.test, n18.test, n17.test, n16.test, n15.test and 14 more" in told.words


@given(some_names, st.dictionaries(hosts, st.booleans()), st.lists(hosts))
def test_hsts_is_told_for_names_that_the_certificate_is_for(names, strict, asked):
    clientele = Clientele([(name, 1.0) for name in asked], strict.items())
    told = forecast(meta(names), (), Seen(clientele=clientele))
    concerned = {
        name
        for name in {*strict, *asked}
        if clientele.is_strict(name) and any(covers(one, name) for one in names)
    }
    assert codes(told) == ["hsts_in_force"] * bool(concerned)
    worse = forecast(meta(names), (found("self_signed"),), Seen(clientele=clientele))
    assert codes(worse) == ["hsts_keeps_out"] * bool(concerned)
    assert all("self_signed" in one.words for one in worse)


def test_hsts_for_all_below_holds_for_what_is_asked_for_there():
    clientele = Clientele([("c.b.test", 1.0)], [("b.test", True)])
    assert clientele.is_strict("c.b.test")
    assert clientele.is_strict("b.test")
    assert not clientele.is_strict("test")
    assert not Clientele([], [("b.test", False)]).is_strict("c.b.test")


@given(st.lists(st.integers(0, 3 * policy.NAMES_COUNTED), max_size=3_000))
def test_what_is_counted_stays_bounded_and_the_most_asked_for_stay(hellos):
    clientele = Clientele()
    for _ in range(3_001):
        clientele.hear("pump.test")
    for number in hellos:
        clientele.hear(f"x{number}.test")
    assert len(clientele.asked) <= policy.NAMES_COUNTED
    assert clientele.asked["pump.test"] == 3_001
    for name, count in clientele.asked.items():
        assert count <= max(3_001, hellos.count(int(name[1:-5])) if name[0] == "x" else 3_001)


@given(st.binary(max_size=80), st.binary(max_size=80))
def test_whatever_stands_in_a_response_only_host_names_are_kept(host, value):
    clientele = Clientele()
    clientele.learn(host, value, everything)
    clientele.learn(host, b"max-age=1; " + value, everything)
    for name in clientele.strict:
        assert name == name.lower()
        assert len(name) <= 253
        assert name.isascii()
        assert name.isprintable()


def test_hsts_begins_and_ends_by_what_a_response_says():
    clientele = Clientele()
    clientele.learn(b"Pump.test:8443", b"max-age=31536000; includeSubDomains; preload", everything)
    clientele.learn(b"192.0.2.1", b"max-age=1", everything)
    clientele.learn(b"[2001:db8::1]:443", b"max-age=1", everything)
    clientele.learn(b"other.test.", b'includeSubDomains;max-age="5"', everything)
    clientele.learn(b"", b"max-age=1", everything)
    clientele.learn(b"none.test", b"includeSubDomains", everything)
    assert dict(clientele.strict) == {"pump.test": True, "other.test": True}
    clientele.learn(b"pump.test", b"max-age=0", everything)
    assert dict(clientele.strict) == {"other.test": True}
    clientele.learn(b"invented.test", b"max-age=1", lambda _name: False)
    assert dict(clientele.strict) == {"other.test": True}
    for number in range(3 * policy.STRICT_NAMES):
        clientele.learn(b"n%d.test" % number, b"max-age=1", everything)
    assert len(clientele.strict) == policy.STRICT_NAMES
