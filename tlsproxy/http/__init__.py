"""HTTP/1 as values: heads, framing, bodies and replies, from bytes and to bytes.

- head.py      the request gate and its counterpart for responses; its rules, one subject each, are in
               grammar.py, target.py, fields.py, hops.py and framing.py
- headers.py   the heads that go on: to the upstream, to the client
- body.py      where a body ends: LENGTH, CHUNKED, UNTIL_CLOSE; and chunks to send
- replies.py   what the proxy answers itself
- websocket.py where a frame of a tunnel ends, and a Close frame

Promises: nothing here waits, opens or keeps anything; every error says whose fault it is.
"""
