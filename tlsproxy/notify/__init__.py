"""News for a command or a webhook of the device's maker: the hook helper, a process of its own.

    letters     what goes to the helper and comes back; which events are news; a URL without its secrets
    helper      the supervisor's side: starts the process, hands events on, hears what became of them
    process     the helper: a queue for each way, tried again until it is given up
    renewal     the helper executes itself anew, after a reload has brought new code
    packets     how either side takes what the other sent
    hook        runs the command;  webhook: posts to the URL

Theory. A hook is anybody's program: it must not stand inside our fence (it could do nothing of use there),
must not be able to hold up a supervisor, and must not have root's power. So it is started by a helper, which
is itself started before the fence is entered and becomes the proxy's user by itself. Only the supervisor's
event log (observe/events.py) knows what is news: the helper is handed each wanted event once, by number, and
the number goes along over a reload, so that nothing is handed on twice or forgotten. The helper lives on
over reloads, with what waits in it. What waits in it is lost when the proxy stops; what matters comes back:
a step of the expiry ladder is told again in its rhythm, and a rung that is still bad at the next start.
"""

from __future__ import annotations
