"""The control API on a UNIX socket: what a running proxy is asked by the command line, and by programs.

    values       candidates and receipts as JSON, problem documents (RFC 9457)
    server       the application and its socket; `Controller` is what it needs of the rest of the house
    connections  who is served on it, each behind a border of its own
    metrics_port a TCP port for metrics, where one is wanted
    client       the command line's side

Who may open the socket may do everything here; that is decided by the file system (0660, in a folder of its
own).
"""

from __future__ import annotations
