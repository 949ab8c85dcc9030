"""The access log: one line for each exchange, or for a share of them, written by the worker that made it.

Promises: an exchange that isn't logged costs a call; one that is costs some microseconds, and never waits for
the log's reader (outlet.py); lines are bounded in length and in number for each second, and how many were
left out is told. A client's address may be masked. Refuses to know fields and bodies: of a request a line
has method and path, of its query only with `access_query`, since queries hold tokens.

Lines have the fields of other events (`timestamp`, `level`, `room`, `event`), so that one reader takes both.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
import trio

from tlsproxy import policy
from tlsproxy.config.values import LogConfig
from tlsproxy.errors import ClientProtocolError
from tlsproxy.forward.site import ClientFacts, ExchangeRecord
from tlsproxy.observe.allowance import Allowance
from tlsproxy.observe.outlet import Manner, Outlet

__all__ = ["AccessLog", "masked"]


class AccessLog:
    """Writes for one worker. `run` carries what was noted; `clock` tells the time (POSIX, seconds)."""

    def __init__(self, config: LogConfig, outlet: Outlet, manner: Manner, clock: Callable[[], float]) -> None:
        self._config, self._outlet, self._manner, self._clock = config, outlet, manner, clock
        self._allowance = Allowance(config.access_per_s, max(1.0, config.access_per_s))
        self._share = config.access_sample if config.access == "sampled" else 1.0
        self._lines: list[bytes] = []
        self._denied = 0  # by the allowance, in all

    @property
    def left_out(self) -> int:
        """How many lines were not written, in all."""
        return self._denied + self._allowance.denied + self._outlet.dropped

    def flush(self) -> None:
        """Write what waits, as long as somebody reads; blocks the thread for `policy.LOG_FLUSH_S` at most."""
        self.hand_on()
        self._outlet.flush()

    async def run(self) -> None:
        """Hand on what was noted, a few times a second, until cancelled."""
        try:
            while True:
                await trio.sleep(policy.ACCESS_WRITE_S)
                self.hand_on()
        finally:
            self.hand_on()

    def hand_on(self) -> None:
        """Give what was noted to the outlet."""
        if denied := self._allowance.take_denied():
            self._denied += denied
            self._note("warning", "exchanges_not_logged", {"count": denied})
        if self._lines:
            lines, self._lines = self._lines, []
            self._outlet.write(lines)

    def exchange_done(self, record: ExchangeRecord) -> None:
        """Note an exchange, if it is one of those that are logged."""
        if not self._is_wanted():
            return
        target = record.target if self._config.access_query else record.target.partition(b"?")[0]
        facts: dict[str, object] = {
            "method": _text(record.method),
            "path": _text(target),
            "status": record.status,
            "bytes": record.body_bytes,
            "seconds": round(record.seconds, 6),
            "route": record.route,
            "upstream": record.upstream,
            **self._of_client(record.client),
        }
        if record.code:
            facts["code"] = record.code
        if record.trace:
            facts["trace"] = record.trace.decode("ascii")
        self._note("info", "exchange", facts)

    def request_refused(self, client: ClientFacts, error: ClientProtocolError) -> None:
        """Note a request that the gate refused; of what it asked for nothing is known for certain."""
        if self._is_wanted():
            facts = {"status": error.status, "code": error.code, **self._of_client(client)}
            self._note("info", "request_refused", facts)

    def _is_wanted(self) -> bool:
        if self._share < 1.0 and random.random() >= self._share:  # noqa: S311  a sample, no secret
            return False
        return self._allowance.take(trio.current_time())

    def _of_client(self, client: ClientFacts) -> dict[str, object]:
        shown = masked(client.peer) if self._config.mask_clients else client.peer
        known = client.gate.identity if client.gate is not None else None
        facts: dict[str, object] = {"client": shown, "bundle": client.fingerprint}
        facts["generation"] = client.generation
        if known is not None:
            facts["client_certificate"] = known.shown.certificate
            if self._config.client_subjects:
                facts["client_subject"] = known.subject[: policy.ACCESS_TEXT_BYTES]
        return facts

    def _note(self, level: str, event: str, facts: dict[str, object]) -> None:
        at = datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="microseconds")[:-6] + "Z"
        if self._manner.is_console:
            told = " ".join(f"{name}={value}" for name, value in facts.items())
            text = f"{at} [{level:8}] {event} {told}".encode()
        else:
            text = msgspec.json.encode(
                {"timestamp": at, "level": level, "room": "access", "event": event, **facts}
            )
        self._lines.append(b"%b%b\n" % (self._manner.begin(level).encode(), text))


def _text(data: bytes) -> str:
    """Write what the gate let in (visible ASCII) as text, so long that a line stays whole on a pipe."""
    text = data.decode("ascii", "replace")
    return text if len(text) <= policy.ACCESS_TEXT_BYTES else f"{text[: policy.ACCESS_TEXT_BYTES]}..."


def masked(address: str) -> str:
    """Give the network that an address (as the kernel tells it) is in: /24, for IPv6 /48; "" for none."""
    if ":" not in address:
        host_less, _, _ = address.rpartition(".")
        return f"{host_less}.0/24" if host_less else ""
    one = int(ipaddress.IPv6Address(address.partition("%")[0]))
    return f"{ipaddress.IPv6Address(one >> 80 << 80)}/48"
