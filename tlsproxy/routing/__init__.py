"""Which upstream a request goes to, by its path alone.

Promises: a pure function of path and table. Refuses to know: hosts, methods, upstreams beyond their names.
"""
