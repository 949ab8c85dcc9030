"""What was asked for, as values: the configuration after all checks.

Promises: everything here is frozen, complete and checked; paths are absolute; defaults come from policy.py.
Refuses to know: files, TOML and command lines (`reading`, `arguments`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from certstore import Source
from tlsproxy import policy, policy_acme, policy_health, policy_notices
from tlsproxy.config.addresses import UpstreamAddress
from tlsproxy.policy_clients import ClientAuth
from tlsproxy.policy_revocation import REVOCATION_S
from tlsproxy.policy_tls import TICKET_S, TLSPolicy

# A duration: a day is far beyond anything useful, and keeps `inf` out.
Seconds = Annotated[float, Meta(gt=0, le=86_400)]
Network = IPv4Network | IPv6Network
Engine = Literal["auto", "system", "bundled"]
News = Literal["expiry", "refused", "rung", "revoked"]
InARow = Annotated[int, Meta(ge=1, le=1_000)]
Workers = Annotated[int, Meta(ge=1, le=policy.WORKERS_MOST)] | Literal["auto"]


@dataclass(frozen=True, slots=True)
class ListenerConfig:
    """Where clients connect. `address` is the text as given; `host` "::" means all addresses, IPv4 too."""

    address: str
    host: str
    port: int
    kind: Literal["tls", "http"] = "tls"


@dataclass(frozen=True, slots=True)
class HealthCheckConfig:
    """A request that is made again and again to see whether an upstream is up; `status`: what passes.

    rise, fall: so many passes, or failures, in a row say that it is up, or down.
    """

    path: str
    interval_s: Annotated[float, Meta(ge=policy_health.CHECK_INTERVAL_LEAST_S, le=86_400)] = (
        policy_health.CHECK_INTERVAL_S
    )
    timeout_s: Seconds = policy_health.CHECK_TIMEOUT_S
    rise: InARow = policy_health.CHECK_RISE
    fall: InARow = policy_health.CHECK_FALL
    status: tuple[str, ...] = ("2xx",)


@dataclass(frozen=True, slots=True)
class BreakerConfig:
    """When an upstream is left alone because requests to it fail; `status`: answers that are failures."""

    failures: InARow = policy_health.BREAKER_FAILURES
    within_s: Seconds = policy_health.BREAKER_WITHIN_S
    down_s: Seconds = policy_health.BREAKER_DOWN_S
    status: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UpstreamTLSConfig:
    """On what an https upstream is believed, and what it is shown. Files are PEM.

    server_name: "" for the upstream's host. ca_file: None for the system's roots. verify: by a chain to
    those, with name and dates, or by a pin alone. pins: SHA-256 of SubjectPublicKeyInfo in hex, one of which
    must match where there are any. client_key: None where it stands in the certificate's file.
    """

    server_name: str = ""
    ca_file: Path | None = None
    verify: Literal["chain", "pin"] = "chain"
    pins: tuple[str, ...] = ()
    client_certificate: Path | None = None
    client_key: Path | None = None
    unsafe_no_verify: bool = False


@dataclass(frozen=True, slots=True)
class RouteConfig:
    """Requests to `path` or below it go to `upstream`; the route "/" takes what no other takes.

    health_check, breaker: None where it isn't asked whether the upstream is up. max_connections: to the
    upstream, of all routes to it; None for no limit. tls: of an https upstream; None elsewhere.
    """

    path: str
    upstream: UpstreamAddress
    health_check: HealthCheckConfig | None = None
    breaker: BreakerConfig | None = None
    max_connections: int | None = None
    tls: UpstreamTLSConfig | None = None


@dataclass(frozen=True, slots=True)
class WatchConfig:
    """Somebody else's directory, read but never changed; what is found in it is written as `slot`."""

    path: Path
    slot: Source = Source.CUSTOMER


@dataclass(frozen=True, slots=True)
class IdentityConfig:
    """What the device's own certificate says. Empty: found out from the system.

    `addresses`: True takes the stable addresses that the device has, False none, a tuple exactly these.
    `device_ca`: an authority of the device's own issues it.
    hardware_id_file: holds what tells this unit from others; None: what the firmware tells.
    """

    names: tuple[str, ...] = ()
    addresses: bool | tuple[str, ...] = True
    serial: str = ""
    localhost: bool = False
    device_ca: bool = False
    hardware_id_file: Path | None = None


@dataclass(frozen=True, slots=True)
class ForwardedConfig:
    """Whose X-Forwarded-* and Forwarded are believed, and whether the upstream is told about the bundle."""

    trust: tuple[Network, ...] = ()
    tell_bundle: bool = False


@dataclass(frozen=True, slots=True)
class LimitsConfig:
    """What one client, or all of them, may take. Sizes in bytes, durations in seconds."""

    connections: Annotated[int, Meta(ge=1, le=1_000_000)] = policy.CONNECTIONS
    connections_per_address: Annotated[int, Meta(ge=1, le=1_000_000)] = policy.CONNECTIONS_PER_ADDRESS
    handshakes: Annotated[int, Meta(ge=1, le=1_000_000)] = policy.HANDSHAKES
    requests_per_connection: Annotated[int, Meta(ge=1, le=2**31)] = policy.REQUESTS_PER_CONNECTION
    max_header_bytes: Annotated[int, Meta(ge=1024, le=1_048_576)] = policy.MAX_HEAD_BYTES
    max_body_bytes: Annotated[int, Meta(ge=0, le=2**62)] = policy.MAX_BODY_BYTES
    handshake_s: Seconds = policy.HANDSHAKE_S
    header_s: Seconds = policy.HEADER_S
    idle_s: Seconds = policy.IDLE_S
    body_s: Seconds = policy.BODY_S
    connect_s: Seconds = policy.UPSTREAM_CONNECT_S
    response_s: Seconds = policy.RESPONSE_S
    drain_s: Seconds = policy.DRAIN_S


@dataclass(frozen=True, slots=True)
class TLSConfig:
    """How TLS is made: by which engine, by which rules, and with tickets that hold for how long.

    key_log: where the secrets of all sessions are written.
    """

    engine: Engine = "auto"
    policy: TLSPolicy = field(default_factory=TLSPolicy)
    ticket_s: Seconds = TICKET_S
    key_log: Path | None = None


@dataclass(frozen=True, slots=True)
class ChecksConfig:
    """What certificates are compared with: known roots in one PEM file (None: the system's), block lists.

    aia: whether the certificate of a missing issuer is fetched from where the leaf says; aia_allow: networks
    that may be asked for it although they aren't public. revocation: whether authorities are asked if
    certificates of ours are revoked, every revocation_s seconds at least, and their answers are stapled;
    revocation_allow: networks that may be asked that, likewise.
    """

    roots: Path | None = None
    blocklists: tuple[Path, ...] = ()
    aia: bool = False
    aia_allow: tuple[Network, ...] = ()
    revocation: bool = False
    revocation_s: Seconds = REVOCATION_S
    revocation_allow: tuple[Network, ...] = ()


@dataclass(frozen=True, slots=True)
class ControlConfig:
    """Who may ask the control socket beside root and the proxy's own user, and the mode of its file.

    Users and groups are names or numbers, as text.
    """

    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    mode: int = 0o660


@dataclass(frozen=True, slots=True)
class LogConfig:
    """How the log is written, and what of exchanges stands in it.

    access_sample: the share that "sampled" logs; access_per_s: lines a second, at the most, of all workers.
    access_query: whether a request's query is logged too. mask_clients: only a client's network is. trace:
    whether W3C trace contexts are passed on, and made where there is none. client_subjects: whether whom a
    client's certificate names is logged.
    """

    format: Literal["auto", "console", "json"] = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"
    access: Literal["off", "sampled", "on"] = "off"
    access_sample: Annotated[float, Meta(gt=0, le=1)] = policy.ACCESS_SAMPLE
    access_per_s: Annotated[float, Meta(gt=0, le=1_000_000)] = policy.ACCESS_PER_S
    access_query: bool = False
    mask_clients: bool = False
    trace: bool = False
    client_subjects: bool = False


@dataclass(frozen=True, slots=True)
class MetricsConfig:
    """Where metrics are told beside the control socket; `address` is the text as given."""

    address: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class NotifyConfig:
    """Who is told of news beside the log: a command, a webhook, or both; and of which news.

    webhook_ca: a file with the authorities to trust instead of the system's. try_s: for one try.
    """

    command: tuple[str, ...] = ()
    webhook: str = field(default="", repr=False)  # it may hold a secret
    webhook_ca: Path | None = None
    events: tuple[News, ...] = ("expiry", "refused", "rung", "revoked")
    try_s: Seconds = policy_notices.TRY_S

    @property
    def is_on(self) -> bool:
        """Whether anybody is told of anything."""
        return bool((self.command or self.webhook) and self.events)


@dataclass(frozen=True, slots=True)
class EnrolmentConfig:
    """A certificate of an ACME authority that every device is to have; as `tlsproxy acme enable` takes it.

    Texts are "" where nothing is said. names: hosts, wildcards and addresses.
    """

    directory: str
    names: tuple[str, ...]
    challenge: str
    key_type: str
    beside: str = ""
    profile: str = ""
    preferred_chain: str = ""
    contacts: tuple[str, ...] = ()
    agree_tos: bool = False
    ca_file: Path | None = None
    eab_kid: str = ""
    eab_key_file: Path | None = None
    keep_key: bool = False
    pause_in_shadow: bool = False
    fallback_directory: str = ""
    fallback_ca_file: Path | None = None
    fallback_eab_kid: str = ""
    fallback_eab_key_file: Path | None = None
    proxy: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class AcmeConfig:
    """What the device's maker has set up for ACME (docs/acme.md).

    enrolment: None where a person is to say what is wanted. dns_hook: a command that sets and removes the
    records of dns-01, () for none; dns_hook_s: for one call.
    """

    enrolment: EnrolmentConfig | None = None

    dns_hook: tuple[str, ...] = ()
    dns_hook_s: Seconds = policy_acme.DNS_HOOK_S


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that was asked for, complete and checked. user, group: whom to be where root starts us."""

    store: Path
    runtime: Path
    listeners: tuple[ListenerConfig, ...]
    routes: tuple[RouteConfig, ...]
    inbox: Path
    watches: tuple[WatchConfig, ...] = ()
    identity: IdentityConfig = field(default_factory=IdentityConfig)
    forwarded: ForwardedConfig = field(default_factory=ForwardedConfig)
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    tls: TLSConfig = field(default_factory=TLSConfig)
    checks: ChecksConfig = field(default_factory=ChecksConfig)
    workers: Workers = "auto"
    user: str = ""
    group: str = ""
    control: ControlConfig = field(default_factory=ControlConfig)
    metrics: MetricsConfig | None = None
    log: LogConfig = field(default_factory=LogConfig)
    notify: NotifyConfig = field(default_factory=NotifyConfig)
    client_auth: tuple[ClientAuth, ...] = ()
    acme: AcmeConfig = field(default_factory=AcmeConfig)

    @property
    def control_socket(self) -> Path:
        """Where the control API listens while the proxy runs."""
        return self.runtime / "control.sock"
