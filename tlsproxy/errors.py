"""Every error that the proxy raises on purpose: facts in fields, whose fault in the type, words made last.

Promises: each error has a stable `code`, says whose fault it is, and its `str()` is one lower-case line;
`hint` says what to do; `exit_code` is what a command ends with. certstore's errors are its own
(`certstore.errors`). Refuses to know: how an error is shown (cli/), which page a client gets
(http/replies.py), how it is logged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import ClassVar, Final


class ExitCode(IntEnum):
    """What a command ends with."""

    DONE = 0
    FAILED = 1
    MISUSE = 2  # the command line or the configuration is wrong: click's own number for it
    AGAIN = 75  # the same again, later, may well succeed: EX_TEMPFAIL of sysexits.h
    INTERRUPTED = 130  # 128 + SIGINT, as shells count


class Fault(StrEnum):
    """Whose fault an error is: it decides between a 4xx, a 502 and a 500, and who is told."""

    CLIENT = "client"
    UPSTREAM = "upstream"
    OURS = "ours"


class ProxyError(Exception):
    """The root of all errors that tlsproxy raises on purpose; str() is one lower-case line."""

    code: str = "proxy_error"
    fault: ClassVar[Fault] = Fault.OURS
    exit_code: ClassVar[ExitCode] = ExitCode.FAILED

    @property
    def hint(self) -> str:
        """Say in one line what to do, or "" where there is nothing to say."""
        return ""


# --- configuration and command line


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that is wrong in a configuration; `line` counts from 1, None where no line can be named."""

    key: str
    line: int | None
    why: str
    hint: str = ""

    def __str__(self) -> str:
        place = f"line {self.line}: " if self.line is not None else ""
        return f"{place}{self.key}: {self.why}" if self.key else f"{place}{self.why}"


class ConfigError(ProxyError):
    """A configuration is wrong; carries *all* mistakes found, in the order of their lines, never none."""

    code = "config_invalid"
    exit_code = ExitCode.MISUSE

    def __init__(self, mistakes: Sequence[Mistake], origin: str = "the command line") -> None:
        super().__init__(tuple(mistakes), origin)
        self.mistakes = tuple(mistakes)
        self.origin = origin

    def __str__(self) -> str:
        first = f"{self.origin}: {self.mistakes[0]}"
        more = len(self.mistakes) - 1
        return first if not more else f"{first} (and {more} more)"

    @property
    def hint(self) -> str:
        """Give the first mistake's hint."""
        return self.mistakes[0].hint


class UsageError(ProxyError):
    """The words on a command line don't fit together."""

    code = "usage"
    exit_code = ExitCode.MISUSE

    def __init__(self, words: str, hint: str = "") -> None:
        super().__init__(words, hint)
        self.words = words
        self._hint = hint

    def __str__(self) -> str:
        return self.words

    @property
    def hint(self) -> str:
        """Say how it is meant."""
        return self._hint


# --- our own sockets and control


class ListenError(ProxyError):
    """A listening address can't be had; `why` is the system's reason, lower case."""

    code = "listen_failed"

    def __init__(self, address: str, why: str, hint: str = "") -> None:
        super().__init__(address, why, hint)
        self.address = address
        self.why = why
        self._hint = hint

    def __str__(self) -> str:
        return f"can't listen on {self.address}: {self.why}"

    @property
    def hint(self) -> str:
        """Say what usually helps."""
        return self._hint or "name another address, or see who has this one: ss -ltnp"


class ControlError(ProxyError):
    """The control socket can't be offered or asked; `why` is one lower-case phrase."""

    code = "control_failed"

    def __init__(self, path: str, why: str, hint: str = "") -> None:
        super().__init__(path, why, hint)
        self.path = path
        self.why = why
        self._hint = hint

    def __str__(self) -> str:
        return f"{self.why} (control socket {self.path})"

    @property
    def hint(self) -> str:
        """Say what usually helps."""
        return self._hint


class NotRunningError(ControlError):
    """Nobody answers at the control socket: no proxy runs here, as far as this user can see."""

    code = "not_running"

    def __init__(self, path: str, hint: str = "start it with: tlsproxy run --config FILE") -> None:
        super().__init__(path, "no proxy answers", hint)


class AnswerError(ControlError):
    """The running proxy was asked, and its answer is no: in its own words, and with its own code."""

    def __init__(self, path: str, why: str, hint: str, code: str) -> None:
        super().__init__(path, why, hint)
        self.code = code

    def __str__(self) -> str:
        return self.why


class PrivilegeError(ProxyError):
    """Root's power can't be given up as it should; nothing is served then. `why` is one lower-case phrase."""

    code = "privilege_failed"

    def __init__(self, why: str, hint: str = "") -> None:
        super().__init__(why, hint)
        self.why = why
        self._hint = hint

    def __str__(self) -> str:
        return self.why

    @property
    def hint(self) -> str:
        """Say what to do."""
        return self._hint


class ThreadError(ProxyError):
    """The system has no thread left for something; what wanted one can be asked for again."""

    code = "no_thread"

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why

    def __str__(self) -> str:
        return f"no thread is to be had: {self.why}"

    @property
    def hint(self) -> str:
        """Say what usually runs out."""
        return "try again; see its limits of processes and memory (TasksMax, ulimit -u)"


class WorkerError(ProxyError):
    """Workers can't start, or can't serve what they should; `exit_code_of_worker` where one died of it."""

    code = "worker_failed"

    def __init__(
        self, exit_code_of_worker: int | None, why: str = "the worker processes end at once"
    ) -> None:
        super().__init__(exit_code_of_worker, why)
        self.exit_code_of_worker = exit_code_of_worker
        self.why = why

    def __str__(self) -> str:
        code = self.exit_code_of_worker
        return self.why if code is None else f"{self.why} (exit code {code})"

    @property
    def hint(self) -> str:
        """Say where to look."""
        return "what they wrote to stderr says why"


class ReloadError(ProxyError):
    """A reload was refused: nothing has changed. `why` is one lower-case phrase."""

    code = "reload_refused"
    words = "the reload was refused: "

    def __init__(self, why: str, hint: str = "") -> None:
        super().__init__(why, hint)
        self.why = why
        self._hint = hint

    def __str__(self) -> str:
        return f"{self.words}{self.why}"

    @property
    def hint(self) -> str:
        """Say what to mend."""
        return self._hint or "what runs goes on as it was"


# --- the wire


class ClientProtocolError(ProxyError):
    """A client broke HTTP, or one of our limits; `status` is the answer it deserves (400, 413, 431, ...)."""

    fault = Fault.CLIENT

    def __init__(self, status: int, code: str, words: str) -> None:
        super().__init__(status, code, words)
        self.status = status
        self.code = code  # which rule was broken: each instance has its own
        self.words = words

    def __str__(self) -> str:
        return f"{self.words} ({self.status}, {self.code})"


class HandshakeError(ProxyError):
    """A TLS handshake failed; `reason` is a stable snake_case code, nearly always the client's doing.

    hello: the bytes that the client began with, as far as they held a whole hello; else b"".
    """

    code = "handshake_failed"
    fault = Fault.CLIENT

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hello = b""

    def __str__(self) -> str:
        return f"the TLS handshake failed: {self.reason}"


class UpstreamProtocolError(ProxyError):
    """An upstream answered with something that is not HTTP, or not with one meaning (a client sees 502)."""

    fault = Fault.UPSTREAM
    status: ClassVar[int] = 502

    def __init__(self, code: str, words: str) -> None:
        super().__init__(code, words)
        self.code = code  # which rule was broken: each instance has its own
        self.words = words

    def __str__(self) -> str:
        return f"{self.words} ({self.code})"


class UpstreamError(ProxyError):
    """An upstream can't be reached, went away or took too long.

    `phase` says when: "connect", "send", "head" or "body"; `reused` whether the connection came from the
    pool (it may only have been stale); `status` is what a client sees if no byte of a response was sent
    yet: 502, 503, 504. One that nobody answers for has the code `upstream_unreachable`.
    """

    code = "upstream_failed"
    fault = Fault.UPSTREAM
    detail = ""

    def __init__(self, upstream: str, phase: str, *, reused: bool = False, status: int = 502) -> None:
        super().__init__(upstream, phase, reused, status)
        self.upstream = upstream
        self.phase = phase
        self.reused = reused
        self.status = status
        if phase == "connect" and status == 502:  # the commonest: it isn't running
            self.code = "upstream_unreachable"

    def __str__(self) -> str:
        what = "took too long" if self.status == 504 else "failed"
        return f"upstream {self.upstream} {what} ({self.phase}{', pooled connection' if self.reused else ''})"

    @property
    def hint(self) -> str:
        """Say where to look."""
        return "is the service running, and does it listen where the configuration says?"


class UpstreamTLSError(UpstreamError):
    """No TLS connection to an upstream comes about; `kind` says in what it fails, `detail` in words.

    kind: tls (the handshake), untrusted, expired, name (the certificate), pin (its key), unready (a file of
    ours, see terms.py).
    """

    code = "upstream_tls_failed"

    def __init__(self, upstream: str, kind: str, detail: str) -> None:
        super().__init__(upstream, "tls")
        self.kind = kind
        self.detail = detail
        self.code = UPSTREAM_TLS_CODES[kind]

    def __str__(self) -> str:
        return f"upstream {self.upstream}: {self.detail}"

    @property
    def hint(self) -> str:
        """Say where to look."""
        return "see what the service shows (tlsproxy doctor https://HOST:PORT) and the route's table tls"


UPSTREAM_TLS_CODES: Final = {
    "tls": "upstream_tls_failed",
    "untrusted": "upstream_untrusted",
    "expired": "upstream_expired",
    "name": "upstream_name_mismatch",
    "pin": "upstream_pin_mismatch",
    "unready": "upstream_tls_unready",
}


class UpstreamDownError(UpstreamError):
    """An upstream is known to be down, so it wasn't asked; `retry_s`: whole seconds until that is of use."""

    code = "upstream_down"

    def __init__(self, upstream: str, retry_s: int) -> None:
        super().__init__(upstream, "connect", status=503)
        self.retry_s = retry_s

    def __str__(self) -> str:
        return f"upstream {self.upstream} is down: come again in {self.retry_s} s"


class UpstreamBusyError(UpstreamDownError):
    """As many ask an upstream as may, and none was ready in time."""

    code = "upstream_busy"

    def __str__(self) -> str:
        return f"upstream {self.upstream} is busy: come again in {self.retry_s} s"
