"""A sample device behind the proxy, to look at: `tlsproxy demo`.

Promises: one process tree that needs nothing but this package, keeps all its state in one folder, and is
gone without a trace of a process when it ends. The device is a process of its own, as services behind the
proxy are; it uses nothing of the proxy but what any program can see: its port and the headers that it adds.

    command       the device and the proxy joined; what `tlsproxy demo` runs
    places        where the demo keeps what
    narration     what the terminal says: the proxy's log, as sentences
    certificate   makes another certificate and drops it into the inbox
    device        the sample device: its API and page, on Starlette and Hypercorn
    front         what a new connection to the proxy is served with, found by making one
    payload       the bodies that the device sends: numbered events, and noise that can be checked
    page/         the page itself: HTML, CSS and JavaScript, without anything from elsewhere
"""

from __future__ import annotations

from pathlib import Path


def main(listen: str, folder: Path) -> int:
    """Show the demo at `listen` (`host:port`), its state in `folder`, until Ctrl-C; give the exit code."""
    from tlsproxy.demo.command import show

    return show(listen, folder)


def drop_certificate(folder: Path, key_type: str) -> None:
    """Make another certificate ("ec" or "rsa") and drop it into the inbox of the demo in `folder`."""
    from tlsproxy.demo.certificate import drop

    drop(folder, key_type)
