"""What there is to compute on and who holds it, as frozen values: the policy's picture of the hosts.

Times are aware and in UTC, memory is in bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True)
class Slot:
    """One device of a host."""

    id: str
    kind: str
    """cuda or cpu; a run's devices are of one kind."""
    memory_bytes: int
    run_id: str | None = None
    """Who holds it."""


@dataclass(frozen=True)
class Running:
    """A run that holds devices."""

    id: str
    job_id: str
    project_id: str
    priority: int
    host: str
    devices: int
    started_at: datetime
    ends_at: datetime | None = None
    """As its measured speed foretells; None where nothing does."""
    is_leaving: bool = False
    """It was told to end: a cancel, a pause or a preemption is under way."""


@dataclass(frozen=True)
class Host:
    """One host: its devices, and how many of its workers take a job now."""

    name: str
    slots: tuple[Slot, ...]
    idle_workers: int = 1

    @property
    def free(self) -> list[Slot]:
        return [slot for slot in self.slots if slot.run_id is None]


@dataclass(frozen=True)
class Need:
    """What a job asks of one host."""

    devices: int = 1
    memory_bytes: int | None = None
    """Of each device; None: any will do."""

    def suits(self, slot: Slot) -> bool:
        return self.memory_bytes is None or slot.memory_bytes >= self.memory_bytes


ONE = Need()
"""One device, whichever."""


@dataclass(frozen=True)
class Cluster:
    hosts: dict[str, Host]
    """Those with a worker that lives and takes jobs."""
    running: dict[str, Running] = field(default_factory=dict)
    """By the run's id."""

    def holder(self, slot: Slot) -> Running | None:
        return self.running.get(slot.run_id) if slot.run_id is not None else None


def choose_slots(need: Need, slots: Iterable[Slot]) -> tuple[Slot, ...] | None:
    """Pick the devices for a job, all of one kind: the smallest that suffice, so that large ones stay for who needs them; None
    when there are too few."""
    by_kind: dict[str, list[Slot]] = {}
    for slot in slots:
        if need.suits(slot):
            by_kind.setdefault(slot.kind, []).append(slot)
    enough = [found for found in by_kind.values() if len(found) >= need.devices]
    picks = [tuple(sorted(found, key=lambda slot: slot.memory_bytes)[: need.devices]) for found in enough]
    return min(picks, key=_memory, default=None)


def could_ever(need: Need, host: Host) -> bool:
    """Whether a host would have room for a job if nothing else ran there."""
    return choose_slots(need, host.slots) is not None


def earliest(need: Need, host: Host, cluster: Cluster, *, now: datetime) -> tuple[datetime | None, tuple[Slot, ...]] | None:
    """Foretell when a host has room for a job, and on which devices: those that are free first. The time is None where it
    hangs on a run whose end nobody knows; the whole is None when the host could never run the job."""
    picks = [pick for kind in sorted({slot.kind for slot in host.slots})
             if (pick := _earliest_of_kind(need, [slot for slot in host.slots if slot.kind == kind], cluster, now))]
    if not picks:
        return None
    at, slots = min(picks, key=lambda pick: (pick[0] is None, pick[0] or now))
    if host.idle_workers == 0:
        ends = [_free_at(slot, cluster, now) for slot in host.slots if slot.run_id is not None]
        known = [end for end in ends if end is not None]
        at = None if at is None or not known else max(at, min(known))
    return at, slots


def _earliest_of_kind(need: Need, slots: Sequence[Slot], cluster: Cluster, now: datetime
                      ) -> tuple[datetime | None, tuple[Slot, ...]] | None:
    fitting = [(_free_at(slot, cluster, now), slot) for slot in slots if need.suits(slot)]
    if len(fitting) < need.devices:
        return None
    fitting.sort(key=lambda pair: (pair[0] is None, pair[0] or now, pair[1].memory_bytes))
    chosen = fitting[: need.devices]
    return chosen[-1][0], tuple(slot for _, slot in chosen)


def _free_at(slot: Slot, cluster: Cluster, now: datetime) -> datetime | None:
    if slot.run_id is None:
        return now
    run = cluster.holder(slot)
    if run is None or run.is_leaving:
        return now
    return max(now, run.ends_at) if run.ends_at is not None else None


def _memory(slots: Sequence[Slot]) -> int:
    return sum(slot.memory_bytes for slot in slots)


__all__ = ["ONE", "Cluster", "Host", "Need", "Running", "Slot", "choose_slots", "could_ever", "earliest"]
