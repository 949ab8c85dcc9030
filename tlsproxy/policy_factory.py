"""The limits of the factory's commands, each with its reason; what holds for all is in policy.py."""

from __future__ import annotations

from typing import Final

__all__ = ["LABEL_URL_MOST", "RANDOM_WAIT_S"]

# A board gathers randomness from its first interrupts on; one that hasn't after a minute has no source of it.
RANDOM_WAIT_S: Final = 60.0

# With the key's hash behind it a code of some 70 modules, a third of a millimetre each on the label: the
# least that telephones read.
LABEL_URL_MOST: Final = 200
