"""Events to stderr: readable lines on a terminal, one JSON object a line elsewhere.

Promises: one event per change, with its facts as fields and a stable snake_case name; times in UTC.
structlog's only host: other rooms call `logger(room)`.

Theory: a log goes where its secrets must not. Keys could slip in by three ways, and each is closed here: as
a value (bytes and PEM keys are withheld by `_withhold`, at any depth), by the name of a field (`token`,
`key_pem`), and by local variables in tracebacks (structlog's pretty ones show them, by default where rich is
installed: so tracebacks are plain here, and structlog gets no rich, which would be 3 MB of the supervisor).

Whoever reads the log may leave (a container's collector, `| head`), be slow or stand still, and a disk may be
full: a line that can't be written is dropped and counted, and nobody ever waits for it (outlet.py), since a
proxy that stops serving for want of a log helps nobody.
"""

from __future__ import annotations

import atexit
import io
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, TextIO, cast

from tlsproxy.observe.absence import absent

with absent("rich"):
    import structlog
from structlog.typing import FilteringBoundLogger, Processor

from tlsproxy.observe.outlet import Format, Manner, Outlet, manner_of

__all__ = ["Format", "alone", "configure", "flush", "left_out", "logger"]

_SECRET_FIELDS = frozenset(
    {"key", "key_pem", "private_key", "token", "password", "passphrase", "secret", "eab"}
)
_DEEPEST = 6
# Written by structlog below an event, as they are: what is no text there would be an error of the logger's.
_BELOW = frozenset({"exception", "stack"})


_outlets: list[Outlet] = []  # at most one: that of stderr, made at the first need


def configure(style: Format = "auto", stream: TextIO | None = None, level: int | str = logging.INFO) -> None:
    """Send events to `stream` (default stderr) from now on; "auto" is the console style on a terminal.

    Only on stderr does nobody wait for the reader; another stream is written to at once.
    """
    out: TextIO = (sys.stderr or io.StringIO()) if stream is None else stream  # it may be closed: `2>&-`
    fd = _descriptor(out)
    manner = manner_of(style, fd)
    render = _for_console(colours=manner.colours) if manner.is_console else _for_programs()
    structlog.configure(
        processors=[*_shared(), *render, *([_Prioritised(manner)] if manner.priorities else [])],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=_factory(out, fd if stream is None else -1),
        cache_logger_on_first_use=False,
    )


def _factory(out: TextIO, fd: int) -> Callable[..., Any]:
    if fd < 0:
        return structlog.WriteLoggerFactory(cast("TextIO", _Direct(out)))
    carried = _Carried(_outlet_of(fd))
    return lambda *_names: carried


@contextmanager
def alone() -> Iterator[None]:
    """Begin no thread for the log while the block runs; what is told meanwhile is written after it."""
    with ExitStack() as stack:
        for outlet in _outlets:
            stack.enter_context(outlet.alone())
        yield


def flush() -> None:
    """Write what waits, before this process ends or is executed anew; blocks for a second at the most."""
    for outlet in _outlets:
        outlet.flush()


def left_out() -> int:
    """Say how many lines had to be dropped, since nobody read them."""
    return sum(outlet.dropped for outlet in _outlets)


def _descriptor(stream: TextIO) -> int:
    try:
        return stream.fileno()
    except (io.UnsupportedOperation, ValueError):  # a stream in memory, or a closed one
        return -1


def _outlet_of(fd: int) -> Outlet:
    if not _outlets:
        _outlets.append(Outlet(fd))
        atexit.register(flush)
    return _outlets[0]


class _Direct:
    """A stream as structlog writes to it, whose failures are nobody's business."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with suppress(OSError, ValueError):  # ValueError: it was closed
            self._stream.write(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()


class _Carried:
    """An outlet as structlog writes to it; tells how many lines were dropped, once there is room again.

    structlog's own WriteLogger holds a lock while it writes, in which nothing could be told.
    """

    def __init__(self, outlet: Outlet) -> None:
        self._outlet, self._told = outlet, outlet.dropped

    def msg(self, message: str) -> None:
        taken = self._outlet.write([message.encode("utf-8", "backslashreplace") + b"\n"])
        if taken and (untold := self._outlet.dropped - self._told):
            self._told += untold
            logger("log").warning("lines_dropped", count=untold)

    log = debug = info = warn = warning = error = critical = exception = msg


class _Prioritised:
    """Puts the priority that journald reads before a line; the last of the processors."""

    def __init__(self, manner: Manner) -> None:
        self._manner = manner

    def __call__(self, _logger: Any, method: str, line: Any) -> str:
        return f"{self._manner.begin(method)}{line}"


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
    return {_plain(name): _safe(name, value, _DEEPEST) for name, value in event.items()}


def _safe(name: str, value: object, depth: int) -> object:
    shown: object = value
    if isinstance(value, (bytes, bytearray, memoryview)):
        shown = f"<{len(value)} bytes>"
    elif name in _SECRET_FIELDS or not depth:
        shown = "<withheld>"
    elif isinstance(value, Mapping):
        shown = {_plain(str(k)): _safe(str(k), v, depth - 1) for k, v in value.items()}
    elif isinstance(value, (list, tuple, set, frozenset)):
        shown = [_safe("", v, depth - 1) for v in value]
    elif not isinstance(value, (bool, int, float)) and value is not None:
        shown = _safe_text(name, str(value))
    return str(shown) if name in _BELOW else shown


def _safe_text(name: str, text: str) -> str:
    if "PRIVATE KEY" in text:
        return "<withheld: a private key>"
    if name == "exception":  # its lines are ours, what an error says may be a stranger's
        return "\n".join(map(_plain, text.split("\n")))
    return _plain(text)


def _plain(text: str) -> str:
    """Give a text that doesn't steer the terminal of whoever reads the log."""
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")
