"""What the proxy was asked to do: from a file or a command line to checked, frozen values.

`reading.load` reads a file and `arguments.from_arguments` a command line; both raise one `ConfigError` with
every mistake in it. `reading.read_file` gives mistakes and advice as values, for `tlsproxy check`. They are
imported by their own names, for workers need the values only. docs/configuration.md has every key.

    values        the configuration itself           addresses     listen addresses and upstream URLs
    reading       files                              arguments     command lines
    tables        TOML leaf by leaf                  lines         on which line a key stands
    consistency   what no single key shows           health        how upstreams are checked
    upstreamtls   how https upstreams are believed   tls           how clients are served
"""

from __future__ import annotations

from tlsproxy.config.addresses import (
    UpstreamAddress,
    host_and_port,
    is_loopback,
    parse_listen,
    parse_upstream,
)
from tlsproxy.config.values import (
    BreakerConfig,
    ChecksConfig,
    Config,
    ControlConfig,
    ForwardedConfig,
    HealthCheckConfig,
    IdentityConfig,
    LimitsConfig,
    ListenerConfig,
    NotifyConfig,
    RouteConfig,
    TLSConfig,
    UpstreamTLSConfig,
    WatchConfig,
)

__all__ = [
    "BreakerConfig",
    "ChecksConfig",
    "Config",
    "ControlConfig",
    "ForwardedConfig",
    "HealthCheckConfig",
    "IdentityConfig",
    "LimitsConfig",
    "ListenerConfig",
    "NotifyConfig",
    "RouteConfig",
    "TLSConfig",
    "UpstreamAddress",
    "UpstreamTLSConfig",
    "WatchConfig",
    "host_and_port",
    "is_loopback",
    "parse_listen",
    "parse_upstream",
]
