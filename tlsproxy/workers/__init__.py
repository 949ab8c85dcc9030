"""The processes that serve, and how the supervisor has them.

In a worker's process: process (the channel joined to the data plane), worker (connections from accept to
close), serving (which certificates), site (routes, upstreams, limits), counting and observing (what it tells
of its clients). In the supervisor's: crew (all workers, kept complete and moved together), remote (one of
them), birth (a new one), publishing (certstore's view of them), testimony (what of their counts is believed).
Between the two: channel and messages. Pure: sharing (who accepts where), backoff, ration. For both: memory
(the last rung), spawn (a child of ours).

The examiner: examiner has a candidate examined by a process (prestarted) whose program is examination; each
examination is a fork of it, confined (confinement); conversation is what they say to each other.
"""
