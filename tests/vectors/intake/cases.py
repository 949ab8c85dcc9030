"""A case of the corpus: files as a customer would hand them in, and what has to be found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tests.vectors.intake.authority import Issued, Tools, below, new_key, root

__all__ = ["Case", "Maker", "World"]


@dataclass
class Case:
    """`codes` are those of decode and assembly, whatever their severity; none: it is just taken.

    `by` names the program that made what the case is about; `python` is `cryptography` or a few lines here.
    """

    name: str
    by: str
    files: dict[str, bytes]
    codes: list[str] = field(default_factory=list)
    passphrase: str | None = None


class World:
    """The authority, and the tools."""

    def __init__(self) -> None:
        self.tools = Tools()
        self.root = root("Intake Root")
        self.intermediate = below(self.root, "Intake Intermediate")

    def issue(self, key: object = None, name: str = "device.test") -> Issued:
        own = key or new_key()
        return Issued(
            own,  # type: ignore[arg-type]
            self.intermediate.sign(name, own, names=(name,)),  # type: ignore[arg-type]
            self.intermediate.certificate,
        )


Maker = Callable[[World], Iterator[Case]]
