"""The examiner process: it holds no store, and looks into strangers' files in forks of itself.

Promises: each conversation gets a process of its own, confined, with nothing in it from those before; what
happens to that one happens to nobody else. Ends when its supervisor does, however that went.
Refuses to know slots, the disk and what becomes of an answer; imports no trio.

    supervisor --- control: one message a conversation, its socket ---> this process, warm, one thread
                 <- its confinement when it is warm, then how each fork ended ---  | fork
    supervisor --- the conversation (conversation.py) ---------------> an examination, confined

Theory. A fresh interpreter for each candidate costs 150 ms, most of it imports; a fork of a warm one costs
a millisecond, and the pages that it writes to. Forking is safe here, and only here, because this process
has one thread and touches no candidate: no lock can be held by a thread that doesn't exist in the fork,
OpenSSL reseeds its random generator in each (RAND_DRBG(7)), and no byte of one candidate is in the memory
that the next begins with. The conversation's socket is the fork's alone: should it die in the middle of an
answer, the supervisor reads an end instead of the answer's rest, and the next conversation has a new socket.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import PurePath
from typing import Final, TextIO, TypeAlias

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certstore import (
    BUILD_DATE,
    Bundle,
    Candidate,
    Circumstances,
    Finding,
    Identity,
    InProcess,
    PrivateKey,
    Reference,
    Refusal,
    judge_answer,
    key_from_pem,
)
from certstore.issuers import selfsigned
from tlsproxy import policy
from tlsproxy.privilege.worker import Needs, give_up_all_but
from tlsproxy.tls.gate import HandshakeGate
from tlsproxy.workers import conversation as said
from tlsproxy.workers.confinement import address_space, confine, give_memory_back, leave_network
from tlsproxy.workers.spawn import descriptors

__all__ = ["main"]

_LIMITS: Final = (policy.EXAMINATION_ANSWER_BYTES, policy.EXAMINATION_ASK_BYTES)
_QUESTIONS: Final = msgspec.msgpack.Decoder(said.Question)
_MANNER_BYTES: Final = 65_536
_Talk: TypeAlias = said.Talk[said.Question]


def main(arguments: Sequence[str]) -> None:
    """Serve conversations until the supervisor's end of `control` is closed."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):  # systemd sends them to the whole group
        signal.signal(number, signal.SIG_IGN)
    with socket.socket(fileno=descriptors(arguments)["control"]) as control:
        first = control.recv(_MANNER_BYTES)
        if not first:
            return
        manner = msgspec.msgpack.decode(first, type=said.Manner)
        reference = Reference(None) if manner.comparison is None else Reference.open(manner.comparison)
        examiner = InProcess(HandshakeGate(manner.policy, manner.engine), reference)
        uid, gid = os.geteuid(), os.getegid()
        leave_network()
        _warm_up(examiner)
        statm = open("/proc/self/statm", encoding="ascii")  # noqa: SIM115, PTH123  to the end: nothing can be opened later
        # in a user namespace of our own nobody has a number
        confined = replace(give_up_all_but(Needs()), uid=uid, gid=gid)
        with statm, suppress(ConnectionError):  # a supervisor that is gone may have left something unread
            control.send(msgspec.msgpack.encode(confined))
            while (conversation := _next(control)) is not None:
                status = _apart(examiner, control, conversation, statm)
                if status is None:
                    return
                control.send(said.STATUS.pack(status))


def _warm_up(examiner: InProcess) -> None:
    """Do once what each fork will do, so that what it imports and builds is there; then tidy up.

    The collector would write into every object that it visits, and so copy its page in each fork: what is
    here now is never looked at again, and a fork ends before it has made much garbage.
    """
    own = selfsigned.issue(
        Identity(names=("examiner.invalid",), serial="", common_name="examiner"),
        selfsigned.new_key(),
        BUILD_DATE,
    )
    candidate = Candidate((("key", own.key_pem()), ("chain", own.chain_pem())))
    examiner.read("chain", own.chain_pem())
    with examiner.examine(candidate, lambda _spki: None) as examination:
        examination.judge(Circumstances(BUILD_DATE, clock_plausible=True))
    del own, candidate, examination
    gc.collect()
    give_memory_back()
    gc.freeze()
    gc.disable()


def _next(control: socket.socket) -> socket.socket | None:
    """Wait for the next conversation; None at the end."""
    _, fds, _, _ = socket.recv_fds(control, 1, 1)
    return socket.socket(fileno=fds[0]) if fds else None


def _apart(
    examiner: InProcess, control: socket.socket, conversation: socket.socket, statm: TextIO
) -> int | None:
    """Hold a conversation in a fork, and say how that ended; None when the supervisor has ended before."""
    parent, size = os.getpid(), address_space(statm)
    alive, held = os.pipe()  # an end that reads as closed when the fork is gone
    pid = os.fork()
    if pid == 0:
        control.close()
        os.close(alive)
        _live_apart(partial(confine, parent, size), examiner, conversation)
    conversation.close()
    os.close(held)
    watched = select.poll()
    watched.register(alive, select.POLLHUP)
    watched.register(control, select.POLLHUP)
    ended = {fd for fd, _ in watched.poll(policy.EXAMINATION_PROMPT_S * 1000)}
    if not ended:
        with suppress(OSError):
            nice = os.getpriority(os.PRIO_PROCESS, 0) + policy.EXAMINATION_NICENESS
            os.setpriority(os.PRIO_PROCESS, pid, nice)
        ended = {fd for fd, _ in watched.poll()}
    os.close(alive)
    if control.fileno() in ended:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return None
    return os.waitpid(pid, 0)[1]


def _live_apart(confine: Callable[[], None], examiner: InProcess, sock: socket.socket) -> None:
    """Be a fork, to its end: nothing of it may return into the loop that forked it."""
    code = 1
    try:
        confine()
        talk = said.Talk(sock, _QUESTIONS, _LIMITS, deadline=None)
        try:
            _converse(talk, examiner)
        except MemoryError:
            raise
        except (EOFError, BrokenPipeError, ConnectionResetError):
            pass  # the supervisor wants no more
        except BaseException as error:  # noqa: BLE001  the border: what a stranger's file sets off, panics in Rust code too
            talk.say(said.Failed(_place_of(error)))
        code = 0
    except MemoryError:
        code = said.OUT_OF_MEMORY
    finally:
        os._exit(code)


def _converse(talk: _Talk, examiner: InProcess) -> None:
    """Answer the one question that a conversation is about."""
    match talk.hear():
        case said.File(name, content):
            talk.say(said.Contained(examiner.read(said.name_from_bytes(name), content)))
        case said.Files(files, passphrases):
            named = tuple((said.name_from_bytes(name), content) for name, content in files)
            _examine(talk, examiner, Candidate(named, passphrases))
        case said.Reply() as reply:
            talk.say(_weigh(reply))
        case said.TrustFiles(files):
            talk.say(_brought(examiner, files))
        case said.Whole(key_pem, chain_pem):
            _examine(talk, examiner, Bundle.from_pem(key_pem, chain_pem))
        case _:
            raise said.NonsenseError


def _weigh(reply: said.Reply) -> said.Weighed:
    leaf, issuer = (x509.load_der_x509_certificate(one) for one in (reply.leaf, reply.issuer))
    found = judge_answer(reply.way, reply.answer, leaf, issuer, reply.at)
    return said.Weighed(None, found) if isinstance(found, Finding) else said.Weighed(found, None)


def _brought(examiner: InProcess, files: tuple[tuple[bytes, bytes], ...]) -> said.Brought:
    held = examiner.read_material([(said.name_from_bytes(name), content) for name, content in files])
    anchors, crls = ([one.public_bytes(Encoding.DER) for one in ones] for ones in (held.anchors, held.crls))
    return said.Brought(tuple(anchors), tuple(crls), held.findings)


def _examine(talk: _Talk, examiner: InProcess, candidate: Candidate | Bundle) -> None:
    lent: set[str] = set()

    def known_key(spki: str) -> PrivateKey | None:
        talk.say(said.WantKey(spki))
        answer = talk.hear()
        if not isinstance(answer, said.Lent) or answer.key_pem is None:
            return None
        lent.add(spki)
        return key_from_pem(answer.key_pem)

    try:
        with examiner.examine(candidate, known_key) as examination:
            bundle, findings = examination.bundle, examination.findings
            is_lent = bundle.spki in lent or isinstance(candidate, Bundle)
            key_pem = b"" if is_lent else bundle.key_pem()
            spki = bundle.spki if is_lent else None
            talk.say(said.Assembled(key_pem, spki, bundle.chain_pem(), findings))
            judge = talk.hear()
            if not isinstance(judge, said.Judge):
                raise said.NonsenseError
            talk.say(said.Judged(examination.judge(judge.around)))
    except Refusal as refusal:
        talk.say(said.Refused(refusal.findings))


def _place_of(error: BaseException) -> str:
    """Name an error by its kind and the line that it came from; its words may hold what was in a file."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return type(error).__name__
    file = PurePath(trace.tb_frame.f_code.co_filename).name
    return f"{type(error).__name__} in {file}, line {trace.tb_lineno}"


if __name__ == "__main__":
    main(sys.argv[1:])
