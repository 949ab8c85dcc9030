"""A library kept from another one: for the time of a block, and only where nobody had it before."""

from __future__ import annotations

import sys

import pytest

from tlsproxy.observe.absence import absent


def test_in_the_block_it_is_as_if_it_were_not_installed(monkeypatch):
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    with absent("colorsys"), pytest.raises(ImportError):
        import colorsys
    import colorsys

    assert colorsys.rgb_to_hsv(0, 0, 0) == (0, 0, 0)


def test_what_somebody_has_imported_before_is_left_to_him():
    import colorsys

    with absent("colorsys"):
        import colorsys as again
    assert again is colorsys


def test_a_block_that_fails_hides_nothing_for_good(monkeypatch):
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    with pytest.raises(RuntimeError), absent("colorsys"):
        raise RuntimeError
    import colorsys

    assert colorsys is not None
