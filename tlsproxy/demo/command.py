"""The device and the proxy joined: what `tlsproxy demo` runs, from the first file to Ctrl-C.

The order: the proxy first, since a taken port or a held store must be told before anything else is touched;
then the device, whose socket is listening before its process is there, so no request ever finds it missing;
then the first screen, with what a real connection was served.

Theory. The device must not outlive the demo, however that ends, SIGKILL included. It reads its standard
input, a pipe that only we hold open: the kernel closes it with us. A Ctrl-C must end the proxy first and in
order, so the device is in a session of its own, where the terminal's signal doesn't reach it.
"""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import click
import trio

from certstore import Bundle, Receipt, State, StoreError, read_bundle
from tlsproxy import app
from tlsproxy.config import (
    Config,
    ForwardedConfig,
    IdentityConfig,
    host_and_port,
    is_loopback,
    parse_listen,
)
from tlsproxy.config.addresses import MAX_SOCKET_PATH_BYTES
from tlsproxy.config.arguments import from_arguments
from tlsproxy.demo.front import Front, Sighting, look
from tlsproxy.demo.narration import Scene, line, opening
from tlsproxy.demo.places import Places, here
from tlsproxy.errors import ExitCode, ListenError, ProxyError
from tlsproxy.observe import log
from tlsproxy.observe.status import ListenerStatus

# Long enough for an answer under way; the feeds that are open never end by themselves.
_DRAIN_S = 0.5
_DEVICE_END_S = 3.0
_DEVICE_BACKLOG = 128
_LONGEST_SOCKET = Path("store", "run", "control.sock")

Say = Callable[[str], None]


class DeviceError(ProxyError):
    """The sample device ended, or never answered."""

    code = "demo_device_failed"

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why

    def __str__(self) -> str:
        return f"the sample device {self.why}"

    @property
    def hint(self) -> str:
        """Say where to look."""
        return "what it said stands above"


@dataclass(frozen=True, slots=True)
class Stage:
    """Where the demo plays: the folder really used, the proxy's configuration, and what is to be remarked."""

    places: Places
    config: Config
    remarks: tuple[str, ...]


def show(listen: str, folder: Path) -> int:
    """Show the demo until Ctrl-C or SIGTERM. Raises ProxyError or StoreError where it can't start."""
    log.configure("console", level=logging.ERROR)  # the demo's own lines tell the rest
    with ExitStack() as temporary:
        stage = set_up(listen, folder, temporary)
        try:
            trio.run(partial(run, stage, say=click.echo))
        except* ListenError as group:
            raise _with_way_out(group, stage.places) from group
        click.echo(f"\nended; its state is kept in {folder}" if stage.places.folder == folder else "\nended")
    return ExitCode.DONE


def _with_way_out(group: BaseExceptionGroup[ListenError], places: Places) -> ListenError:
    """Give the error with a command for who only typed `make demo`."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, ListenError)
    if "listens there" not in error.why:
        return error
    again = f"{here()} demo --listen localhost:9443{places.option}"
    way_out = f"take another port: {again}; or see who has this one: ss -ltnp"
    return ListenError(error.address, error.why, way_out)


def set_up(listen: str, folder: Path, temporary: ExitStack) -> Stage:
    """Find a folder that works, and make the configuration. Raises ConfigError for what is no address."""
    places, remarks = _places(folder, temporary)
    addresses = _addresses(listen)
    config = from_arguments(addresses, [f"unix:{places.device_socket.absolute()}"], places.store)
    local = all(is_loopback(one.host) for one in config.listeners)
    config = replace(
        config,
        # Seen from this machine only: its loopback names, and nothing about the machine.
        identity=IdentityConfig(names=("localhost",) if local else (), addresses=not local, localhost=True),
        forwarded=ForwardedConfig(tell_bundle=True),
        limits=replace(config.limits, drain_s=_DRAIN_S),
        workers=1,
    )
    return Stage(places, config, remarks)


async def run(
    stage: Stage, *, say: Say, task_status: trio.TaskStatus[Scene] = trio.TASK_STATUS_IGNORED
) -> None:
    """Run proxy and device until a signal or cancellation; reports the first screen once it is said."""
    send, receipts = trio.open_memory_channel[Receipt](10_000)
    is_first = not stage.places.store.exists()

    async def run_proxy(*, task_status: trio.TaskStatus[tuple[ListenerStatus, ...]]) -> None:
        await app.run(stage.config, on_receipt=send.send_nowait, task_status=task_status)
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(run_proxy)
        front = _front(stage.config, listeners)
        command = stage.places.certificate_command(here())
        await nursery.start(_run_device, stage.places.device_socket, front, command)
        while receipts.statistics().current_buffer_used:
            receipts.receive_nowait()  # the first certificate's own: the first screen tells of it
        certificate = (await _first_look(front)).certificate
        url = f"https://{host_and_port('localhost' if is_loopback(front.host) else front.host, front.port)}"
        scene = Scene(url, certificate, is_first, stage.places.inbox, command, stage.remarks)
        say(opening(scene))
        nursery.start_soon(_narrate, receipts, stage.places.store, say)
        task_status.started(scene)


async def _narrate(receipts: trio.MemoryReceiveChannel[Receipt], store: Path, say: Say) -> None:
    async for receipt in receipts:
        bundle = await trio.to_thread.run_sync(_read, store, receipt)
        say(line(receipt, bundle))


def _read(store: Path, receipt: Receipt) -> Bundle | None:
    if receipt.bundle is None or receipt.state is State.REFUSED:
        return None
    try:
        return read_bundle(store, receipt.bundle)
    except StoreError:
        return None  # pruned already; the line does without


async def _first_look(front: Front) -> Sighting:
    try:
        return await look(front)
    except (OSError, ValueError) as error:
        raise DeviceError(f"can't be reached: {error}") from error


async def _run_device(
    path: Path, front: Front, tip: str, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Run the device's process; it ends with this task."""
    with _listening(path) as sock:
        process = await trio.lowlevel.open_process(
            [
                *(sys.executable, "-m", "tlsproxy.demo.device"),
                *("--bind", f"fd://{sock.fileno()}"),
                *("--front", host_and_port(front.host, front.port)),
                *("--tip", tip),
            ],
            stdin=subprocess.PIPE,
            pass_fds=[sock.fileno()],
            start_new_session=True,
        )
    task_status.started()
    try:
        code = await process.wait()
    finally:
        with trio.CancelScope(shield=True):
            await _end(process)
        _forget(path)
    raise DeviceError(f"ended with exit code {code}")


async def _end(process: trio.Process) -> None:
    if process.stdin is not None:
        await process.stdin.aclose()
    with trio.move_on_after(_DEVICE_END_S):
        await process.wait()
    if process.returncode is None:
        process.kill()
        await process.wait()


def _listening(path: Path) -> socket.socket:
    """Listen at `path`, over what an earlier demo left there: it is over, since the proxy holds the store."""
    _forget(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(str(path))
        sock.listen(_DEVICE_BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def _forget(path: Path) -> None:
    path.unlink(missing_ok=True)


def _places(folder: Path, temporary: ExitStack) -> tuple[Places, tuple[str, ...]]:
    """Make the folder; where that can't be, or its sockets' paths would be too long, take a temporary one."""
    why = ""
    if len(bytes((folder / _LONGEST_SOCKET).absolute())) > MAX_SOCKET_PATH_BYTES:
        why = "its path is too long for sockets"
    else:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            probe = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  closed in the next line
            probe.close()
        except OSError as error:
            why = (error.strerror or str(error)).lower()
    if not why:
        return Places(folder), ()
    other = temporary.enter_context(tempfile.TemporaryDirectory(prefix="tlsproxy-demo-"))
    return Places(Path(other)), (f"({folder} can't be used: {why}; all state is gone when this ends)",)


def _addresses(listen: str) -> list[str]:
    """Write `localhost` as its addresses, so that it works where no name does, and without IPv6 too."""
    host, _, port = listen.rpartition(":")
    if host != "localhost":
        return [listen]
    v4, v6 = f"127.0.0.1:{port}", f"[::1]:{port}"
    return [v4, v6] if port != "0" and _has_ipv6_loopback() else [v4]


def _has_ipv6_loopback() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


def _front(config: Config, listeners: tuple[ListenerStatus, ...]) -> Front:
    """Give an address of the proxy that a program on this machine reaches."""
    host, _ = parse_listen(config.listeners[0].address)
    if host == "::":
        host = "127.0.0.1"  # such a socket takes both families; where there is no IPv6, only this one
    return Front("127.0.0.1" if host == "0.0.0.0" else host, listeners[0].port)  # noqa: S104  it is only compared
