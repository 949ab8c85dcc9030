"""Our own proxy: its configuration, store, disk, clock, ports, services and certificates, each looked at.

Promises: what can't be looked at is a finding too, and keeps nothing else from being looked at; nothing is
changed, and a proxy that hangs holds this up for seconds only. It is what an engineer types first, so it says
first what keeps clients from being served. Refuses to know what `status` shows of a proxy that is well.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Protocol

import trio

from certstore import Finding, Severity, StoreError, found
from tlsproxy import __version__
from tlsproxy import policy_doctor as policy
from tlsproxy.config import Config
from tlsproxy.config.reading import read_file
from tlsproxy.control.client import Client
from tlsproxy.doctor.diagnosis import Diagnosis
from tlsproxy.doctor.surroundings import look_around
from tlsproxy.errors import ConfigError, ControlError, NotRunningError, PrivilegeError, UsageError
from tlsproxy.observe.expiry import Step
from tlsproxy.observe.status import Status
from tlsproxy.privilege.account import named
from tlsproxy.trustsets import lacking

_SHOWN = 10  # certificates; `tlsproxy certs list` has them all

__all__ = ["Patient", "Premises", "diagnose_ourselves"]


class Premises(Protocol):
    """Where a proxy is; cli/places.py has it."""

    @property
    def store(self) -> Path:
        """The store's folder."""
        ...

    @property
    def control(self) -> Path:
        """The control socket."""
        ...

    @property
    def configured(self) -> Config | None:
        """What the configuration file says, where there is one."""
        ...


@dataclass(frozen=True, slots=True)
class Patient:
    """What is looked at. place: None where a wrong configuration (`mistakes`) keeps it unknown.

    file: the configuration file, if any; read_status: tells the status by the store alone.
    """

    place: Premises | None
    file: Path | None
    mistakes: ConfigError | None = None
    read_status: Callable[[], Status] | None = None


def diagnose_ourselves(patient: Patient, now: datetime) -> Diagnosis:
    """Look at everything; takes seconds where something doesn't answer."""
    findings = [*_configuration(patient)]
    status: Status | None = None
    if patient.place is not None:
        findings += [*_disk(patient.place.store), *_owner(patient.place)]
        status, told = _status(patient)
        findings += told
        if status is None or status.process is None:  # else its own health has told
            findings += _trust(patient.place)
        if status is not None:
            findings += _of_status(status, now)
            findings += trio.run(look_around, patient.place.configured, status)
    is_well = not any(finding.is_error for finding in findings)
    return Diagnosis(
        subject=str(patient.place.store if patient.place is not None else patient.file or "this proxy"),
        verdict=_verdict(findings, is_well=is_well),
        is_well=is_well,
        findings=tuple(findings),
        facts=tuple(_facts(patient, status)),
    )


def _verdict(findings: list[Finding], *, is_well: bool) -> str:
    if not is_well:
        return "something is wrong"
    return "it works, and something wants attention" if _has_warning(findings) else "all is well"


def _has_warning(findings: list[Finding]) -> bool:
    return any(finding.severity is Severity.WARNING for finding in findings)


def _configuration(patient: Patient) -> Iterator[Finding]:
    """Tell what is wrong with the file, and what is odd in it."""
    if patient.mistakes is not None:
        for mistake in patient.mistakes.mistakes:
            place = f"{patient.mistakes.origin}: {mistake.key}" if mistake.key else patient.mistakes.origin
            line = f", line {mistake.line}" if mistake.line is not None else ""
            remedy = mistake.hint or "mend the file; tlsproxy check tells all of it"
            yield found("config_mistake", place=f"{place}{line}", why=mistake.why, remedy=remedy)
    elif patient.file is not None:
        for advice in read_file(patient.file).advice:
            remedy = advice.hint or "nothing to do, if that is meant"
            yield found("config_advice", place=f"{patient.file}: {advice.key}", why=advice.why, remedy=remedy)


def _disk(store: Path) -> Iterator[Finding]:
    """Look at the folder and at what lies under it."""
    try:
        mode, disk = store.stat().st_mode, os.statvfs(store)
    except FileNotFoundError:
        yield found("store_missing", path=store)
        return
    except OSError as error:
        why, remedy = (error.strerror or str(error)).lower(), "ask as root, or as the proxy's own user"
        yield found("store_troubled", why=f"{store}: {why}", remedy=remedy)
        return
    if mode & 0o077:
        yield found("store_open", path=store, mode=f"{stat.S_IMODE(mode):04o}")
    if disk.f_flag & os.ST_RDONLY:
        yield found("disk_read_only", path=store)
    left = disk.f_bavail * disk.f_frsize
    if left < policy.FREE_BYTES:
        yield found("disk_nearly_full", path=store, left=f"{left >> 20} MB")
    elif disk.f_files and disk.f_favail < policy.FREE_FILES:  # file systems without a fixed number say 0
        yield found("disk_nearly_full", path=store, left=f"place for {disk.f_favail} files")


def _owner(place: Premises) -> Iterator[Finding]:
    """Compare whose the store is with whom the proxy becomes: somebody may have worked on it as root."""
    config = place.configured
    if config is None or not config.user or not place.store.is_dir():
        return
    try:
        wanted = named(config.user, config.group)
    except PrivilegeError as error:
        yield found("config_advice", place="user", why=error, remedy=error.hint or "make that user")
        return
    owner = place.store.stat().st_uid
    if owner != wanted.uid:
        yield found("store_foreign", path=place.store, owner=owner, user=config.user)


def _status(patient: Patient) -> tuple[Status | None, list[Finding]]:
    """Ask the proxy how it is, or else its store."""
    assert patient.place is not None
    told: list[Finding] = []
    try:
        with Client(patient.place.control, policy.CONNECT_S) as client:
            status = client.status()
            return status, [*_health(client)]
    except NotRunningError:
        told.append(found("proxy_not_running"))
    except ControlError as error:
        told.append(found("proxy_silent", why=error.why))
    if patient.read_status is not None and patient.place.store.is_dir():
        try:
            return patient.read_status(), told
        except StoreError as error:
            told.append(found("store_troubled", why=error, remedy=error.hint or "look at the proxy's log"))
        except (UsageError, OSError) as error:
            told.append(found("store_troubled", why=error, remedy="ask as root, or as the proxy's own user"))
    return None, told


def _health(client: Client) -> Iterator[Finding]:
    """Give the findings of the proxy itself: workers, clock, the rung that it stands on, what ends."""
    for one in json.loads(client.page("/v1/health")).get("findings", ()):
        with suppress(KeyError, ValueError):  # of another version than this command's
            yield Finding(one["code"], Severity(one["severity"]), one["words"], one["hint"])


def _trust(place: Premises) -> Iterator[Finding]:
    """Tell which trust sets the configuration names in vain; of a store that can't be read others tell."""
    with suppress(StoreError, OSError):
        yield from lacking(place.store, place.configured.client_auth if place.configured is not None else ())


def _of_status(status: Status, now: datetime) -> Iterator[Finding]:
    running = status.process
    if running is None:  # else its own health has told
        if not status.clock_plausible:
            yield found("no_clock", now=f"{now:%Y-%m-%d %H:%M} UTC")
        yield from _ending(status)
    elif running.version != __version__:
        yield found("version_waits", installed=__version__, running=running.version)
    for receipt in status.receipts:
        if receipt.get("state") == "live":
            yield found("confirmation_waits", id=receipt["id"])
    newest = next(iter(status.receipts), None)
    if newest is not None and newest.get("state") == "refused":
        listed = newest.get("findings")
        told = listed if isinstance(listed, list | tuple) else ()
        codes = [str(one["code"]) for one in told if one["severity"] == "error"]
        yield found("last_refused", codes=", ".join(codes))


def _ending(status: Status) -> Iterator[Finding]:
    codes = {
        Step.NOTICE: "expiry_notice",
        Step.WARNING: "expiry_warning",
        Step.URGENT: "expiry_urgent",
        Step.EXPIRED: "expiry_passed",
    }
    for bundle in status.bundles:
        if (code := codes.get(bundle.step)) is not None:
            end = f"{bundle.not_after:%Y-%m-%d %H:%M} UTC"
            yield found(code, names=", ".join(bundle.names), source=bundle.source, not_after=end)


def _facts(patient: Patient, status: Status | None) -> Iterator[tuple[str, str]]:
    if patient.file is not None:
        yield "config", str(patient.file)
    if patient.place is not None:
        yield "store", str(patient.place.store)
    if status is not None:
        running = status.process
        yield "proxy", f"{running.version}, process {running.pid}" if running else "not running"
        yield "state", status.rung.words
        if status.bundles:
            each = (f"{', '.join(one.names)}, until {one.not_after:%Y-%m-%d}" for one in status.bundles)
            more = [f"{len(status.bundles) - _SHOWN} more"] * (len(status.bundles) > _SHOWN)
            yield "served", "; ".join([*islice(each, _SHOWN), *more])
