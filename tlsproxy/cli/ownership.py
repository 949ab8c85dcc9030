"""Root at the command line: whatever it leaves on the disk belongs to the service, not to root.

Promises: before a command writes to a store it becomes the user whom the configuration names, else the
store's owner, else (where there is no store yet) the system user `tlsproxy` if there is one. Files of root's
would lock the proxy out of its own store. Whoever isn't root stays who he is.
"""

from __future__ import annotations

import os

from tlsproxy.cli.places import Whereabouts
from tlsproxy.privilege.account import named, owner_of, usual
from tlsproxy.privilege.folders import entrust, see_that_code_is_readable
from tlsproxy.privilege.supervisor import become

__all__ = ["become_owner"]


def become_owner(place: Whereabouts) -> None:
    """Become the service's user, for good, with a store of its own. Raises PrivilegeError.

    What else is to be read as root has been read before; for a process with one thread.
    """
    if os.geteuid() != 0:
        return
    account = named(place.user, place.group) if place.user else owner_of(place.store) or usual(place.store)
    if account is not None and account.uid != 0:
        see_that_code_is_readable(account)
        entrust(place.store, (), account)
        become(account)
