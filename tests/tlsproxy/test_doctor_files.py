"""The doctor at files: what an import would say, and what there is to see where it would say no."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from certstore import Candidate, Circumstances, Comparison, InProcess, Reference, Severity, found
from certstore.fingerprints import grouped
from tests.pki import Issued, Pki
from tests.storing import candidate_of
from tlsproxy.cli import main
from tlsproxy.doctor.diagnosis import Diagnosis
from tlsproxy.doctor.files import diagnose_files
from tlsproxy.errors import ExitCode
from tlsproxy.policy_tls import TLSPolicy
from tlsproxy.tls.gate import HandshakeGate


@pytest.fixture
def diagnose(now):
    def diagnose(candidate: Candidate, *unreadable, **more) -> Diagnosis:
        reference = Reference(None)
        examiner = InProcess(HandshakeGate(TLSPolicy()), reference)
        around = Circumstances(now, clock_plausible=True, **more)
        return diagnose_files(candidate, unreadable, examiner, reference, around)

    return diagnose


def codes(found_: Diagnosis) -> list[str]:
    return [finding.code for finding in found_.findings]


def text(found_: Diagnosis) -> str:
    return "\n".join(line for line, _ in found_.lines())


def test_good_files_would_be_accepted_and_are_drawn_from_the_root_down(diagnose, pki: Pki):
    issued = pki.leaf(("device.test", "10.0.0.7"))
    seen = diagnose(candidate_of(issued))
    assert (seen.is_well, seen.findings) == (True, ())
    drawn = text(seen)
    assert "names      10.0.0.7, device.test" in drawn
    tree = drawn[drawn.index("  chain") :].splitlines()
    assert tree[0].split()[:3] == ["chain", "Test", "Root"]
    assert tree[1].lstrip().startswith("└─ Test Intermediate")
    assert tree[2].lstrip().startswith("└─ 10.0.0.7")
    assert tree[-1].startswith("verdict: would be accepted")


def test_both_fingerprints_are_shown_as_people_compare_them(diagnose, pki: Pki):
    seen = diagnose(candidate_of(pki.leaf()))
    (leaf, *_) = seen.anatomy.links
    shown = [line.split(None, 1) for line, _ in seen.lines()]
    assert ["SHA-256", grouped(leaf.sha256)] in shown
    assert ["SPKI", grouped(leaf.spki)] in shown


def test_a_self_signed_certificate_has_nobody_above_it(diagnose, pki: Pki):
    seen = diagnose(candidate_of(pki.leaf(issuer=None)))
    assert seen.anatomy is not None
    assert (seen.anatomy.above, len(seen.anatomy.links)) == ("", 1)
    assert codes(seen) == ["self_signed"]


def test_all_that_is_wrong_is_told_with_what_it_is(diagnose, pki: Pki, now):
    issued = pki.leaf(ca=True, days=900)
    seen = diagnose(candidate_of(issued))
    assert codes(seen) == ["ca_as_leaf", "lifetime_too_long"]
    assert not seen.is_well
    assert seen.anatomy is not None
    assert "would be refused" in text(seen)


def test_a_certificate_without_its_key_is_judged_all_the_same(diagnose, pki: Pki):
    issued = pki.leaf(days=900)
    seen = diagnose(Candidate((("chain.pem", issued.chain_pem),)))
    assert codes(seen) == ["certificate_without_key", "lifetime_too_long"]
    assert seen.anatomy is not None
    assert [link.title for link in seen.anatomy.links] == ["device.test", "Test Intermediate"]


def test_a_key_of_another_certificate_leaves_the_certificate_to_look_at(diagnose, pki: Pki):
    one, other = pki.leaf(), pki.leaf(("other.test",))
    seen = diagnose(Candidate((("a.pem", one.chain_pem), ("b.key", other.key_pem))))
    assert codes(seen)[0] == "key_mismatch"
    assert seen.anatomy is not None
    assert seen.anatomy.names == ("device.test",)


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"", "file_empty"), (b"\x00nonsense" * 50, "unparsable"), (None, "key_without_certificate")],
)
def test_files_without_any_certificate_are_explained_alone(diagnose, pki: Pki, content, code):
    seen = diagnose(Candidate((("a.pem", pki.leaf().key_pem if content is None else content),)))
    assert codes(seen) == [code]
    assert seen.anatomy is None
    assert not seen.is_well


def test_names_that_it_should_cover_are_compared(diagnose, pki: Pki):
    candidate = candidate_of(pki.leaf(("device.test", "*.site.test")))
    assert codes(diagnose(candidate, reached_by=("a.site.test",))) == []
    assert codes(diagnose(candidate, reached_by=("a.site.test", "b.test"))) == ["names_not_covered"]
    assert codes(diagnose(candidate, reached_by=("b.test",))) == ["no_name_covered"]


def test_a_file_that_cant_be_read_is_told_beside_the_others(diagnose, pki: Pki):
    seen = diagnose(candidate_of(pki.leaf()), found("file_missing", file="x"))
    assert codes(seen) == ["file_missing"]
    assert not seen.is_well
    assert seen.anatomy is not None


def test_findings_come_worst_first_and_each_once():
    told = (found("self_signed"), found("must_staple"), found("ca_as_leaf"), found("self_signed"))
    lines = list(Diagnosis("x", "so it is", False, told).lines())
    assert [severity for _, severity in lines if severity] == [
        *(Severity.ERROR, Severity.WARNING, Severity.NOTE),
        Severity.ERROR,
    ]
    assert lines[-1][0] == "verdict: so it is (1 error, 1 warning, 1 note)"


def test_what_a_stranger_wrote_into_a_subject_does_not_reach_the_terminal(diagnose, pki: Pki):
    from cryptography import x509

    evil = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a\x1b[2J\nverdict: fine")])
    issued = pki.leaf((), tweak=lambda builder: builder_named(builder, evil))
    seen = diagnose(Candidate((("a.pem", issued.chain_pem),)))
    for line, _ in seen.lines():
        assert line.isprintable()


def builder_named(builder, name):
    """Give a builder its other subject, which it refuses to be given twice."""
    builder._subject_name = name
    return builder


class TestTheCommand:
    """By a real examiner process."""

    @pytest.fixture
    def issued(self, pki: Pki) -> Issued:
        return pki.leaf()

    def test_it_ends_with_0_for_good_files_and_explains_in_json(self, issued, tmp_path: Path, capsys):
        file, roots = tmp_path / "all.pem", tmp_path / "roots.pem"
        file.write_bytes(issued.key_pem + issued.chain_pem)
        config = config_with(tmp_path, roots)
        roots.write_bytes(Pki().root_pem)
        assert main(["doctor", str(file), "--json", "--config", str(config)]) == ExitCode.DONE
        document = json.loads(capsys.readouterr().out)
        assert document["ok"] is True
        assert document["certificate"]["names"] == ["device.test"]
        assert [one["code"] for one in document["findings"]] == ["names_not_covered", "unknown_root"]

    def test_it_ends_with_1_for_bad_ones_and_says_why(self, issued, tmp_path: Path, capsys):
        file = tmp_path / "chain.pem"
        file.write_bytes(issued.chain_pem)
        assert main(["doctor", str(file), "--against", "pump.test, 10.0.0.7"]) == ExitCode.FAILED
        out = capsys.readouterr().out
        assert "error: there is a certificate for device.test but not its private key" in out
        assert "[no_name_covered]" in out
        assert out.splitlines()[-1].startswith("verdict: would be refused")

    @pytest.mark.parametrize(
        "words",
        [
            ("https://device.test", "--passphrase-file", "x"),
            ("--passphrase-file", "x"),
            ("a.pem", "https://device.test"),
            ("https://device.test", "--against", "x"),
            ("a.pem", "--connect", "127.0.0.1"),
            ("https://a b",),
            ("a.pem", "--against", "a b"),
        ],
    )
    def test_what_does_not_go_together_is_misuse(self, words, capsys):
        assert main(["doctor", *words]) == ExitCode.MISUSE
        assert capsys.readouterr().err.startswith("tlsproxy: error: ")


def config_with(folder: Path, roots: Path) -> Path:
    path = folder / "tlsproxy.toml"
    path.write_text(
        f"""\
store = "store"
[[listener]]
address = "127.0.0.1:8443"
[[route]]
upstream = "http://127.0.0.1:9"
[identity]
names = ["device.test", "pump.test"]
[checks]
roots = "{roots}"
"""
    )
    return path


def test_the_names_and_lists_of_a_configuration_are_compared_with(tmp_path: Path):
    from tlsproxy.config.reading import load
    from tlsproxy.device import comparison

    config = load(config_with(tmp_path, tmp_path / "r.pem"))
    assert comparison(config) == Comparison(str(tmp_path / "r.pem"), (), ("device.test", "pump.test"))
