"""Which certificates belong together: keys, leaves, and the ways up to a root."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from tests.vectors.intake.authority import Issued, Issuer, below, new_key, pem, root
from tests.vectors.intake.cases import Case, World


def cases(world: World) -> Iterator[Case]:
    yield from _pairs(world)
    yield from _ways(world)
    yield from _crossed(world)


def _case(name: str, files: dict[str, bytes], codes: list[str] | None = None) -> Case:
    return Case(f"chain-{name}", "python", files, codes or [])


def _pairs(world: World) -> Iterator[Case]:
    one, two, three = world.issue(), world.issue(name="second.test"), world.issue(name="third.test")
    every = one.chain_pem + pem(two.certificate, three.certificate) + three.key_pem + world.issue().key_pem
    codes = ["leaf_unused", "leaf_unused", "key_unused"]
    yield _case("one-pair-of-many", {"all.pem": every}, codes)
    yield _case("two-pairs", {"a.pem": one.all_pem, "b.pem": two.all_pem}, ["several_leaves"])
    yield _case("other-key", {"a.crt": one.chain_pem, "b.key": two.key_pem}, ["key_mismatch"])
    yield _case("only-key", {"a.key": one.key_pem}, ["key_without_certificate"])
    yield _case("only-certificate", {"a.crt": world.issue().chain_pem}, ["certificate_without_key"])
    yield _case("only-authorities", {"ca.pem": pem(one.intermediate, world.root.certificate)}, ["chain_only"])


def _ways(world: World) -> Iterator[Case]:
    one = world.issue()
    shuffled = pem(world.root.certificate, one.intermediate) + one.key_pem + pem(one.certificate)
    yield _case("shuffled-with-root", {"all.pem": shuffled})
    one = world.issue()
    yield _case("twice", {"a.pem": one.all_pem, "b.pem": one.chain_pem, "c.pem": one.all_pem})
    one = world.issue()
    yield _case("without-intermediate", {"a.pem": pem(one.certificate) + one.key_pem}, ["incomplete_chain"])
    one = world.issue()
    files = {"a.pem": pem(one.certificate) + one.key_pem, "ca.pem": pem(world.root.certificate)}
    yield _case("root-instead", files, ["incomplete_chain", "stranger_dropped"])
    one = world.issue()
    namesake = below(world.root, "Intake Intermediate")
    files = {"a.pem": pem(one.certificate) + one.key_pem, "ca.pem": pem(namesake.certificate)}
    yield _case("wrong-issuer", files, ["issuer_mismatch", "incomplete_chain", "stranger_dropped"])
    one, stranger = world.issue(), root("Another Root")
    yield _case("stranger", {"a.pem": one.all_pem + pem(stranger.certificate)}, ["stranger_dropped"])
    second = below(world.intermediate, "Third Level")
    leaf = _leaf(second)
    long = pem(world.intermediate.certificate) + leaf.all_pem
    yield _case("of-three", {"all.pem": long})
    one = world.issue()
    yield _case(
        "four-levels-one-missing",
        {"all.pem": leaf.all_pem.replace(pem(second.certificate), b"")},
        ["incomplete_chain"],
    )
    old = below(world.root, "Intake Intermediate", world.intermediate.key, datetime(2021, 1, 1, tzinfo=UTC))
    both = pem(old.certificate) + one.all_pem
    yield _case("old-and-new-intermediate", {"all.pem": both}, ["stranger_dropped"])


def _leaf(issuer: Issuer) -> Issued:
    key = new_key()
    return Issued(key, issuer.sign("device.test", key, names=("device.test",)), issuer.certificate)


def _crossed(world: World) -> Iterator[Case]:
    elder = root("Elder Root")
    crossed = below(elder, "Intake Root", world.root.key)
    one = world.issue()
    yield _case("cross-signed", {"all.pem": one.all_pem + pem(crossed.certificate)})
    one = world.issue()
    roots = pem(world.root.certificate, elder.certificate)
    yield _case(
        "cross-signed-with-roots",
        {"all.pem": roots + pem(crossed.certificate) + one.all_pem},
        ["stranger_dropped"],
    )
    middle = below(elder, "Elder Intermediate")
    detour = below(middle, "Intake Intermediate", world.intermediate.key)
    one = world.issue()
    ways = (
        pem(elder.certificate, middle.certificate, detour.certificate)
        + one.all_pem
        + pem(world.root.certificate)
    )
    yield _case("two-ways", {"all.pem": ways}, ["stranger_dropped"] * 3)
    ring = below(Issuer(detour.certificate, world.intermediate.key), "Elder Intermediate", middle.key)
    one = _leaf(Issuer(detour.certificate, world.intermediate.key))
    yield _case("ring", {"all.pem": one.all_pem + pem(ring.certificate)})
