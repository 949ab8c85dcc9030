"""Laws of the rules for clients: SPIFFE ids, patterns, and which rule a name has."""

from __future__ import annotations

from cryptography import x509
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from tlsproxy.policy_clients import ClientAuth
from tlsproxy.tls.clientidentity import _value
from tlsproxy.tls.clientrules import Rules, Shown, is_let_in, parse_pattern, spiffe_id

DOMAINS = st.text("abcz019.-_", min_size=1, max_size=12)
SEGMENTS = st.text("abcXYZ019._-", min_size=1, max_size=6).filter(lambda one: one not in {".", ".."})
PATHS = st.lists(SEGMENTS, max_size=4).map(lambda parts: "".join(f"/{part}" for part in parts))
LABELS = st.text("abc", min_size=1, max_size=4)
HOSTS = st.lists(LABELS, min_size=2, max_size=4).map(".".join)
PORTS = st.sampled_from([0, 443, 8443])


def shown(subject: x509.Name | None = None, dns: tuple[str, ...] = (), uris: tuple[str, ...] = ()) -> Shown:
    return Shown(subject or x509.Name([]), dns, (), uris, "a" * 64, "b" * 64)


@given(DOMAINS, PATHS)
def test_a_spiffe_id_is_read_back(domain, path):
    assert spiffe_id(f"spiffe://{domain}{path}") == (domain, path)


@given(st.text(max_size=40))
def test_what_is_no_spiffe_id_has_none(text):
    found = spiffe_id(text)
    assert found is None or f"spiffe://{found[0]}{found[1]}" == text


@given(DOMAINS, PATHS, PATHS)
def test_a_prefix_lets_in_what_lies_below_it_and_nothing_beside(domain, path, other):
    below = parse_pattern(f"spiffe://{domain}{path}/*")
    exact = parse_pattern(f"spiffe://{domain}{path or '/root'}")
    uri = f"spiffe://{domain}{other}"
    inside = other.split("/")[: len(path.split("/"))] == path.split("/") and other != path
    assert below(shown(uris=(uri,))) == inside
    assert exact(shown(uris=(uri,))) == ((path or "/root") == other)
    assert not below(shown(uris=(uri, "urn:x"))), "with two URIs there is no SPIFFE id"


@given(st.dictionaries(st.sampled_from(["cn", "o", "ou"]), st.text(min_size=1, max_size=20), min_size=1))
def test_a_subject_fits_its_own_pattern_and_no_other(parts):
    oids = {"cn": NameOID.COMMON_NAME, "o": NameOID.ORGANIZATION_NAME, "ou": NameOID.ORGANIZATIONAL_UNIT_NAME}
    name = x509.Name([x509.NameAttribute(oids[kind], value) for kind, value in parts.items()])
    assert parse_pattern(f"subject:{name.rfc4514_string()}")(shown(name))
    longer = x509.Name([*name, x509.NameAttribute(NameOID.COMMON_NAME, "another")])
    assert not parse_pattern(f"subject:{name.rfc4514_string()}")(shown(longer))
    for kind, value in parts.items():
        assert parse_pattern(f"{kind}:{value}")(shown(name))
        assert not parse_pattern(f"{kind}:{value}x")(shown(name))


@given(HOSTS)
def test_a_wildcard_is_one_label_and_a_wildcard_in_a_certificate_names_nobody(host):
    parent = host.partition(".")[2]
    if "." in parent:
        test = parse_pattern(f"dns:*.{parent}")
        assert is_let_in([test], shown(dns=(host,)))
        assert not test(shown(dns=(parent,)))
        assert not test(shown(dns=(f"x.{host}",)))
        assert not test(shown(dns=(f"*.{parent}",)))
    assert parse_pattern(f"dns:{host}")(shown(dns=(host.upper(),)))


@given(st.lists(st.tuples(HOSTS, PORTS, st.booleans()), max_size=6), HOSTS, PORTS)
def test_the_nearest_rule_counts(entries, host, port):
    made: dict[tuple[str, int], ClientAuth] = {}
    for name, on, wild in entries:
        pattern = f"*.{name.partition('.')[2]}" if wild else name
        made.setdefault(
            (pattern, on), ClientAuth("required", (pattern,), (on,) if on else (), depth=len(made))
        )
    everybody = ClientAuth("optional")
    rules = Rules([*made.values(), everybody])
    wildcard = f"*.{host.partition('.')[2]}"
    keys = [(host, port), (host, 0), (wildcard, port), (wildcard, 0)]
    expected = next((made[key] for key in keys if key in made), everybody)
    assert rules.choose(host, port) is expected
    assert rules.choose(None, port) is everybody


@given(st.text(max_size=60))
def test_a_told_value_can_end_no_line(text):
    value = _value(text.encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape"))
    assert all(0x20 <= byte < 0x7F for byte in value)
