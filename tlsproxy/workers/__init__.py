"""The data plane: what accepts, serves and ends connections; and the examiner, who looks into files.

`serving.py` prepares and commits generations; `worker.py` takes connections from accept to close.
`spawn.py` starts a child process of ours.

`examiner.py` has a candidate examined by a process (`prestarted.py`) whose program is `examination.py`; each
examination is a fork of it, confined (`confinement.py`); `conversation.py` is what they say to each other.
"""
