"""Entries that ask, from one generation to the next."""

from __future__ import annotations

from collections.abc import Callable

from certstore import TrustSet
from tlsproxy.policy_clients import ClientAuth
from tlsproxy.tls.asking import Asks
from tlsproxy.tls.clientrules import Rules


class Meddling(ClientAuth):
    """A rule that does something when it is looked up: as another thread might, just then."""

    meanwhile: Callable[[], object] | None = None

    def __hash__(self) -> int:
        act, Meddling.meanwhile = Meddling.meanwhile, None
        if act is not None:
            act()
        return hash((self.names, self.trust))


def test_a_hello_may_add_an_entry_while_the_next_generation_is_made():
    rule = Meddling(names=("api.test",), trust="plant")
    sets = {"plant": ("a" * 64, TrustSet(()))}
    before = Asks(Rules([rule]), sets, lambda bundle, _asking: bundle)
    for bundle in ("one", "two"):
        before.entry(bundle, rule)

    def wait(looks: int) -> None:
        """Say a hello for another bundle at the look-up after so many."""
        Meddling.meanwhile = lambda: wait(looks - 1) if looks else before.entry(f"hello {len(said)}", rule)

    said = []
    for looks in range(12):  # whichever look-up it is that the hello comes between
        wait(looks)
        after = Asks(Rules([rule]), sets, lambda bundle, _asking: bundle, before)
        said.append(Meddling.meanwhile is None)
        Meddling.meanwhile = None
        assert after.has("one", rule)
    assert any(said)
