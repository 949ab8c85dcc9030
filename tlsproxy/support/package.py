"""Files in one archive, made in memory: bounded in size, and without what may be secret.

Promises: whatever is put in goes through `masked_text` first; what is too long is cut, at its beginning or
end, and says so; what finds no room any more is left out.
"""

from __future__ import annotations

import io
import json
import tarfile
from datetime import datetime

from tlsproxy import policy
from tlsproxy.support.masking import masked_document, masked_text

__all__ = ["Package"]

_CUT = "... cut here: {} bytes in all ...\n"


class Package:
    """Collects files below one folder; `to_bytes` ends it."""

    def __init__(self, folder: str, at: datetime, most_bytes: int = policy.SUPPORT_BYTES) -> None:
        """Take the folder's name, the time that all files bear, and a bound for all of them together."""
        self.folder, self._at, self._room = folder, at, most_bytes
        self._files: dict[str, bytes] = {}

    def add(self, name: str, text: str, *, keep_end: bool = False) -> bool:
        """Put in a text; keep_end: where it is too long, its end counts more. False: there was no room."""
        return self._add(name, masked_text(text), keep_end=keep_end)

    def add_json(self, name: str, document: object) -> bool:
        """Put in what JSON can hold, for people too. False: there was no room."""
        return self._add(name, json.dumps(masked_document(document), indent=2) + "\n", keep_end=False)

    def _add(self, name: str, text: str, *, keep_end: bool) -> bool:
        data = text.encode("utf-8", "backslashreplace")
        if len(data) > policy.SUPPORT_FILE_BYTES:
            mark = _CUT.format(len(data)).encode()
            most = policy.SUPPORT_FILE_BYTES - len(mark)
            data = mark + data[-most:] if keep_end else data[:most] + mark
        if len(data) > self._room:
            return False
        self._room -= len(data)
        self._files[name] = data
        return True

    def to_bytes(self) -> bytes:
        """Give the archive: a gzipped tar, each file for its owner only."""
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w:gz") as archive:
            for name, data in self._files.items():
                entry = tarfile.TarInfo(f"{self.folder}/{name}")
                entry.size, entry.mode, entry.mtime = len(data), 0o600, int(self._at.timestamp())
                archive.addfile(entry, io.BytesIO(data))
        return out.getvalue()

    @property
    def names(self) -> list[str]:
        """Say which files are in it."""
        return list(self._files)
