"""A configuration file, read whole: values if all is well, else every mistake with its key and line.

Promises: never stops at the first mistake (but for TOML that can't be parsed: a syntax error stands alone),
and opens nothing but the file itself. Paths in a file are relative to the folder of the file, so that it
means the same wherever the command is started.
"""

from __future__ import annotations

import ipaddress
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Literal, TypeVar, get_type_hints
from urllib.parse import urlsplit

from certstore import Source, normalise
from tlsproxy import paths
from tlsproxy.config.acme import read_acme
from tlsproxy.config.addresses import is_loopback, parse_listen, parse_upstream
from tlsproxy.config.clientauth import read_client_auth
from tlsproxy.config.consistency import Draft, advise, find_contradictions
from tlsproxy.config.health import read_breaker, read_health_check, read_max_connections
from tlsproxy.config.lines import find_lines
from tlsproxy.config.tables import Notes, Table
from tlsproxy.config.tls import read_tls
from tlsproxy.config.upstreamtls import read_upstream_tls
from tlsproxy.config.values import (
    ChecksConfig,
    Config,
    ControlConfig,
    ForwardedConfig,
    IdentityConfig,
    LimitsConfig,
    ListenerConfig,
    LogConfig,
    MetricsConfig,
    Network,
    News,
    NotifyConfig,
    RouteConfig,
    Seconds,
    WatchConfig,
    Workers,
)
from tlsproxy.errors import ConfigError, Mistake
from tlsproxy.policy_revocation import REVOCATION_S

T = TypeVar("T")

# A configuration is a few hundred lines; whoever names a log file or a device by mistake shall not wait.
MAX_FILE_BYTES = 1_048_576

_SYNTAX_PLACE = re.compile(r"\s*\(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)")

# What useradd(8) makes, what directories of companies have (dots, a domain's backslash or @), or a number.
_ACCOUNT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@\\-]{0,62}\$?")


@dataclass(frozen=True, slots=True)
class Reading:
    """What came of a file: `config` is None if and only if there are `mistakes`; `advice` refuses nothing.

    content: the file's bytes, where it could be read.
    """

    config: Config | None
    mistakes: tuple[Mistake, ...] = ()
    advice: tuple[Mistake, ...] = ()
    content: bytes = b""


def load(path: Path) -> Config:
    """Read the configuration at `path`.

    Raises:
        ConfigError: it can't be read, or something in it is wrong; carries all mistakes.

    """
    return load_content(path)[0]


def load_content(path: Path, content: bytes = b"") -> tuple[Config, bytes]:
    """Read the configuration at `path`, or take `content` for what stands there; gives both.

    Raises ConfigError as `load`.
    """
    reading = _read_content(path, content) if content else read_file(path)
    if reading.config is None:
        raise ConfigError(reading.mistakes, origin=str(path))
    return reading.config, reading.content


def read_file(path: Path) -> Reading:
    """Read the file at `path` and say all that is wrong with it."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        return Reading(None, (Mistake("", None, f"can't be read: {why}", _hint_to_read(path, error)),))
    return _read_content(path, content)


def _read_content(path: Path, content: bytes) -> Reading:
    if len(content) > MAX_FILE_BYTES:
        return Reading(None, (Mistake("", None, f"is larger than {MAX_FILE_BYTES} bytes"),))
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return Reading(None, (Mistake("", line, "is not UTF-8", "save the file in UTF-8, as TOML wants it"),))
    return replace(read(text, path.absolute().parent), content=content)


def _hint_to_read(path: Path, error: OSError) -> str:
    if isinstance(error, PermissionError):  # at a reload: root has read it at the start
        return f"let the proxy's user read it: chgrp tlsproxy {path}; chmod 640 {path}"
    return "name an existing file: --config FILE"


def read(text: str, folder: Path) -> Reading:
    """Read a TOML text whose paths are relative to `folder`, which is absolute."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return Reading(None, (_syntax_mistake(str(error), text),))
    except RecursionError:
        return Reading(None, (Mistake("", None, "is nested too deeply"),))
    notes = Notes(find_lines(text.replace("\r\n", "\n")))
    draft = _document(Table(raw, (), notes), folder)
    for path, why, hint in find_contradictions(draft, notes.concerns):
        notes.note(path, why, hint)
    if notes.mistakes:
        ordered = sorted(notes.mistakes, key=lambda mistake: mistake.line or 0)
        return Reading(None, tuple(ordered))
    advice = Notes(notes.lines)
    for path, why, hint in advise(draft):
        advice.note(path, why, hint)
    return Reading(draft.finished(), (), tuple(advice.mistakes))


def _document(top: Table, folder: Path) -> Draft:
    def path_of(text: str) -> Path:
        if not text or "\0" in text:
            raise ValueError(f"{text!r} is no path")
        return folder / text

    top.require("store")
    store = top.parsed("store", path_of, folder)
    draft = Draft(store=store, runtime=top.parsed("runtime", path_of, store / "run"))
    for table in top.tables("listener"):
        if (listener := _listener(table)) is not None:
            draft.listeners[table.path] = listener
    for table in top.tables("route"):
        if (route := _route(table, path_of)) is not None:
            draft.routes[table.path] = route
    for table in top.tables("watch"):
        if (watch := _watch(table, path_of)) is not None:
            draft.watches[table.path] = watch
    inbox = top.table("inbox")
    draft.inbox = inbox.parsed("path", path_of, store / "inbox")
    inbox.finish()
    draft.identity = _identity(top.table("identity"), path_of)
    draft.forwarded = _forwarded(top.table("forwarded"))
    draft.limits = _plain(top.table("limits"), LimitsConfig)
    draft.log = _plain(top.table("log"), LogConfig)
    draft.notify = _notify(top.table("notify"), path_of)
    draft.client_auth = {table.path: read_client_auth(table) for table in top.tables("client_auth")}
    draft.acme = read_acme(top.table("acme"), path_of, draft.identity.names)
    draft.tls = read_tls(top.table("tls"), path_of)
    draft.checks = _checks(top.table("checks"), path_of)
    if draft.checks.revocation and draft.tls.engine == "auto":  # the other one can't staple
        draft.tls = replace(draft.tls, engine="bundled")
    draft.workers = top.leaf("workers", Workers, "auto")
    draft.user, draft.group = (top.parsed(key, parse_account, "") for key in ("user", "group"))
    draft.control = _control(top.table("control"))
    draft.metrics = top.parsed("metrics_listen", parse_metrics_listen, None)
    top.finish()
    return draft


def _listener(table: Table) -> ListenerConfig | None:
    table.require("address")
    text = table.leaf("address", str, "")
    place = table.parsed("address", parse_listen, None)
    kind: Literal["tls", "http"] = table.leaf("kind", Literal["tls", "http"], "tls")
    table.finish()
    return None if place is None else ListenerConfig(text, *place, kind)


def _route(table: Table, path_of: Callable[[str], Path]) -> RouteConfig | None:
    table.require("upstream")
    path = table.parsed("path", parse_route_path, None if "path" in table else "/")
    upstream = table.parsed("upstream", parse_upstream, None)
    health = read_health_check(table), read_breaker(table), read_max_connections(table)
    tls = read_upstream_tls(table, upstream, path_of)
    table.finish()
    return None if path is None or upstream is None else RouteConfig(path, upstream, *health, tls)


def _watch(table: Table, path_of: Callable[[str], Path]) -> WatchConfig | None:
    table.require("path")
    path = table.parsed("path", path_of, None)
    slot: str = table.leaf("slot", Literal["customer", "acme"], "customer")
    table.finish()
    return None if path is None else WatchConfig(path, Source(slot))


def _identity(table: Table, path_of: Callable[[str], Path]) -> IdentityConfig:
    given = table.leaf("addresses", bool | list[str], True)
    identity = IdentityConfig(
        names=table.parsed_list("names", _name),
        addresses=given if isinstance(given, bool) else table.parsed_list("addresses", _address),
        serial=table.parsed("serial", _serial, ""),
        localhost=table.leaf("localhost", bool, False),
        device_ca=table.leaf("device_ca", bool, False),
        hardware_id_file=table.parsed("hardware_id_file", path_of, None),
    )
    table.finish()
    return identity


def _forwarded(table: Table) -> ForwardedConfig:
    forwarded = ForwardedConfig(
        trust=table.parsed_list("trust", _network), tell_bundle=table.leaf("tell_bundle", bool, False)
    )
    table.finish()
    return forwarded


def _plain(table: Table, kind: type[T]) -> T:
    """Read a table whose keys are the fields of a dataclass, each with its default."""
    kinds = get_type_hints(kind, include_extras=True)
    known = fields(kind)  # type: ignore[arg-type]  # a dataclass, which no type says
    found = {f.name: table.leaf(f.name, kinds[f.name], f.default) for f in known}
    table.finish()
    return kind(**found)


def _checks(table: Table, path_of: Callable[[str], Path]) -> ChecksConfig:
    checks = ChecksConfig(
        roots=table.parsed("roots", path_of, None),
        blocklists=table.parsed_list("blocklists", path_of),
        aia=table.leaf("aia", bool, False),
        aia_allow=table.parsed_list("aia_allow", _network),
        revocation=table.leaf("revocation", bool, False),
        revocation_s=table.leaf("revocation_s", Seconds, REVOCATION_S),
        revocation_allow=table.parsed_list("revocation_allow", _network),
    )
    table.finish()
    return checks


def _control(table: Table) -> ControlConfig:
    control = ControlConfig(
        users=table.parsed_list("users", _account),
        groups=table.parsed_list("groups", _account),
        mode=table.parsed("mode", _mode, 0o660),
    )
    table.finish()
    return control


def _notify(table: Table, path_of: Callable[[str], Path]) -> NotifyConfig:
    plain = NotifyConfig()
    notify = NotifyConfig(
        command=tuple(table.leaf("command", list[str], [])),
        webhook=table.parsed("webhook", parse_webhook, ""),
        webhook_ca=table.parsed("webhook_ca", path_of, None),
        events=tuple(table.leaf("events", list[News], plain.events)),
        try_s=table.leaf("try_s", Seconds, plain.try_s),
    )
    table.finish()
    return notify


def parse_webhook(text: str) -> str:
    """Read a webhook's URL: https, or http to this machine itself. What is wrong is told without the URL."""
    try:
        parts = urlsplit(text)
        scheme, host, _ = parts.scheme, parts.hostname, parts.port
    except ValueError:
        scheme, host = "", None
    if not host or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("this is no URL, as in https://collector.example/device")
    if scheme != "https" and not (scheme == "http" and is_loopback(host)):
        raise ValueError("news go out over https; http only to this machine itself (127.0.0.1)")
    return text


def parse_route_path(text: str) -> str:
    """Read a route's path: "/" or segments without a slash at the end, which would mean the same."""
    if not text.startswith("/"):
        raise ValueError(f"{text!r} must start with a slash")
    if not text.isascii() or not text.isprintable() or any(c in text for c in ' ?#%\\"<>'):
        raise ValueError(f"{text!r}: a route's path is plain text, without spaces, queries and escapes")
    segments = text.rstrip("/").split("/")[1:]
    if any(segment in {"", ".", ".."} for segment in segments):
        raise ValueError(f"{text!r} has empty or dot segments, which no admitted request has")
    path = "/" + "/".join(segments)
    if not paths.is_plain(path.encode()):
        raise ValueError(f"{text!r} can be read in two ways (;, or a segment that starts with a dot)")
    return path


def parse_metrics_listen(text: str) -> MetricsConfig:
    """Read the address where metrics are told: one of this machine's own, or any with `unsafe` behind it."""
    address, _, word = text.strip().partition(" ")
    if word.strip() not in {"", "unsafe"}:
        raise ValueError(f"{text!r} is no address and port, as in 127.0.0.1:9469")
    host, port = parse_listen(address)
    if not word and not is_loopback(host):
        raise ValueError(
            f"{text!r} can be reached from other machines, and metrics are told to everybody there:"
            f' write 127.0.0.1:{port}, or "{address} unsafe" where that is meant'
        )
    return MetricsConfig(address, host, port)


def _name(text: str) -> str:
    try:
        return normalise(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is no host name or address: {error}") from None


def _serial(text: str) -> str:
    if len(text) > 64 or not text.isprintable():  # RFC 5280 appendix A, ub-serial-number
        raise ValueError(f"{text[:80]!r}: a serial number has at most 64 printable characters")
    return text


def parse_account(text: str) -> str:
    """Read the name or number of a user or group."""
    if not text or not text.isprintable() or any(c in text for c in ":/ ") or _is_beyond(text):
        raise ValueError(f"{text!r} is no name or number of an account")
    return text


def _is_beyond(text: str) -> bool:
    """Whether it is a number that no system has: ids have 32 bits, and the last one means nobody."""
    return text.isdecimal() and not (text.isascii() and len(text) <= 10 and int(text) < 2**32 - 1)


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError(f"{text!r} is no IP address") from None


def _account(text: str) -> str:
    if not _ACCOUNT.fullmatch(text) or _is_beyond(text):
        raise ValueError(f"{text!r} is no name of a user or group, and no number")
    return text


def _mode(text: str) -> int:
    if not re.fullmatch(r"0?[0-7]{3}", text):
        raise ValueError(f'{text!r} is no mode of a file, as in "0660"')
    mode = int(text, 8)
    if mode & 0o600 != 0o600:
        raise ValueError(f"{text!r} keeps out the proxy's own user: it begins with 06")
    return mode


def _network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        pass
    try:
        meant = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{text!r} is no network, as in 10.0.0.0/8 or fd00::/8") from None
    raise ValueError(f"{text!r} has bits set beyond its length: write {meant}")


def _syntax_mistake(message: str, text: str) -> Mistake:
    place = _SYNTAX_PLACE.search(message)
    line = int(place["line"]) if place and place["line"] else text.rstrip("\n").count("\n") + 1
    words = _SYNTAX_PLACE.sub("", message)
    column = f" (column {place['column']})" if place and place["column"] else ""
    hint = 'text values stand in quotes: key = "value"' if "Invalid value" in message else ""
    return Mistake("", line, f"is no TOML: {words[:1].lower()}{words[1:]}{column}", hint)
