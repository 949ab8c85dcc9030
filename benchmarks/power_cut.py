"""Ten thousand devices after one power cut: what an ACME authority sees in each minute, as a picture.

    python -m benchmarks.power_cut docs/acme-power-cut.svg

Virtual time and a seed, so that each run draws the same. When a device asks is decided by the schedule that
devices run (certstore/issuers/acme/schedule.py); what one renewal costs is counted with the real client
(tests/tlsproxy/test_acme_herd.py holds both, and the picture).
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import log10
from pathlib import Path
from typing import Final

from benchmarks.chart import FAINT, INK, OURS, THEIRS, text
from certstore.issuers.acme.schedule import after_absence, due_at

__all__ = ["DEVICES", "ORDER_REQUESTS", "SUGGESTION_REQUESTS", "draw", "minutes"]

DEVICES: Final = 10_000
LIFE: Final = timedelta(hours=160)
CUT: Final = timedelta(days=3)
BACK: Final = datetime(2026, 11, 26, tzinfo=UTC)  # any: only differences count
BOOT_S: Final = (20.0, 90.0)
SHOWN_MIN: Final = 90
# Directory and suggestion; then a renewal of one name, in requests (a nonce among them) and seconds.
SUGGESTION_REQUESTS: Final = 2
ORDER_REQUESTS: Final = 10
ORDER_S: Final = 8.0

WIDTH, HEIGHT, LEFT, TOP = 720, 330, 64, 62
TICKS: Final = (1, 10, 100, 1_000, 10_000, 100_000)


@dataclass(frozen=True, slots=True)
class Device:
    """One of them, as it comes back: when, and the certificate that it has."""

    boots: datetime
    begin: datetime
    renew_at: datetime


def fleet(chance: random.Random) -> list[Device]:
    """Make them, as they are in a usual year: each at another point of its certificate's life."""
    made = list[Device]()
    for _ in range(DEVICES):
        boots = BACK + timedelta(seconds=chance.uniform(*BOOT_S))
        share = chance.random()  # before the cut it was at this point of the time until it is due
        whole = due_at(BACK, BACK + LIFE, chance.random()) - BACK
        begin = BACK - CUT - whole * share
        made.append(Device(boots, begin, begin + whole))
    return made


def asks_at(device: Device, chance: float) -> datetime:
    """Say when a device sends its first word: a suggestion is always overdue after such a cut."""
    left = device.begin + LIFE - device.boots
    return device.boots + after_absence(BACK - CUT, device.boots, left, chance)


def minutes(asked: Iterable[tuple[Device, datetime]]) -> list[int]:
    """Count the requests in each minute since the power came back."""
    counted = [0] * SHOWN_MIN

    def count(at: datetime) -> None:
        minute = int((at - BACK) / timedelta(minutes=1))
        if 0 <= minute < SHOWN_MIN:
            counted[minute] += 1

    for device, first in asked:
        for number in range(SUGGESTION_REQUESTS):
            count(first + timedelta(seconds=number * 0.2))
        renews = max(first, device.renew_at)
        for number in range(ORDER_REQUESTS):
            count(renews + timedelta(seconds=ORDER_S * number / ORDER_REQUESTS))
    return counted


def both(seed: int = 1) -> tuple[list[int], list[int]]:
    """Give what is seen of devices that ask at once, and of ours."""
    chance = random.Random(seed)
    devices = fleet(chance)
    at_once = minutes((device, device.boots) for device in devices)
    return at_once, minutes((device, asks_at(device, chance.random())) for device in devices)


# --- the picture: a scale by tens, since the two differ by so much


def _y(requests: float) -> float:
    return TOP + HEIGHT * (1 - log10(max(requests, 1)) / log10(TICKS[-1]))


def _x(minute: float) -> float:
    return LEFT + WIDTH * minute / SHOWN_MIN


def _steps(counted: Sequence[int], colour: str, width: float) -> str:
    path = f"M{_x(0):.1f} {_y(0):.1f}"
    for minute, requests in enumerate(counted):
        path += f"V{_y(requests):.1f}H{_x(minute + 1):.1f}"
    return f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>'


def draw(at_once: Sequence[int], ours: Sequence[int]) -> str:
    """Draw both; gives SVG."""
    whole, high = LEFT + WIDTH + 24, TOP + HEIGHT + 54
    font, middle = "system-ui, sans-serif", ' text-anchor="middle"'
    root = f'viewBox="0 0 {whole} {high}" font-family="{font}" font-size="13" fill="{INK}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {root}>',
        f'<rect width="{whole}" height="{high}" fill="#ffffff"/>',
        text(LEFT, 24, f"{DEVICES:,} devices after a power cut of three days", ' font-weight="600"'),
        text(LEFT, 44, "certificates of 160 hours; requests in each minute", f' fill="{FAINT}"'),
    ]
    for tick in TICKS:
        y = _y(tick)
        lines.append(f'<path d="M{LEFT} {y:.1f}H{LEFT + WIDTH}" stroke="#e5e7eb"/>')
        lines.append(text(LEFT - 8, y + 4, f"{tick:,}", f' text-anchor="end" fill="{FAINT}"'))
    under = TOP + HEIGHT + 20
    faint = f'{middle} fill="{FAINT}"'
    lines += [text(_x(minute), under, str(minute), faint) for minute in range(0, SHOWN_MIN + 1, 15)]
    lines.append(text(_x(SHOWN_MIN / 2), under + 22, "minutes since the power came back", middle))
    lines += [_steps(at_once, THEIRS, 3.0), _steps(ours, OURS[0], 2.0)]
    lines.append(
        text(_x(4), _y(max(at_once)) + 4, f"all at once: up to {max(at_once):,}", f' fill="{FAINT}"')
    )
    lines.append(text(_x(4), _y(max(ours)) - 12, f"tlsproxy: up to {max(ours):,}", f' fill="{OURS[0]}"'))
    return "\n".join((*lines, "</svg>", ""))


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(draw(*both()), "utf-8")
