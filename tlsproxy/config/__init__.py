"""What the proxy was asked to do: from a file or a command line to checked, frozen values.

`load` reads a file and `from_arguments` a command line; both raise one `ConfigError` with every mistake in
it. `read_file` gives mistakes and advice as values, for `tlsproxy check`. docs/configuration.md has every
key.

    values        the configuration itself           addresses     listen addresses and upstream URLs
    reading       files                              arguments     command lines
    tables        TOML leaf by leaf                  lines         on which line a key stands
    consistency   what no single key shows
"""

from __future__ import annotations

from tlsproxy.config.addresses import (
    UpstreamAddress,
    host_and_port,
    is_loopback,
    parse_listen,
    parse_upstream,
)
from tlsproxy.config.arguments import from_arguments
from tlsproxy.config.reading import Reading, load, read, read_file
from tlsproxy.config.values import (
    Config,
    ControlConfig,
    ForwardedConfig,
    IdentityConfig,
    LimitsConfig,
    ListenerConfig,
    RouteConfig,
    TLSConfig,
    WatchConfig,
)

__all__ = [
    "Config",
    "ControlConfig",
    "ForwardedConfig",
    "IdentityConfig",
    "LimitsConfig",
    "ListenerConfig",
    "Reading",
    "RouteConfig",
    "TLSConfig",
    "UpstreamAddress",
    "WatchConfig",
    "from_arguments",
    "host_and_port",
    "is_loopback",
    "load",
    "parse_listen",
    "parse_upstream",
    "read",
    "read_file",
]
