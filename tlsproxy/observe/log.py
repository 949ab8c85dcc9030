"""Events to stderr: readable lines on a terminal, one JSON object a line elsewhere.

Promises: one event per change, with its facts as fields and a stable snake_case name; times in UTC.
structlog's only host: other rooms call `logger(room)`.

Theory: a log goes where its secrets must not. Keys could slip in by three ways, and each is closed here: as
a value (bytes and PEM keys are withheld by `_withhold`, at any depth), by the name of a field (`token`,
`key_pem`), and by local variables in tracebacks (structlog's pretty ones show them, by default where rich is
installed: so tracebacks are plain here, and structlog gets no rich, which would be 3 MB of the supervisor).

Whoever reads the log may leave (a container's collector, `| head`), and a disk may be full: a line that can't
be written is dropped, since a proxy that stops serving for want of a log helps nobody.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from typing import Any, Literal, TextIO, cast

from tlsproxy.observe.absence import absent

with absent("rich"):
    import structlog
from structlog.typing import FilteringBoundLogger, Processor

Format = Literal["auto", "console", "json"]

_SECRET_FIELDS = frozenset(
    {"key", "key_pem", "private_key", "token", "password", "passphrase", "secret", "eab"}
)
_DEEPEST = 6


def configure(style: Format = "auto", stream: TextIO | None = None, level: int = logging.INFO) -> None:
    """Send events to `stream` (default stderr) from now on; "auto" is the console style on a terminal."""
    out: TextIO = sys.stderr if stream is None else stream
    is_terminal = not out.closed and out.isatty()
    is_console = style == "console" or (style == "auto" and is_terminal)
    structlog.configure(
        processors=[*_shared(), *(_for_console(colours=is_terminal) if is_console else _for_programs())],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", _Outlet(out))),
        cache_logger_on_first_use=False,
    )


class _Outlet:
    """A stream as structlog writes to it, whose failures are nobody's business."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with suppress(OSError, ValueError):  # ValueError: it was closed
            self._stream.write(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()


def logger(room: str) -> FilteringBoundLogger:
    """Give the logger of a room of the house, such as "control"; every event says where it is from."""
    return structlog.get_logger(room=room)  # type: ignore[no-any-return]  # structlog types it as Any


def _shared() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _withhold,
    ]


def _for_console(*, colours: bool) -> list[Processor]:
    return [
        structlog.dev.ConsoleRenderer(
            colors=colours, pad_event_to=28, exception_formatter=structlog.dev.plain_traceback
        )
    ]


def _for_programs() -> list[Processor]:
    return [structlog.processors.JSONRenderer(default=str, ensure_ascii=True)]


def _withhold(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace what may be secret, wherever it lies in the event."""
    for name, value in event.items():
        event[name] = _safe(name, value, _DEEPEST)
    return event


def _safe(name: str, value: object, depth: int) -> object:
    shown: object = value
    if isinstance(value, (bytes, bytearray, memoryview)):
        shown = f"<{len(value)} bytes>"
    elif name in _SECRET_FIELDS or not depth:
        shown = "<withheld>"
    elif isinstance(value, Mapping):
        shown = {str(k): _safe(str(k), v, depth - 1) for k, v in value.items()}
    elif isinstance(value, (list, tuple, set, frozenset)):
        shown = [_safe("", v, depth - 1) for v in value]
    elif not isinstance(value, (bool, int, float)) and value is not None:
        shown = _safe_text(name, str(value))
    return shown


def _safe_text(name: str, text: str) -> str:
    if "PRIVATE KEY" in text:
        return "<withheld: a private key>"
    if text.isprintable() or name == "exception":
        return text
    # A stranger's text must not steer the terminal of whoever reads the log.
    return text.encode("unicode_escape").decode("ascii")
