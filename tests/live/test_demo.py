"""`tlsproxy demo` from outside: what a newcomer sees, and what is left when it ends."""

from __future__ import annotations

import hashlib
import os
import select
import signal
import ssl
import subprocess
from pathlib import Path

import pytest
import trio

from tests.live.demo_process import PROGRAM, START_S, running_demo
from tests.live.https_client import Client

pytestmark = pytest.mark.slow


def has_ended(process: int) -> bool:
    """Wait until a process that isn't our child has ended (`process` is a pidfd of it)."""
    try:
        return bool(select.select([process], [], [], START_S)[0])
    finally:
        os.close(process)


def test_the_first_screen_says_what_a_browser_will_show(tmp_path):
    with running_demo(tmp_path / "demo") as demo:
        text = "\n".join(demo.said)
        der = ssl.PEM_cert_to_DER_cert(demo.certificate_pem())
        shown = hashlib.sha256(der).digest().hex(" ", 2).upper()
        assert shown[:39] in text
        assert shown[40:] in text
        assert str(demo.inbox) in text
        assert "demo --dir" in text
        assert f"https://localhost:{demo.port}" in text


def test_a_certificate_dropped_by_the_line_to_paste_is_live_and_told(tmp_path):
    with running_demo(tmp_path / "demo") as demo:
        own = demo.certificate_pem()
        demo.certificate()
        second = demo.certificate_pem()
        demo.certificate("--key", "rsa")
        third = demo.certificate_pem()
        assert len({own, second, third}) == 3
        demo.wait_said(r"^live +generation 3 +customer \(inbox\) +RSA +SHA-256")
        assert (demo.inbox / "demo.pem").stat().st_mode & 0o777 == 0o600


def test_a_broken_file_is_told_with_its_code_and_changes_nothing(tmp_path):
    with running_demo(tmp_path / "demo") as demo:
        before = demo.certificate_pem()
        (demo.inbox / "device.pem").write_text("nonsense\n")
        demo.wait_said(r"^refused +unparsable ")
        demo.wait_said(r"^ +hint: ")
        assert demo.certificate_pem() == before


def test_a_second_start_serves_what_the_first_one_did(tmp_path):
    with running_demo(tmp_path / "demo") as demo:
        demo.certificate()
        before = demo.certificate_pem()
    assert [path.name for path in demo.folder.iterdir()] == ["store"]  # no socket of the device is left
    with running_demo(tmp_path / "demo") as demo:
        assert demo.certificate_pem() == before
        assert any("kept from before" in line for line in demo.said)


def test_the_device_ends_with_the_demo_even_when_that_is_killed(tmp_path):
    with running_demo(tmp_path / "demo") as demo:
        (device,) = map(os.pidfd_open, demo.device_pids())
        demo.process.send_signal(signal.SIGKILL)
        demo.process.wait(START_S)
        assert has_ended(device)


def test_ctrl_c_ends_it_quickly_while_feeds_are_open(tmp_path):
    async def with_an_open_stream(demo) -> float:
        with trio.fail_after(START_S):
            async with Client.to(demo.port, server_name="localhost") as client:
                await client.start("/api/events")
                begun = trio.current_time()
                demo.process.send_signal(signal.SIGINT)
                assert await trio.to_thread.run_sync(demo.process.wait) == 0
                return trio.current_time() - begun

    with running_demo(tmp_path / "demo") as demo:
        (device,) = map(os.pidfd_open, demo.device_pids())
        assert trio.run(with_an_open_stream, demo) < 5
        assert has_ended(device)
    assert not any("Traceback" in line or "rror" in line for line in demo.said)


def test_a_folder_that_cannot_be_used_gives_way_to_a_temporary_one(tmp_path):
    folder = tmp_path / ("long" * 30)
    with running_demo(folder) as demo:
        demo.wait_said("can't be used: its path is too long for sockets")
        inbox = Path(demo.wait_said(r"drop here +(\S+)")[1])
        assert inbox.is_dir()
    assert not inbox.exists()
    assert not folder.exists()


def test_a_taken_port_is_one_error_line(tmp_path):
    with running_demo(tmp_path / "one") as demo:
        address = f"127.0.0.1:{demo.port}"
        again = subprocess.run(
            [*PROGRAM, "--listen", address, "--dir", str(tmp_path / "two")],
            capture_output=True,
            timeout=START_S,
            text=True,
            check=False,
        )
    assert again.returncode == 1
    assert again.stderr.startswith(f"tlsproxy: error: can't listen on {address}")
    assert "demo --listen localhost:9443" in again.stderr
    assert "Traceback" not in again.stderr


def test_another_demo_in_the_same_folder_is_refused_and_harms_nothing(tmp_path):
    with running_demo(tmp_path / "demo") as demo:
        again = subprocess.run(
            [*PROGRAM, "--listen", "localhost:0", "--dir", str(demo.folder)],
            capture_output=True,
            timeout=START_S,
            text=True,
            check=False,
        )
        assert again.returncode == 1
        assert "Traceback" not in again.stderr
        answer = trio.run(_ask, demo.port)
        assert answer.status == 200


async def _ask(port: int):
    with trio.fail_after(START_S):
        async with Client.to(port, server_name="localhost") as client:
            return await client.get("/api/device")


def test_a_certificate_for_no_demo_says_how_to_start_one(tmp_path):
    done = subprocess.run(
        [*PROGRAM, "--dir", str(tmp_path / "none"), "certificate"],
        capture_output=True,
        timeout=START_S,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("tlsproxy: error: no demo runs that has its inbox at ")
    assert "tlsproxy: hint: " in done.stderr


def test_a_device_that_dies_ends_the_demo_with_one_error_line(tmp_path):
    with running_demo(tmp_path / "demo") as demo:
        (device,) = demo.device_pids()
        os.kill(device, signal.SIGKILL)
        assert demo.process.wait(START_S) == 1
        demo.wait_said("^tlsproxy: error: the sample device ended with exit code -9$")
    assert not any("Traceback" in line for line in demo.said)
