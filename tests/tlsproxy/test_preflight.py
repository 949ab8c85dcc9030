"""What a reload's pre-flight refuses, in words that say what to do."""

from __future__ import annotations

import pytest

from tlsproxy import handover, preflight
from tlsproxy.app import now
from tlsproxy.config.arguments import from_arguments
from tlsproxy.errors import ListenError, ReloadError
from tlsproxy.handover import DoorState, HandedOver
from tlsproxy.net.listeners import open_listeners


def listening_at(address: str) -> HandedOver:
    return handover.make(
        epoch=1,
        since=now(),
        store="",
        runtime="",
        doors=[DoorState(address, "tls", [])],
        lock_fd=-1,
        control_fd=-1,
        memory_fd=-1,
        workers=[],
    )


def test_an_address_that_overlaps_one_of_ours_is_not_told_as_another_programs(
    tmp_path,
) -> None:
    (group,) = open_listeners("127.0.0.1", 0)
    with group[0]:
        port = group[0].getsockname()[1]
        config = from_arguments([f"0.0.0.0:{port}"], ["http://127.0.0.1:9"], tmp_path)
        with pytest.raises(ReloadError, match="can't be opened beside") as caught:
            preflight._try_addresses(config, listening_at(f"127.0.0.1:{port}"))
        assert caught.value.hint == "restart the service"
        with pytest.raises(ListenError, match="another program"):
            preflight._try_addresses(config, listening_at("127.0.0.1:1"))
