"""Why a job waits, in words that say what it waits for. Pure.

| Code | The job |
| --- | --- |
| `validating` | has its data checked and its plan made |
| `not_before` | rests after an attempt that ended badly |
| `quota` | is kept by a quota of its project or of its key |
| `no_worker` | waits for a train worker; none is alive that takes jobs |
| `needs_devices` | asks for more devices of one kind, or larger ones, than any host with a worker has |
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
from core.scheduling.cluster import choose_slots


@dataclass(frozen=True)
class Reason:
    code: str
    message: str
    until: datetime | None = None
    """When it is over for certain; None where that is not certain."""


VALIDATING = Reason("validating", "its data is being checked and its plan made; it takes its place in the queue after that")
NO_WORKER = Reason("no_worker", "no train worker is alive that takes jobs; start one with `headrace serve` or `headrace worker "
                                "--queue train`; `headrace workers` says why one takes none")
NEXT = Reason("next", "devices are free for it; a worker claims it in a moment")


def rests(until: datetime) -> Reason:
    return Reason("not_before", f"its last attempt ended badly; it is tried again at {until:%Y-%m-%d %H:%M:%S} UTC", until)


def held(hold: Hold) -> Reason:
    return Reason("quota", hold.words, hold.until)


def by_devices(job: Waiting, hosts: Sequence[Host], *, ahead: int) -> Reason:
    """What stands between a job that nothing else keeps and its devices; `ahead` is how many jobs go before it."""
    if not hosts:
        return NO_WORKER
    if not any(host.fits(job) for host in hosts):
        return Reason("needs_devices", _too_much(job, hosts))
    free = [slot for host in hosts for slot in host.free]
    if len(free) > ahead and any(choose_slots(job.need, host.free) for host in hosts):
        return NEXT
    many = f"it needs {job.devices} devices of one host at once; " if job.devices > 1 else ""
    large = "" if all(job.need.suits(slot) for slot in free) else f"it needs {job.memory_bytes / 1e9:.1f} GB on each device; "
    before = "no job is before it" if ahead == 0 else f"{number_of(ahead, 'job is', 'jobs are')} before it"
    total = sum(len(host.slots) for host in hosts)
    return Reason("devices_busy", f"{many}{large}{len(free)} of {total} devices are free and {before}")


def _too_much(job: Waiting, hosts: Sequence[Host]) -> str:
    most = max(sum(slot.kind == kind for slot in host.slots) for host in hosts for kind in {slot.kind for slot in host.slots})
    if most < job.devices:
        return (f"it asks for {number_of(job.devices, 'device')} of one host, and the largest host with a worker has "
                f"{most}; it waits for a larger one; cancel it and ask for fewer to train at once")
    largest = max(slot.memory_bytes for host in hosts for slot in host.slots)
    told = (f"the largest device has {largest / 1e9:.1f} GB" if largest < job.memory_bytes
            else "no host with a worker has as many of that size and of one kind")
    return (f"it needs {job.memory_bytes / 1e9:.1f} GB on each of {number_of(job.devices, 'device')}, and {told}; it waits for "
            "a larger one; cancel it and ask for less to train at once")
