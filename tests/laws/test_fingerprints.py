"""Laws of fingerprints as people compare them: nothing is lost, whichever browser it was copied from."""

from __future__ import annotations

import base64

from hypothesis import given
from hypothesis import strategies as st

from certstore.fingerprints import grouped, in_lines, pin, plain

digests = st.binary(min_size=32, max_size=32).map(bytes.hex)


@given(digests)
def test_groups_of_four_hold_every_digit_in_order_and_fit_into_forty_columns(fingerprint: str) -> None:
    shown = grouped(fingerprint)
    groups = shown.split(" ")
    assert [len(group) for group in groups] == [4] * 16
    assert "".join(groups).lower() == fingerprint
    assert shown == shown.upper()
    for per_line in (4, 8):
        lines = in_lines(fingerprint, per_line)
        assert " ".join(lines) == shown
        assert all(len(line) <= 40 for line in lines)


@given(digests)
def test_what_is_copied_from_here_or_from_any_browser_means_the_same(fingerprint: str) -> None:
    pairs = [fingerprint[at : at + 2] for at in range(0, 64, 2)]
    firefox, safari, chrome = ":".join(pairs).upper(), " ".join(pairs).upper(), fingerprint
    assert {plain(form) for form in (grouped(fingerprint), firefox, safari, chrome)} == {fingerprint}


@given(digests)
def test_a_pin_is_the_hash_and_nothing_else(fingerprint: str) -> None:
    assert base64.b64decode(pin(fingerprint).removeprefix("sha256//")).hex() == fingerprint
