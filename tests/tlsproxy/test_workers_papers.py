"""Terms on their way to workers: each has the same, and none can change them."""

from __future__ import annotations

import os
from contextlib import closing

import pytest

from tlsproxy.terms import Terms
from tlsproxy.workers.papers import NO_PAPERS, Papers, read_terms

TERMS = {"https://127.0.0.1:9": Terms("127.0.0.1")}


def test_whoever_has_the_descriptor_reads_what_was_meant_and_none_has_any_without_terms() -> None:
    with closing(Papers(TERMS)) as papers:
        assert [read_terms(fd) for fd in papers.fds] == [TERMS]
    assert (NO_PAPERS.fds, read_terms(NO_PAPERS.fd)) == ([], {})


@pytest.mark.parametrize("path", ["", "/proc/self/fd/"])
def test_a_worker_that_somebody_has_taken_over_cannot_change_them_for_its_successor(path: str) -> None:
    """All share one file in memory, which says whom they trust upstream."""
    with closing(Papers(TERMS)) as papers:
        fd = os.open(f"{path}{papers.fd}", os.O_RDWR) if path else os.dup(papers.fd)
        try:
            with pytest.raises(PermissionError):
                os.pwrite(fd, b"{}", 0)
            with pytest.raises(PermissionError):
                os.ftruncate(fd, 0)
        finally:
            os.close(fd)
        assert read_terms(papers.fd) == TERMS
