"""The asking side of the control socket, for the command line: one method a question, synchronous.

Raises NotRunningError where nobody listens, ControlError for all else that goes wrong; never an error of
httpx2.
"""

from __future__ import annotations

import errno
import socket
import ssl
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx2

from certstore import Candidate, Receipt
from tlsproxy.control.values import candidate_to_json, problem_words
from tlsproxy.errors import ControlError, NotRunningError, ReloadError
from tlsproxy.observe.status import Status

# A candidate's gate and activation take some 50 ms; on a slow board under load, or behind others in the
# queue, seconds. The pre-flight of a reload may take a minute.
_PATIENCE_S = 90.0
_CONNECT_S = 5.0


class Client:
    """Asks the proxy whose control socket is at `path`. A context manager: closes its connection."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._http = httpx2.Client(
            # nobody is trusted over TLS, since none is spoken; the usual authorities would take 70 ms to load
            transport=httpx2.HTTPTransport(uds=self._path, verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)),
            base_url="http://tlsproxy",
            timeout=httpx2.Timeout(_PATIENCE_S, connect=_CONNECT_S),
            trust_env=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def status(self) -> Status:
        """Ask for the status."""
        document = self._ask("GET", "/v1/status")
        try:
            return Status.from_json(document)
        except ValueError as error:
            raise ControlError(self._path, f"its answer can't be read: {error}", _OTHER_VERSION) from error

    def propose(self, candidate: Candidate, via: str) -> Receipt:
        """Hand in a candidate; returns when its receipt is live or refused."""
        return self._receipt(self._ask("POST", "/v1/candidates", candidate_to_json(candidate, via)))

    def receipt(self, id: str) -> Receipt:  # noqa: A002  the name it has everywhere
        """Ask for one receipt."""
        return self._receipt(self._ask("GET", f"/v1/receipts/{id}"))

    def reload(self) -> int:
        """Ask for a reload; gives the epoch that will come, once the pre-flight has gone well."""
        epoch = self._ask("POST", "/v1/reload").get("epoch")
        if not isinstance(epoch, int):
            raise ControlError(self._path, "its answer can't be read", _OTHER_VERSION)
        return epoch

    def _receipt(self, document: dict[str, object]) -> Receipt:
        try:
            return Receipt.from_json(document)
        except ValueError as error:
            raise ControlError(self._path, f"its answer can't be read: {error}", _OTHER_VERSION) from error

    def _ask(self, method: str, target: str, body: object = None) -> dict[str, object]:
        self._knock()
        try:
            answer = self._http.request(method, target, json=body)
            document = answer.json()
        except httpx2.TransportError as error:
            raise self._failure(error) from error
        except ValueError as error:
            raise ControlError(self._path, "its answer is no JSON", _OTHER_VERSION) from error
        if not isinstance(document, dict):
            raise ControlError(self._path, "its answer is no JSON object", _OTHER_VERSION)
        if answer.is_error:
            words, hint = problem_words(document), str(document.get("hint", ""))
            if document.get("code") == ReloadError.code:
                raise ReloadError(words.removeprefix(ReloadError.words), hint)
            raise ControlError(self._path, words, hint)
        return document

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
                self._path, "permission denied", "run this as the proxy's user: sudo -u tlsproxy ..."
            )
        if isinstance(error, httpx2.TimeoutException | TimeoutError):
            return ControlError(
                self._path, "no answer in time", "the proxy is busy or stuck: look at its log"
            )
        return ControlError(
            self._path, str(error).lower() or "the connection broke", "look at the proxy's log"
        )


_OTHER_VERSION = "is the running proxy of another version? restart it"


def _errno(error: BaseException | None) -> int | None:
    """Find the system's error number in what httpx2 wrapped."""
    while error is not None:
        if isinstance(error, OSError) and error.errno is not None:
            return error.errno
        error = error.__cause__ or error.__context__
    return None
