"""Least power: what each of our processes gives up before strangers reach it, and who it is then.

    account      whom to be, where root started us          folders      what that user is given
    supervisor   root's last steps, then the fence          worker       the fence around the data plane
    facts        what is really on, asked of the kernel     code         where our own code lies
    landlock     files, TCP ports and signals               capabilities and libc: calls without a Python name

Promises: what this system lacks or forbids is passed over and told (`tlsproxy status`), never an error;
only a user that can't be become stops a start. Refuses to know sockets' meaning, workers and stores.
Standard library only: workers import it. The examiner has limits of its own beside these
(workers/confinement.py).

Theory. *Order*: what only root may do comes first (ports, folders, the bounding set), then the user, then
what anybody may do; each step is checked afterwards, since a drop that silently failed is worse than none.
*Threads*: Landlock, capabilities and no_new_privs belong to a thread and are inherited by those that it
starts, so all of this happens while there is only one. *Exec*: a reload executes the supervisor anew. User,
capabilities, no_new_privs and Landlock outlive that; "not dumpable" doesn't, and is set again. A Landlock
domain can never be widened, and a process can enter 16 of them at most: so the supervisor enters one, once,
and what it will ever write must be known then. It restricts writing only: a new interpreter, a new package
and a new configuration may lie anywhere, and have to be read.

No seccomp filter is made here: the kept binding (libseccomp's own) comes only with a distribution's Python,
and those on the package index are years old or younger than our need. A service manager makes a better one:
conf/tlsproxy.service has it, and `facts` tells whether it is there.
"""
