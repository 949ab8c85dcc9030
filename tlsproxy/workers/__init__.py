"""The data plane: what accepts, serves and ends connections; and the table that it serves from.

`serving.py` prepares and commits generations; `worker.py` takes connections from accept to close.
`spawn.py` starts a child process of ours.
"""
