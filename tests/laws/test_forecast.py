"""The forecast: it warns of exactly those who were counted, and can't use the key."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tlsproxy.forecast import forecast
from tlsproxy.tls.offers import OFFERED_VERSIONS, USABLE_KEYS

counts = st.dictionaries(
    st.tuples(st.sampled_from(OFFERED_VERSIONS), st.sampled_from(USABLE_KEYS)), st.integers(0, 10**9)
)


@given(counts, st.sampled_from(("RSA", "EC")))
def test_the_warning_counts_those_who_can_use_only_the_other_kind(seen, key_type):
    other = {"RSA": "ec", "EC": "rsa"}[key_type]
    kept_out = sum(count for (_, keys), count in seen.items() if keys == other)
    noise = [(("tlsproxy_sent_bytes_total",), 5.0)]
    found = forecast(
        key_type, [*noise, *((("tlsproxy_hellos_total", *k), float(n)) for k, n in seen.items())]
    )
    assert len(found) == bool(kept_out)
    for finding in found:
        assert not finding.is_error
        assert f"{kept_out} of {sum(seen.values())} connections" in finding.words


@given(counts, st.sampled_from(("Ed25519", "other")))
def test_of_keys_that_the_gate_judges_nothing_is_foretold(seen, key_type):
    assert not forecast(key_type, [(("tlsproxy_hellos_total", *k), float(n)) for k, n in seen.items()])
