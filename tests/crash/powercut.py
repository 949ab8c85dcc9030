"""A power cut, simulated: what was never synced is gone.

SIGKILL loses nothing that the kernel already has; a power cut does. `PowerCut` stands in a `Disk`'s seam
and keeps, beside the real files, a model of what is sure to be on the disk: a file's content as it was when
the file was last synced, a folder's entries as they were when the folder was last synced. Before each step
it writes that state down as a store of its own, the worst that POSIX allows: every rename, creation and
removal since the last sync is undone, every unsynced byte is missing. Real file systems persist some of it,
in any order across folders, so `loss` may also let a folder's entries, or not, as a coin falls.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

Entries = dict[str, int]  # name -> inode
Loss = Callable[[Path], bool]  # whether what was not synced in this folder is lost


class PowerCut:
    """The seam. Holds every file open that it ever saw, so that no inode number is used twice."""

    def __init__(self, root: Path, target: Path, loss: Loss = lambda _: True) -> None:
        self.root = root
        self.target = target
        self.loss = loss
        self.cuts: list[Path] = []
        self.steps: list[str] = []
        self._contents: dict[int, bytes] = {}
        self._entries: dict[int, Entries] = {}
        self._held: dict[int, int] = {}
        self._pending: tuple[str, Path] | None = None
        for path in [root, *root.rglob("*")]:  # whatever is there already is on the disk
            self._synced(path)

    def __call__(self, step: str, path: Path) -> None:
        self._settle()
        self.cut()
        self.steps.append(f"{step} {path.name}")
        self._pending = (step, path)

    def close(self) -> None:
        for descriptor in self._held.values():
            os.close(descriptor)

    def cut(self) -> Path:
        """Write down what a power cut now would leave; gives where."""
        self._settle()
        path = self.target / str(len(self.cuts) + 1)
        self._restore(self.root, self._inode(self.root), path)
        self.cuts.append(path)
        return path

    def _settle(self) -> None:
        """Take in what the last announced step has done, now that it is done."""
        if self._pending is not None:
            step, path = self._pending
            if step in ("sync", "sync_folder"):
                self._synced(path)
            elif step == "create":
                self._inode(path)
            self._pending = None

    def _synced(self, path: Path) -> None:
        inode = self._inode(path)
        if path.is_dir():
            self._entries[inode] = self._listing(path)
        else:
            self._contents[inode] = path.read_bytes()

    def _listing(self, folder: Path) -> Entries:
        return {path.name: self._inode(path) for path in folder.iterdir() if path.name != "lock"}

    def _inode(self, path: Path) -> int:
        inode = path.stat().st_ino
        if inode not in self._held:
            self._held[inode] = os.open(path, os.O_RDONLY)
        return inode

    def _restore(self, folder: Path, inode: int, to: Path) -> None:
        to.mkdir(mode=0o700)
        entries = self._entries.get(inode, {})
        if not self.loss(folder) and folder.is_dir():
            entries = self._listing(folder)
        for name, inner in entries.items():
            if stat.S_ISDIR(os.fstat(self._held[inner]).st_mode):
                self._restore(folder / name, inner, to / name)
            else:
                (to / name).write_bytes(self._contents.get(inner, b""))
