"""The control API on a UNIX socket: what a running proxy is asked by the command line, and by programs.

The way of a question, from the socket to the house:

    door          the socket's file
    server        accepts, and turns away:  peers (who is it, may it ask)  places (is there room)
    connection    HTTP/1.1 and WebSocket, within bounds of size and time
    application   what is asked, held against the table:  operations (what one is)  openapi (described)
                  standing  holdings  candidates  changes  factory  feed (the operations, with their answers)
    backing       what the rest of the house must answer
    values        candidates as JSON or as a form (multipart)   documents (answers as types)   problems
    client        the command line's side:  follower (of events)
    metrics_port  a TCP port for metrics alone, where one is wanted

Who may ask may do everything here; no private key leaves by it.
"""

from __future__ import annotations
