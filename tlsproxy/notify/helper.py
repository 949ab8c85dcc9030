"""The helper as its supervisor holds it: started, handed events, listened to, and taken along by a reload.

Promises: each wanted event is handed on once, in order, over reloads too; a helper that doesn't read, hangs
or dies holds up nobody: what it can't take yet waits in the event log. What became of a letter is logged and
counted, and its loss told as a finding. Refuses to know what the helper does with it.

Theory. Packets (SOCK_SEQPACKET) and not a stream: a reload never leaves half a message. Between the sending
of a letter and the noting of its number no other task runs, so an exec finds both or neither. A helper that
is started where there was none before (`[notify]` came by a reload, or it died) begins inside our fence,
which nobody leaves: that is told, for its hooks can write only in our own folders until a restart. One in the
place of another goes on where that one was in the log: only what the dead one held itself is lost. So one
that is found again after a reload is kept, and told to execute itself anew (process.py): else it would run
the old version's code for ever. One of a version that doesn't know that word goes on as it is.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import msgspec
import trio

from certstore import Finding, found
from tlsproxy import policy_acme as acme_policy
from tlsproxy import policy_notices as policy
from tlsproxy.config.values import AcmeConfig, NotifyConfig
from tlsproxy.errors import ThreadError
from tlsproxy.notify import letters
from tlsproxy.notify.errands import Desk
from tlsproxy.notify.letters import Done, Letter, Renew, Report, Settings, Standing
from tlsproxy.notify.packets import receive
from tlsproxy.notify.renewal import MODULE
from tlsproxy.observe.events import Event, EventLog
from tlsproxy.observe.log import logger
from tlsproxy.privilege.account import Account
from tlsproxy.privilege.facts import Confined
from tlsproxy.threads import in_thread, in_thread_at_last

__all__ = ["Helper", "HelperState", "Notifier", "is_program"]

_log = logger("notify")
NO_ACME = AcmeConfig()


class HelperState(msgspec.Struct, frozen=True):
    """A helper as a reload takes it along.

    handed: the number of the last event that was looked at. landlock: the ABI of the fence around it.
    """

    pid: int
    fd: int
    handed: int
    landlock: int = 0


@dataclass(slots=True)
class Helper:
    """One helper process. Who makes it ends it."""

    pid: int
    sock: socket.socket
    handed: int = 0
    landlock: int = 0
    process: subprocess.Popen[bytes] | None = None
    confined: Confined | None = None
    """What it has given up; None where it hasn't told."""

    @classmethod
    def start(cls, settings: Settings) -> Helper:
        """Start the process, and tell it at once whom to be. Raises OSError."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs:
                fd = theirs.fileno()
                process = subprocess.Popen(  # noqa: S603  ourselves
                    [sys.executable, "-P", "-m", MODULE, f"channel={fd}"],
                    pass_fds=(fd,),
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,
                )
        except BaseException:
            ours.close()
            raise
        ours.setblocking(False)
        with suppress(OSError):  # it has ended already, which is noticed later
            ours.send(letters.encode(settings))
        return cls(process.pid, ours, process=process)

    @classmethod
    def found(cls, state: HelperState) -> Helper:
        """Take charge of the helper of the image before."""
        sock = socket.socket(fileno=state.fd)
        sock.setblocking(False)
        return cls(state.pid, sock, state.handed, state.landlock)

    @property
    def is_ours(self) -> bool:
        """Whether this image has started it."""
        return self.process is not None

    def state(self) -> HelperState:
        """Give what a reload takes along."""
        return HelperState(self.pid, self.sock.fileno(), self.handed, self.landlock)

    def end(self) -> int:
        """Have it end, by force if it takes too long; gives its exit code, negative for a signal."""
        self.sock.close()
        pidfd = -1
        with suppress(OSError):
            pidfd = os.pidfd_open(self.pid)
        try:
            if pidfd >= 0 and not _ends(pidfd, policy.HELPER_END_S + 1.0):
                os.kill(self.pid, signal.SIGKILL)
            return self._reap()
        finally:
            if pidfd >= 0:
                os.close(pidfd)

    def _reap(self) -> int:
        if self.process is not None:
            return self.process.wait()
        try:
            return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        except ChildProcessError:
            return 0


def _ends(pidfd: int, within_s: float) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(within_s * 1_000))


class Notifier:
    """Hands wanted events to a helper, and says what became of them. `run` until cancelled; then `close`."""

    def __init__(
        self,
        config: NotifyConfig,
        account: Account | None,
        before: HelperState | None,
        *,
        reloaded: bool,
        acme: AcmeConfig = NO_ACME,
    ) -> None:
        """Start the helper, or find it again; before the fence is entered.

        account: whom it shall be; None for who we are. reloaded: whether there was an image before us.
        """
        self._config, self._acme, self._reloaded = config, acme, reloaded
        self._desk = Desk()
        self._handed = None if reloaded else 0  # None: what has been before there were hooks is no news
        self.landlock = 0
        """The ABI of the fence that we are inside by now; 0 for none."""
        self.helper = Helper.found(before) if before is not None else None
        if self.helper is None and self._is_wanted:
            try:
                self.helper = Helper.start(self._settings(account))
            except OSError as error:  # hooks are no reason not to serve; `run` tries again
                _log.error("hook_helper_not_started", why=error.strerror or str(error))
        self._is_missed = self.helper is None  # told already
        self._come = trio.Event()
        self._changing = threading.Lock()  # held while a helper starts, or ends and is waited for
        self.on_report: Callable[[Report], None] = lambda _report: None
        self.on_finding: Callable[[Finding], None] = lambda _finding: None

    @property
    def _is_wanted(self) -> bool:
        return self._config.is_on or bool(self._acme.dns_hook)

    async def run_dns_hook(self, words: Sequence[str]) -> Done:
        """Call the command that sets DNS records, with these words; gives what came of it.

        Those that wait at a time are run one after the other, in their order. Cancelled, it runs on.
        """
        if (helper := self.helper) is None or not self._acme.dns_hook:
            return Done("", "the helper that runs it isn't there")
        errand = self._desk.take(words)
        try:
            helper.sock.send(letters.encode(errand))  # it reads errands at any time: there is room
        except OSError as error:
            self._desk.close(Done(errand.id, f"its helper takes nothing: {error.strerror}"))
        return await self._desk.wait(errand, self._acme.dns_hook_s + acme_policy.DNS_HOOK_QUEUE_S)

    def state(self) -> HelperState | None:
        """Give what a reload takes along."""
        return self.helper.state() if self.helper is not None else None

    @property
    def handed(self) -> int:
        """The number of the last event that was looked at, also while there is no helper; -1 for none yet."""
        handed = self.helper.handed if self.helper is not None else self._handed
        return -1 if handed is None or not self._is_wanted else handed

    def begin_after(self, number: int) -> None:
        """Go on behind an event that the image before has looked at; -1: it didn't look at any."""
        self._handed = number if number >= 0 else None

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        """Let none start or end while the block runs: an exec would forget it, and nobody wait for its end.

        Waits for what is under way; may be entered in one thread and left in another.
        """
        with self._changing:
            yield

    @property
    def confined(self) -> Confined | None:
        """What the helper has given up; None where there is none, or it hasn't told."""
        helper = self.helper
        if helper is None or helper.confined is None or not helper.landlock:
            return helper.confined if helper is not None else None
        return replace(helper.confined, landlock=helper.landlock, landlock_why="")

    def close(self) -> None:
        """Have the helper end, for good."""
        self._end()

    def _end(self) -> int:
        """Have it end; gives its exit code. Only then it is forgotten."""
        with self._changing:
            helper, self.helper = self.helper, None
            if helper is None:
                return 0
            self._handed = helper.handed
            return helper.end()

    async def run(self, events: EventLog) -> None:
        """Hand on what comes, until cancelled; return where nothing is wanted."""
        if not self._is_wanted:
            await in_thread_at_last(self.close)
            return
        self._look_at_command()
        if self.helper is not None and self.helper.is_ours and self._reloaded:
            self._begin(self.helper, events)
        while True:
            if self.helper is None:
                await self._start_again(events)
            if self.helper is not None:
                pid = self.helper.pid
                await self._serve(self.helper, events)
                self._desk.lose_all("the helper that runs it has ended")
                code = await in_thread_at_last(self._end)
                hint = "what waited in it is lost"
                _log.error("hook_helper_ended", pid=pid, exit_code=code, hint=hint)
            await trio.sleep(policy.HELPER_RETRY_S)

    async def _start_again(self, events: EventLog) -> None:
        """Start a helper where there is none; told once where it can't be."""
        try:
            await in_thread(partial(self._start, events))
        except (OSError, ThreadError) as error:
            if not self._is_missed:
                _log.error("hook_helper_not_started", why=str(error))
            self._is_missed = True
        else:
            self._is_missed = False

    def _start(self, events: EventLog) -> None:
        with self._changing:
            helper = Helper.start(self._settings(None))
            self._begin(helper, events)
            self.helper = helper

    def _look_at_command(self) -> None:
        """Tell today of a hook that could not be started in a year, when it matters."""
        for command in (self._config.command, self._acme.dns_hook):
            if command and not is_program(command[0]):
                hint = "there is no program that can be run there"
                _log.warning("hook_missing", command=command[0], hint=hint)

    def _begin(self, helper: Helper, events: EventLog) -> None:
        """Go on where the one before was, with a helper that was started late; else with what comes now."""
        helper.handed = events.newest if self._handed is None else self._handed
        helper.landlock = self.landlock
        if self.landlock:
            _log.warning(
                "hooks_fenced",
                why="their helper was started after the proxy had entered its fence",
                hint="hooks can write only in the proxy's own folders until the service is restarted",
            )

    async def _serve(self, helper: Helper, events: EventLog) -> None:
        """Be there for one helper, until it ends."""
        token = trio.lowlevel.current_trio_token()
        unsubscribe = events.subscribe(partial(self._wake_soon, token))
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._hear, helper, nursery.cancel_scope)
                if not helper.is_ours:  # the configuration may be another one, and the code
                    await self._send(helper, letters.encode(self._settings(None)))
                    await self._send(helper, letters.encode(Renew()))
                while True:
                    self._come = trio.Event()
                    await self._hand_on(helper, events)
                    await self._come.wait()
        finally:
            unsubscribe()

    def _wake_soon(self, token: trio.lowlevel.TrioToken) -> None:
        with suppress(trio.RunFinishedError):
            token.run_sync_soon(self._wake, idempotent=True)

    def _wake(self) -> None:
        self._come.set()

    async def _hand_on(self, helper: Helper, events: EventLog) -> None:
        while helper.handed < events.newest:
            after = events.after(helper.handed, 100)
            if after.lost:
                _log.warning(
                    "notices_lost", count=after.lost, why="the hook helper has read nothing for long"
                )
            for event in after.events:
                if self._config.is_on and letters.is_news(event, self._config.events):
                    await self._send(helper, letters.encode(_letter(event, events.stream)), event.number)
                helper.handed = event.number

    async def _send(self, helper: Helper, packet: bytes, number: int | None = None) -> None:
        """Send a packet and note its number, in one step; wait while the helper doesn't read."""
        if len(packet) >= policy.LETTER_BYTES:
            _log.warning("notice_too_long", number=number)
            return
        while True:
            try:
                helper.sock.send(packet)
            except BlockingIOError:
                await trio.lowlevel.wait_writable(helper.sock)
            except OSError as error:
                if error.errno not in {errno.ENOBUFS, errno.ENOMEM, errno.EMSGSIZE}:
                    await trio.sleep_forever()  # it is gone: who listens to it will notice
                _log.warning("notice_not_sent", number=number, why=error.strerror)  # unix(7): a shortage
                return
            else:
                helper.handed = helper.handed if number is None else number
                return

    async def _hear(self, helper: Helper, serving: trio.CancelScope) -> None:
        while packet := await receive(helper.sock):
            match letters.decode(packet):
                case Report() as report:
                    self._tell(report)
                case Done() as done:
                    self._desk.close(done)
                case Standing(confined=confined):
                    helper.confined = confined
        serving.cancel()

    def _settings(self, account: Account | None) -> Settings:
        config, acme = self._config, self._acme
        whom = (account.name, account.uid, account.gid, account.groups) if account is not None else None
        ca = str(config.webhook_ca) if config.webhook_ca is not None else ""
        to = (config.command, config.webhook, ca, config.try_s)
        return Settings(*to, acme.dns_hook, acme.dns_hook_s, whom)

    def _tell(self, report: Report) -> None:
        command, webhook = self._config.command, self._config.webhook
        to = (
            letters.shown(webhook) if report.way == "webhook" else command[0] if command else ""
        ) or report.way
        facts = {"told": report.kind, "way": report.way, "to": to, "tries": report.tries}
        said = {"output": report.output} if report.output else {}
        if report.result == "delivered":
            _log.info("notified", **facts, **said)
        else:
            _log.warning(f"notice_{report.result}", **facts, **said, why=report.why)
        self.on_report(report)
        if report.result in {"given_up", "dropped"}:
            self.on_finding(found("notice_lost", kind=report.kind, to=to, why=report.why))


def is_program(path: str) -> bool:
    """Say whether there is a file that we may run; a folder has the same permission for another thing."""
    return Path(path).is_file() and os.access(path, os.X_OK)


def _letter(event: Event, stream: str) -> Letter:
    return Letter(event.kind, msgspec.json.encode(event.to_json(stream)).decode())
