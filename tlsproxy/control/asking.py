"""How a question of the command line travels to the control socket, and what comes back as an error of ours.

Promises: a document that was read, or NotRunningError where nobody listens, what the proxy raised itself
where that can be told (a refusal with its findings), and ControlError for all else; never an error of httpx2.
Refuses to know which questions there are (client.py).
"""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx2
import msgspec

from certstore import Finding, RandomNotReady, Receipt, Refusal, Severity
from tlsproxy.control.values import problem_words
from tlsproxy.errors import AnswerError, ControlError, NotRunningError, ReloadError

__all__ = ["OTHER_VERSION", "Asking", "findings_in"]

T = TypeVar("T")
# A candidate's gate and activation take some 50 ms; on a slow board under load, or behind others in the
# queue, seconds. The pre-flight of a reload may take a minute.
_PATIENCE_S = 90.0
_CONNECT_S = 5.0


class Asking:
    """Asks the proxy whose control socket is at `path`. A context manager: closes its connection."""

    def __init__(self, path: Path, patience_s: float = _PATIENCE_S) -> None:
        """Take where the proxy listens, and how long an answer may take."""
        self._path = str(path)
        self._http = httpx2.Client(
            # nobody is trusted over TLS, since none is spoken; the usual authorities would take 70 ms to load
            transport=httpx2.HTTPTransport(uds=self._path, verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)),
            base_url="http://tlsproxy",
            timeout=httpx2.Timeout(patience_s, connect=_CONNECT_S),
            trust_env=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def _receipt(self, document: dict[str, object]) -> Receipt:
        return self._read(Receipt.from_json, document)

    def _each(self, key: str, read: Callable[[Mapping[str, object]], T], target: str) -> list[T]:
        found = self._ask("GET", target).get(key)
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise ControlError(self._path, f"its answer has no list of {key}", OTHER_VERSION)
        return [self._read(read, one) for one in found]

    def _read(self, read: Callable[[Mapping[str, object]], T], document: Mapping[str, object]) -> T:
        try:
            return read(document)
        except (ValueError, msgspec.ValidationError) as error:
            raise ControlError(self._path, f"its answer can't be read: {error}", OTHER_VERSION) from error

    def _change(self, method: str, target: str, body: object = None) -> dict[str, object]:
        """Ask for a change; gives the receipt's document, also where it was refused."""
        try:
            return self._ask(method, target, body)
        except _RefusedError as refused:
            return refused.receipt

    def _ask(self, method: str, target: str, body: object = None) -> dict[str, object]:
        return self._document(self._send(method, target, body))

    def _document(self, answer: httpx2.Response) -> dict[str, object]:
        try:
            document = answer.json()
        except ValueError as error:
            raise ControlError(self._path, "its answer is no JSON", OTHER_VERSION) from error
        if not isinstance(document, dict):
            raise ControlError(self._path, "its answer is no JSON object", OTHER_VERSION)
        return document

    def _send(
        self, method: str, target: str, body: object = None, told: tuple[int, ...] = ()
    ) -> httpx2.Response:
        """Ask; an error is raised, but for those whose status is to be told as it is."""
        self._knock()
        try:
            answer = self._http.request(method, target, json=body)
        except httpx2.TransportError as error:
            raise self._failure(error) from error
        if answer.is_error and answer.status_code not in told:
            document = self._document(answer)
            words, hint = problem_words(document), str(document.get("hint", ""))
            if isinstance(receipt := document.get("receipt"), dict):
                raise _RefusedError(self._path, words, hint, receipt)
            _raise_alike(document)
            if document.get("code") == ReloadError.code:
                raise ReloadError(words.removeprefix(ReloadError.words), hint)
            raise AnswerError(self._path, words, hint, str(document.get("code") or ControlError.code))
        return answer

    def _knock(self) -> None:
        """Connect once for a clear error: httpx2 hides it, and leaves the socket open (2.16, tried)."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
            door.settimeout(_CONNECT_S)
            try:
                door.connect(self._path)
            except OSError as error:
                raise self._failure(error) from error

    def _failure(self, error: Exception) -> ControlError:
        number = _errno(error)
        if number in {errno.ENOENT, errno.ECONNREFUSED, errno.ENOTDIR}:
            return NotRunningError(self._path)
        if number in {errno.EACCES, errno.EPERM}:
            return ControlError(
                self._path,
                "permission denied",
                "run this as root or the proxy's user (sudo -u tlsproxy ...), or have [control] name you",
            )
        if isinstance(error, httpx2.TimeoutException | TimeoutError):
            return ControlError(
                self._path, "no answer in time", "the proxy is busy or stuck: look at its log"
            )
        return ControlError(
            self._path, str(error).lower() or "the connection broke", "look at the proxy's log"
        )


class _RefusedError(AnswerError):
    """A change was refused, with a receipt."""

    def __init__(self, path: str, why: str, hint: str, receipt: dict[str, object]) -> None:
        super().__init__(path, why, hint, "candidate_refused")
        self.receipt = receipt


OTHER_VERSION = "is the running proxy of another version? restart it"


def _raise_alike(document: Mapping[str, object]) -> None:
    """Raise what the store itself would have raised: a refusal without a receipt, or that it is too early."""
    if document.get("code") == RandomNotReady.code:
        raise RandomNotReady
    found = document.get("findings")
    if isinstance(found, list):
        with suppress(ValueError):
            findings = findings_in(found)
            if any(finding.is_error for finding in findings):
                raise Refusal(*findings)


def findings_in(told: list[dict[str, Any]]) -> tuple[Finding, ...]:
    """Read findings as they are shown; ValueError for anything else."""
    try:
        return tuple(Finding(**{**one, "severity": Severity(one["severity"])}) for one in told)
    except (TypeError, KeyError) as error:
        raise ValueError("no findings") from error


def _errno(error: BaseException | None) -> int | None:
    """Find the system's error number in what httpx2 wrapped."""
    while error is not None:
        if isinstance(error, OSError) and error.errno is not None:
            return error.errno
        error = error.__cause__ or error.__context__
    return None
