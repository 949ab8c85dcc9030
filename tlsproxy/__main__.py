"""`python -m tlsproxy` is the `tlsproxy` command."""

from __future__ import annotations

import sys

from tlsproxy.cli import main

if __name__ == "__main__":
    sys.exit(main())
