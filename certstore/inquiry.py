"""Inquiries: whom to ask whether a certificate is revoked, with what, and what the answer is worth. Pure.

By OCSP where the certificate names a responder, else by a list where it names one, else nobody is asked.
Refuses to know how anybody is reached, and how often.
"""

from __future__ import annotations

from datetime import datetime

from cryptography import x509

from certstore.findings import Finding
from certstore.ocsp import LARGEST_OCSP, judge_ocsp, ocsp_question
from certstore.revocation import Judgement, Way, list_urls, responder_urls
from certstore.revocationlists import LARGEST_LIST, judge_list

__all__ = ["judge_answer", "largest_answer", "places_to_ask", "question_for"]


def places_to_ask(leaf: x509.Certificate) -> tuple[tuple[Way, str], ...]:
    """Give where to ask, in the certificate's order; () where it names nobody who can be asked over http."""
    responders = tuple((Way.OCSP, url) for url in responder_urls(leaf))
    return responders or tuple((Way.LIST, url) for url in list_urls(leaf))


def question_for(way: Way, leaf: x509.Certificate, issuer: x509.Certificate) -> bytes | None:
    """Give what is sent; None where the place itself is the question."""
    return ocsp_question(leaf, issuer) if way is Way.OCSP else None


def largest_answer(way: Way) -> int:
    """Give the most bytes that an answer may have."""
    return LARGEST_OCSP if way is Way.OCSP else LARGEST_LIST


def judge_answer(
    way: Way, answer: bytes, leaf: x509.Certificate, issuer: x509.Certificate, now: datetime
) -> Judgement | Finding:
    """Say what an answer says of `leaf`, which `issuer` has signed; else why it counts for nothing."""
    judge = judge_ocsp if way is Way.OCSP else judge_list
    return judge(answer, leaf, issuer, now)
