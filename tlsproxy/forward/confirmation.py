"""A client that confirms a change over the very connection that the change serves, at a path of our own.

Promises: a word is read whole within its bound, judged, and neither kept nor told to anybody; whoever can't
be told yes is told to connect anew, since only a new connection can be served by the new certificate. Refuses
to know which words there are (the supervisor's business).

Theory. A person who can still reach the device by the new certificate is all the proof that is wanted, and
this path makes it one request: the client has checked the certificate before it sent the word. Were the word
taken over a connection of before the change, it would prove nothing; hence the bundle and the generation of
the connection are judged with it.
"""

from __future__ import annotations

from tlsproxy import policy_changes
from tlsproxy.errors import ClientProtocolError
from tlsproxy.forward.client import Client
from tlsproxy.forward.upload import RequestBody
from tlsproxy.http.framing import Kind
from tlsproxy.http.head import RequestHead
from tlsproxy.word import Judgement

__all__ = ["PATH", "judge", "receive_word"]

PATH = b"/.well-known/tlsproxy/confirm"


async def receive_word(client: Client, request: RequestHead) -> bytes:
    """Receive the body of a confirmation: the word. Raises ClientProtocolError for what can't be one."""
    framing = request.framing
    if framing.kind is Kind.CHUNKED:
        raise ClientProtocolError(411, "length_required", "the word comes with its length")
    if request.expect_continue:
        raise ClientProtocolError(417, "expectation_failed", "the word is sent without asking first")
    if framing.is_empty or framing.length > policy_changes.WORD_BYTES:
        raise ClientProtocolError(413, "word_too_long", "the body is the word that the import answered with")
    body = RequestBody(client, framing)
    return await body.receive_small(body.take_buffered())


async def judge(client: Client, word: bytes) -> None:
    """Return once the change is confirmed, on the disk too. Raises ClientProtocolError where it isn't."""
    assert client.site.confirm is not None
    judgement = await client.site.confirm(word.strip(), client.facts)
    if judgement is Judgement.CONFIRMED:
        return
    client.draining = True  # what it is served with stays as it is: only a new connection can fare better
    if judgement is Judgement.TOO_OFTEN:
        raise ClientProtocolError(429, "confirmed_too_often", "too many confirmations, try again in a while")
    if judgement is Judgement.FAILED:
        raise ClientProtocolError(503, "confirmation_failed", "it could not be confirmed now, try again")
    words = "nothing that this connection is served with waits for this word: connect anew, and try again"
    raise ClientProtocolError(409, "not_confirmed", words)
