"""What is said, for as long as it lasts, where the secrets of sessions are written (docs/tls-policy.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from certstore import Finding, Severity

__all__ = ["KEY_LOG_HINT", "key_log_finding"]

KEY_LOG_HINT: Final = "take unsafe_key_log out of the configuration, reload, and remove the file"


def key_log_finding(path: Path) -> Finding:
    """Say that whoever has this file can read what was recorded on the network."""
    words = f"the secrets of all sessions are written to {path}: unsafe_key_log is set"
    return Finding("key_log_written", Severity.WARNING, words, KEY_LOG_HINT)
