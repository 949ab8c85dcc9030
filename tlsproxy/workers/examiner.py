"""The examiner: has strangers' files looked into by a process that they may ruin, and believes it little.

Promises: whatever a candidate does to that process, `examine` ends within policy.EXAMINATION_S, with findings
or a Refusal; the next candidate finds a whole process. What comes back is rebuilt here: a bundle from plain
PEM (its id is ours to compute), findings only with codes and severities of the catalogue.
Refuses to know the store, and how a process is started and ended (prestarted.py).

Theory. A process that hostile files have taken over can lie: say that a bad certificate is good, or ask for
a key by its public hash. The first costs what a customer can do to himself anyway, and every worker tries a
bundle again before it is served. The second gives a key away to a process without network and write access
(confinement.py says how far that goes); it can't be had otherwise, for a certificate that comes alone has to
be tried with its key.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from types import TracebackType
from typing import Final, Self, TypeAlias

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certstore import (
    LARGEST_FILE,
    REASONS,
    Bundle,
    Candidate,
    Circumstances,
    Comparison,
    Content,
    Examination,
    Finding,
    Judgement,
    KnownKey,
    Material,
    PrivateKey,
    Refusal,
    Way,
    found,
    genuine,
    key_to_pem,
)
from tlsproxy import policy
from tlsproxy.policy_tls import TLSPolicy
from tlsproxy.privilege.facts import Confined
from tlsproxy.tls.engines import EngineName
from tlsproxy.workers import conversation as said
from tlsproxy.workers.prestarted import Prestarted

__all__ = ["ExaminerProcess"]

_LIMITS: Final = (policy.EXAMINATION_ASK_BYTES, policy.EXAMINATION_ANSWER_BYTES)
_ANSWERS: Final = msgspec.msgpack.Decoder(said.Answer)
_Told: TypeAlias = said.WantKey | said.Assembled | said.Judged | said.Contained | said.Brought | said.Weighed


class ExaminerProcess:
    """certstore's Examiner, in a process that is started ahead of need. Any thread may ask; one is heard.

    A context manager; outside of it every candidate is refused.
    """

    def __init__(
        self, tls: TLSPolicy, engine: EngineName = "auto", comparison: Comparison | None = None
    ) -> None:
        """Take how TLS is spoken to clients, as candidates are tried out; and what they are compared with."""
        self._tls, self._engine, self._comparison = tls, engine, comparison
        self._asking = threading.Lock()
        self._is_open = False
        self._process: Prestarted | None = None

    def __enter__(self) -> Self:
        with self._asking:
            self._is_open = True
            with suppress(OSError):  # the first candidate tries again, and is told
                self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._asking:
            self._is_open = False
            process, self._process = self._process, None
            if process is not None:
                process.end()

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        """End the process, and have none while the block runs: nobody would wait for it after an exec.

        Waits for the examination under way; may be entered in one thread and left in another.
        """
        with self._asking:
            process, self._process = self._process, None
            if process is not None:
                process.end()
            yield
            with suppress(OSError):  # the next candidate tries again, and is told
                self._start()

    @property
    def pid(self) -> int | None:
        """The process, for whoever watches over its memory; None while there is none."""
        process = self._process
        return None if process is None else process.process.pid

    @property
    def confined(self) -> Confined | None:
        """What its process has given up; None while nobody knows: it starts, or is being asked."""
        process = self._process
        if process is not None and self._asking.acquire(blocking=False):
            try:
                process.look()
            finally:
                self._asking.release()
        return None if process is None else process.confined

    @contextmanager
    def examine(self, candidate: Candidate | Bundle, known_key: KnownKey) -> Iterator[Examination]:
        """Have a candidate put together; see certstore.Examiner."""
        with self._asking, self._conversation() as asked:
            if isinstance(candidate, Bundle):
                asked.ask(said.Whole(candidate.key_pem(), candidate.chain_pem()))
                yield _Examination(candidate, (), asked)
            else:
                files = tuple(_file(name, content) for name, content in candidate.files)
                yield _examination(asked, said.Files(files, candidate.passphrases), known_key)

    def read(self, name: str, content: bytes) -> Content:
        """Have one file decoded; see certstore.Examiner."""
        try:
            with self._asking, self._conversation() as asked:
                told = asked.ask(said.File(*_file(name, content)))
                if isinstance(told, said.Contained):
                    return told.content
                raise asked.nonsense()
        except Refusal as refusal:
            return Content(errors=refusal.findings)

    def judge_answer(
        self, way: Way, answer: bytes, leaf: x509.Certificate, issuer: x509.Certificate, now: datetime
    ) -> Judgement | Finding:
        """Have an authority's answer judged; see certstore.judge_answer. Never raises for it."""
        shown = leaf.public_bytes(Encoding.DER), issuer.public_bytes(Encoding.DER)
        try:
            with self._asking, self._conversation() as asked:
                told = asked.ask(said.Reply(way, answer, *shown, now))
                with suppress(ValueError):
                    if isinstance(told, said.Weighed):
                        return _believable(told)
                raise asked.nonsense()
        except Refusal as refusal:
            return found("revocation_unreadable", way=way.words, why=refusal.findings[0].words)

    def read_material(self, files: Iterable[tuple[str, bytes]]) -> Material:
        """Have what is to be a trust set decoded; see certstore.Examiner."""
        named = tuple((said.name_to_bytes(name), content) for name, content in files)
        with self._asking, self._conversation() as asked:
            told = asked.ask(said.TrustFiles(named))
            with suppress(ValueError, x509.InvalidVersion):
                if isinstance(told, said.Brought):
                    return Material(
                        tuple(map(x509.load_der_x509_certificate, told.anchors)),
                        tuple(map(x509.load_der_x509_crl, told.crls)),
                        tuple(map(genuine, told.findings)),
                    )
            raise asked.nonsense()

    @contextmanager
    def _conversation(self) -> Iterator[_Asked]:
        """Begin a conversation with a process that is there. Raises Refusal."""
        try:
            sock = self._begin()
        except OSError as error:
            raise _failure(f"the examiner can't be started: {error.strerror or error}") from error
        with sock:
            deadline = time.monotonic() + policy.EXAMINATION_S
            yield _Asked(self, said.Talk(sock, _ANSWERS, _LIMITS, deadline))

    def _begin(self) -> socket.socket:
        """Hand one end of a new conversation over; one that was lost while idle is replaced."""
        if not self._is_open:
            raise BrokenPipeError(None, "it has been told to end")
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                try:
                    (self._process or self._start()).hand_over(theirs)
                except OSError:
                    self.replace()
                    (self._process or self._start()).hand_over(theirs)
            except BaseException:
                ours.close()
                raise
        return ours

    def _start(self) -> Prestarted:
        self._process = Prestarted(self._tls, self._engine, self._comparison)
        return self._process

    def replace(self) -> None:
        """Kill the process, with what it forked, and start another one ahead of need."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
        with suppress(OSError):  # the next candidate tries again, and is told
            self._start()

    def why_it_ended(self) -> str:
        """Say what ended the conversation under way, from whoever knows; a lost process is replaced."""
        assert self._process is not None
        status = self._process.status()
        if status is not None:
            return _ending(os.waitstatus_to_exitcode(status))
        code = self._process.end()
        self.replace()
        return _ending(code)


class _Asked:
    """A conversation as the store's side holds it: what goes wrong in it is a Refusal."""

    __slots__ = ("_examiner", "_talk")

    def __init__(self, examiner: ExaminerProcess, talk: said.Talk[said.Answer]) -> None:
        self._examiner, self._talk = examiner, talk

    def ask(self, question: said.Question) -> _Told:
        """Say `question` and give the answer; Refusal where that is one, and for whatever goes wrong."""
        try:
            self._talk.say(question)
            answer = self._talk.hear()
        except said.TooLongError:
            limit = policy.EXAMINATION_ASK_BYTES
            raise Refusal(found("file_too_large", file="all of it together", limit=limit)) from None
        except TimeoutError:
            self._examiner.replace()
            raise _failure(f"it took longer than {policy.EXAMINATION_S:.0f} s") from None
        except (OSError, EOFError):
            raise _failure(self._examiner.why_it_ended()) from None
        except said.NonsenseError:
            raise self.nonsense() from None
        match answer:
            case said.Failed(why):
                raise _failure(why)
            case said.Refused(findings):
                raise self._refusal(findings)
        return answer

    def _refusal(self, findings: tuple[Finding, ...]) -> Refusal:
        with suppress(ValueError):
            if any(finding.is_error for finding in map(genuine, findings)):
                return Refusal(*map(genuine, findings))
        return self.nonsense()

    def nonsense(self) -> Refusal:
        """Be rid of a process that can't be believed; gives what to raise."""
        self._examiner.replace()
        return _failure("the examiner's answer made no sense")


class _Examination:
    """certstore's Examination."""

    __slots__ = ("_asked", "bundle", "findings")

    def __init__(self, bundle: Bundle, findings: tuple[Finding, ...], asked: _Asked) -> None:
        self.bundle, self.findings, self._asked = bundle, findings, asked

    def judge(self, around: Circumstances) -> tuple[Finding, ...]:
        """Have the bundle checked and tried out."""
        told = self._asked.ask(said.Judge(around))
        with suppress(ValueError):
            if isinstance(told, said.Judged):
                return _harmless(told.findings)
        raise self._asked.nonsense()


def _examination(asked: _Asked, files: said.Files, known_key: KnownKey) -> _Examination:
    """Have files put together, lending the keys that are here; then rebuild what they make."""
    lent: dict[str, PrivateKey] = {}
    question: said.Question = files
    while isinstance(told := asked.ask(question), said.WantKey):
        key = known_key(told.spki)
        if key is not None:
            lent[told.spki] = key
        question = said.Lent(None if key is None else key_to_pem(key))
    if not isinstance(told, said.Assembled):
        raise asked.nonsense()
    try:
        key_pem = told.key_pem if told.lent is None else key_to_pem(lent[told.lent])
        return _Examination(Bundle.from_pem(key_pem, told.chain_pem), _harmless(told.findings), asked)
    except Exception as error:  # damaged bytes make X.509 parsers raise almost anything
        raise asked.nonsense() from error


def _harmless(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    if any(genuine(finding).is_error for finding in findings):
        raise ValueError("an error that refuses nothing")
    return findings


def _believable(told: said.Weighed) -> Judgement | Finding:
    """Give what can have been found; raises ValueError for anything else."""
    if told.finding is not None and told.judgement is None:
        return genuine(told.finding)
    judgement = told.judgement
    if judgement is None or told.finding is not None:
        raise ValueError("neither this nor that")
    dates = [judgement.begins, judgement.ends, *filter(None, [judgement.revoked_at])]
    if any(at.tzinfo is None for at in dates) or judgement.reason not in {"", *REASONS}:
        raise ValueError("nothing that an authority says")
    return judgement


def _failure(why: str) -> Refusal:
    return Refusal(found("examination_failed", why=why))


def _file(name: str, content: bytes) -> tuple[bytes, bytes]:
    """Give a file for a message: of one that is too large, no more than shows that."""
    return said.name_to_bytes(name), content[: LARGEST_FILE + 1]


def _ending(code: int) -> str:
    """Say how a process ended, by its exit code (negative for a signal)."""
    if code == said.OUT_OF_MEMORY:
        return f"it took more than {policy.EXAMINATION_MEMORY_BYTES >> 20} MiB of memory"
    if code == -signal.SIGXCPU:
        return f"it took more than {policy.EXAMINATION_S:.0f} s of computing"
    if code < 0:
        named = {number.value: number.name for number in signal.Signals}  # of realtime ones but the ends
        return f"it was ended by {named.get(-code, f'signal {-code}')}"
    return f"it ended early, with exit code {code}"
