"""What a slot had before: the line of its states that leads to the present one. Pure.

Theory. "Back" must mean what a person remembers. After A, B, C a step back leads to B, and the next to A: not
to C again, which was left on purpose. When D comes after the step back to B, then back from D is B, not the
later C. So a state to which a slot returned cuts off all that came after it, as an editor's undo does.
"""

from __future__ import annotations

from collections.abc import Iterable

from certstore.slots import Slot

__all__ = ["line_of"]


def line_of(records: Iterable[Slot | None]) -> list[Slot | None]:
    """Give the states that lead to the last of `records` (oldest first; None: there was no slot).

    The last of the line is the present state, the one before it is where a step back leads.
    """
    line: list[Slot | None] = []
    for record in records:
        if record is None:
            if line and line[-1] is not None:
                line.append(None)
            continue
        tenures = [slot.tenure if slot is not None else None for slot in line]
        if record.tenure in tenures:
            del line[tenures.index(record.tenure) + 1 :]
        else:
            line.append(record)
    return line
