"""Why a job waits, in words that say what it waits for. Pure.

| Code | The job |
| --- | --- |
| `validating` | has its data checked and its plan made |
| `not_before` | rests after an attempt that ended badly |
| `quota` | is kept by a quota of its project or of its key |
| `no_worker` | waits for a train worker; none is alive that takes jobs |
| `needs_devices` | asks for more devices, or larger ones, than any host with a worker has |
| `devices_busy` | waits for devices that others hold or will get before it |
| `next` | is claimed in a moment |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from core.errors import number_of
from core.forecast.play import Host, Waiting
from core.quotas.standing import Hold


@dataclass(frozen=True)
class Reason:
    code: str
    message: str
    until: datetime | None = None
    """When it is over for certain; None where that is not certain."""


@dataclass(frozen=True)
class Devices:
    """What there is, and what of it is free."""

    hosts: Sequence[Host]
    free: int
    total: int


VALIDATING = Reason("validating", "its data is being checked and its plan made; it takes its place in the queue after that")
NO_WORKER = Reason("no_worker", "no train worker is alive that takes jobs; start one with `headrace serve` or `headrace worker "
                                "--queue train`; `headrace workers` says why one takes none")
NEXT = Reason("next", "devices are free for it; a worker claims it in a moment")


def rests(until: datetime) -> Reason:
    return Reason("not_before", f"its last attempt ended badly; it is tried again at {until:%Y-%m-%d %H:%M:%S} UTC", until)


def held(hold: Hold) -> Reason:
    return Reason("quota", hold.words, hold.until)


def by_devices(job: Waiting, devices: Devices, *, ahead: int) -> Reason:
    """What stands between a job that nothing else keeps and its devices; `ahead` is how many jobs go before it."""
    if not devices.hosts:
        return NO_WORKER
    if not any(host.fits(job) for host in devices.hosts):
        return Reason("needs_devices", _too_much(job, devices.hosts))
    if devices.free > ahead and devices.free >= job.devices:
        return NEXT
    many = f"it needs {job.devices} devices of one host at once; " if job.devices > 1 else ""
    before = "no job is before it" if ahead == 0 else f"{number_of(ahead, 'job is', 'jobs are')} before it"
    return Reason("devices_busy", f"{many}{devices.free} of {devices.total} devices are free and {before}")


def _too_much(job: Waiting, hosts: Sequence[Host]) -> str:
    most = max(len(host.devices) for host in hosts)
    if most < job.devices:
        return (f"it asks for {number_of(job.devices, 'device')} of one host, and the largest host with a worker has "
                f"{most}; it waits for a larger one; cancel it and ask for fewer to train at once")
    largest = max(memory for host in hosts for memory in host.devices)
    return (f"it needs {job.memory_bytes / 1e9:.1f} GB on each of {number_of(job.devices, 'device')}, and the largest device "
            f"has {largest / 1e9:.1f} GB; it waits for a larger one; cancel it and ask for less to train at once")
