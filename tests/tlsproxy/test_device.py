"""What the device calls itself: names that its own certificate may carry, and none that it must not."""

from __future__ import annotations

import errno
import ipaddress

import pytest

from tlsproxy import device
from tlsproxy.config import IdentityConfig
from tlsproxy.net.addresses import is_stable, stable_addresses


def test_localhost_is_never_a_name_unless_it_is_configured():
    names = device.identity(IdentityConfig()).names
    assert not {"localhost", "127.0.0.1", "::1"} & set(names)
    assert {"localhost", "127.0.0.1", "::1"} <= set(device.identity(IdentityConfig(localhost=True)).names)


@pytest.mark.parametrize(
    ("host", "names"),
    [
        ("device", ["device", "device.local"]),
        ("device.example.com", ["device.example.com", "device", "device.local"]),
        ("localhost", []),
        ("localhost.localdomain", []),
        ("", []),
    ],
)
def test_a_host_is_known_by_its_name_and_to_multicast_dns(host, names):
    assert device.host_names(host) == names


def test_a_name_that_no_certificate_can_carry_is_left_out():
    config = IdentityConfig(names=("device.test", "no good", "-.-"), addresses=False)
    assert device.identity(config).names == ("device.test",)


def test_configured_names_and_addresses_replace_what_the_system_says():
    config = IdentityConfig(names=("Device.Test.",), addresses=("192.0.2.7", "2001:DB8::7"), serial="4711")
    identity = device.identity(config)
    assert set(identity.names) == {"device.test", "192.0.2.7", "2001:db8::7"}
    assert (identity.common_name, identity.serial) == ("device.test", "4711")


def test_a_device_without_any_name_still_has_a_common_name():
    identity = device.identity(IdentityConfig(names=("no good",), addresses=("192.0.2.7",)))
    assert identity.common_name == "192.0.2.7"


@pytest.mark.parametrize("text", ["To Be Filled By O.E.M.", "  \n", "0", "Default string"])
def test_a_serial_number_that_nobody_filled_in_is_none(tmp_path, monkeypatch, text):
    (tmp_path / "serial").write_text(text)
    monkeypatch.setattr(device, "_SERIALS", (str(tmp_path / "serial"),))
    assert device.serial_number() == ""


def test_a_boards_serial_number_ends_with_a_nul_that_is_not_part_of_it(tmp_path, monkeypatch):
    (tmp_path / "serial").write_bytes(b"SN-0042\0")
    monkeypatch.setattr(device, "_SERIALS", (str(tmp_path / "absent"), str(tmp_path / "serial")))
    assert device.serial_number() == "SN-0042"


@pytest.mark.parametrize(
    ("address", "stable"),
    [
        ("192.168.1.5", True),
        ("10.0.0.1", True),
        ("2001:db8::1", True),
        ("fd00::1", True),
        ("127.0.0.1", False),
        ("::1", False),
        ("169.254.3.4", False),
        ("fe80::1", False),
        ("224.0.0.1", False),
        ("0.0.0.0", False),
    ],
)
def test_only_addresses_that_last_are_names(address, stable):
    assert is_stable(ipaddress.ip_address(address)) is stable


def test_a_sandbox_that_hides_the_interfaces_leaves_the_names(monkeypatch):
    def no_netlink() -> None:
        raise OSError(errno.EAFNOSUPPORT, "address family not supported by protocol")

    monkeypatch.setattr("psutil.net_if_addrs", no_netlink)
    assert device.identity(IdentityConfig(names=("device.test",))).names == ("device.test",)


def test_the_systems_own_addresses_are_stable_and_told_once():
    addresses = stable_addresses()
    assert len(set(addresses)) == len(addresses)
    assert all(is_stable(ipaddress.ip_address(address)) for address in addresses)
