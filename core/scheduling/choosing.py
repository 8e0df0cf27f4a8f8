"""What a worker of one host starts next: the first job in turn that there is room for and that makes no other wait longer.

The first job in turn for which this host is the place, and which lacks devices, is *blocked*: the devices of this host that
suit it are kept for it. A later job may start beside it

    on devices that the blocked job could not use, always
    on those that are kept, until the blocked job *holds* (its promised start, and no less than `backfill_seconds`):
        when it will be done before the blocked job can start, as far as both are known
        when that is not known, and the start is not known or further away than `backfill_seconds`

After that nothing is started on what is kept, so the blocked job starts when the runs that are there have ended: its wait is
bounded, whatever comes. Room is kept on one host for each blocked job, the one that is foreseen to have it first.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from core.scheduling.cluster import Cluster, Host, Slot, choose_slots, could_ever, earliest
from core.scheduling.order import Waiting
from core.scheduling.policy import Policy

DEPTH = 64
"""How many jobs in turn are looked at for one that fits."""


@dataclass(frozen=True)
class Blocked:
    """A job that was found blocked, and where room is kept for it from now on."""

    job: Waiting
    host: str
    promised_at: datetime | None
    """When the room is foreseen; None where that is unknown."""


@dataclass(frozen=True)
class Choice:
    job: Waiting | None = None
    """What to start; None when nothing can start here now."""
    slots: tuple[Slot, ...] = ()
    blocked: tuple[Blocked, ...] = ()
    """Jobs that must be noted as blocked, or as kept for on another host than before."""


@dataclass(frozen=True)
class _Kept:
    """Room that is kept on the host for a blocked job."""

    job: Waiting
    slots: frozenset[str]
    starts_at: datetime | None


def choose(turns: Iterable[Waiting], cluster: Cluster, host_name: str, *, now: datetime, policy: Policy) -> Choice:
    """Choose what a worker of the host starts now. `turns` are jobs that the host could run, in turn."""
    host = cluster.hosts[host_name]
    kept: _Kept | None = None
    blocked: list[Blocked] = []
    for job in islice(turns, DEPTH):
        slots = _room(job, host, kept, now, policy)
        if slots is not None:
            return Choice(job, slots, tuple(blocked))
        if kept is not None and _is_all_kept(kept, host, now, policy):
            break
        if kept is not None or choose_slots(job.need, host.free) is not None:
            continue
        place = _place(job, cluster, now)
        if place is None:
            continue
        if place.host != job.held_host or job.blocked_at is None:
            blocked.append(place)
        if place.host == host_name:
            kept = _keep(job, host, cluster, now)
    return Choice(None, (), tuple(blocked))


def _room(job: Waiting, host: Host, kept: _Kept | None, now: datetime, policy: Policy) -> tuple[Slot, ...] | None:
    """Devices that a job may start on now, at the side of the one that room is kept for."""
    if kept is None:
        return choose_slots(job.need, host.free)
    aside = choose_slots(job.need, [slot for slot in host.free if slot.id not in kept.slots])
    return aside or (choose_slots(job.need, host.free) if _may_pass(job, kept, now, policy) else None)


def _is_all_kept(kept: _Kept, host: Host, now: datetime, policy: Policy) -> bool:
    """Whether nothing at all may start on the host now."""
    return kept.job.holds(now, policy) and all(slot.id in kept.slots for slot in host.free)


def _may_pass(job: Waiting, kept: _Kept, now: datetime, policy: Policy) -> bool:
    wait = timedelta(seconds=policy.backfill_seconds)
    holds_from = kept.job.holds_from(policy) or now + wait
    if now >= holds_from:
        return False
    if kept.starts_at is not None and job.expected_seconds is not None:
        return job.expected_seconds <= (kept.starts_at - now).total_seconds()
    is_far = kept.starts_at is None or kept.starts_at - now > wait
    return is_far and now < (kept.job.blocked_at or now) + wait


def _place(job: Waiting, cluster: Cluster, now: datetime) -> Blocked | None:
    """Where room is kept for a job: where it is kept already, else where it is foreseen first. None when a host has room now,
    whose own worker will take the job."""
    could = [host for host in cluster.hosts.values() if could_ever(job.need, host)]
    if any(host.idle_workers and choose_slots(job.need, host.free) for host in could):
        return None
    held = next((host for host in could if host.name == job.held_host), None)
    found = [(earliest(job.need, host, cluster, now=now), host.name) for host in ([held] if held else could)]
    known = [Blocked(job, name, when[0]) for when, name in found if when is not None]
    return min(known, key=lambda place: (place.promised_at is None, place.promised_at or now, place.host), default=None)


def _keep(job: Waiting, host: Host, cluster: Cluster, now: datetime) -> _Kept:
    found = earliest(job.need, host, cluster, now=now)
    suiting = frozenset(slot.id for slot in host.free if job.need.suits(slot))
    return _Kept(job, suiting, found[0] if found else None)


__all__ = ["DEPTH", "Blocked", "Choice", "choose"]
