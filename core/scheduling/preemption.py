"""Which runs make room for jobs of higher priority that cannot start.

For each such job, in turn: if there is room now, or there will be once the runs that were told to end have ended, it needs
nobody. One that a quota keeps, or would keep once those before it have started, gets no room. Otherwise the runs that make room
are chosen on one host: of lower priority, left alone for a minimum, never more than needed. Of several hosts the one whose runs
matter least: lowest priority, fewest devices, fewest runs. Among runs of one priority those that started last go first, since
they have the least to do again and the others are nearer to their end.

What is given is a plan: `Room(job, host, run_ids)`. The room is kept for the job, so the runs that made it cannot take it
back; they return to their old place, and start again only when nothing of higher priority stands before them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice

from core.quotas.standing import Standing
from core.scheduling.cluster import Cluster, Host, Running, Slot, choose_slots, could_ever
from core.scheduling.order import Waiting
from core.scheduling.policy import Policy

DEPTH = 64
"""How many jobs in turn are looked at."""
PLANNED = "planned"
"""Holds, within a plan, what a job before in turn will take."""


@dataclass(frozen=True)
class Room:
    job: Waiting
    host: str
    run_ids: tuple[str, ...]


def plan_room(turns: Iterable[Waiting], cluster: Cluster, standing: Standing, *, now: datetime, policy: Policy) -> list[Room]:
    """Plan which runs make room now, and for whom. `turns` are jobs that some host could run; `standing` is played on by what
    gets room, so give one that nobody needs afterwards."""
    lowest = min((run.priority for run in cluster.running.values()), default=None)
    rooms: list[Room] = []
    for job in islice(turns, DEPTH):
        if lowest is None or job.priority <= lowest:
            break
        if standing.hold(job.project_id, job.key_id, has_begun=job.has_begun) is not None:
            continue
        room = _room_for(job, cluster, now, policy)
        if room is None:
            continue
        if room.run_ids:
            rooms.append(room)
        cluster = _taken(cluster, room)
        standing.start(job.project_id, job.key_id)
    return rooms


def _room_for(job: Waiting, cluster: Cluster, now: datetime, policy: Policy) -> Room | None:
    """The room that a job takes: without anybody's leaving, or with as little as can be; None when there is none."""
    could = [host for _, host in sorted(cluster.hosts.items()) if could_ever(job.need, host)]
    for host in could:
        if choose_slots(job.need, _soon_free(host, cluster)) is not None:
            return Room(job, host.name, ())
    found = [Room(job, host.name, victims) for host in could if (victims := _victims(job, host, cluster, now, policy))]
    return min(found, key=lambda room: _cost(room, cluster), default=None)


def _soon_free(host: Host, cluster: Cluster) -> list[Slot]:
    """Devices that are free, or held by a run that was told to end; none where no worker is, or will be, there to use them."""
    leaving = {run.id for run in cluster.running.values() if run.host == host.name and run.is_leaving}
    if not host.idle_workers and not leaving:
        return []
    return [slot for slot in host.slots if slot.run_id is None or slot.run_id in leaving]


def _victims(job: Waiting, host: Host, cluster: Cluster, now: datetime, policy: Policy) -> tuple[str, ...]:
    """Runs of a host that suffice for a job, and of which none could stay; empty when all that may be taken is too little."""
    free = _soon_free(host, cluster) or host.free
    chosen: list[Running] = []
    for run in _preemptible(job, host, cluster, now, policy):
        if any(job.need.suits(slot) for slot in _slots_of(host, run)):
            chosen.append(run)
        if _suffices(job, host, free, chosen):
            break
    else:
        return ()
    for run in reversed(chosen[:-1]):  # one taken before may be spared since one taken later holds more devices
        fewer = [other for other in chosen if other is not run]
        if _suffices(job, host, free, fewer):
            chosen = fewer
    return tuple(run.id for run in chosen)


def _preemptible(job: Waiting, host: Host, cluster: Cluster, now: datetime, policy: Policy) -> list[Running]:
    until = now - timedelta(seconds=policy.preempt_after_seconds)
    may = [run for run in cluster.running.values()
           if run.host == host.name and run.priority < job.priority and not run.is_leaving and run.started_at <= until]
    return sorted(may, key=lambda run: (run.priority, -run.started_at.timestamp(), run.id))


def _slots_of(host: Host, run: Running) -> list[Slot]:
    return [slot for slot in host.slots if slot.run_id == run.id]


def _suffices(job: Waiting, host: Host, free: Sequence[Slot], runs: Sequence[Running]) -> bool:
    freed = [slot for run in runs for slot in _slots_of(host, run)]
    return choose_slots(job.need, [*free, *freed]) is not None


def _cost(room: Room, cluster: Cluster) -> tuple[int, int, int, str]:
    runs = [cluster.running[run_id] for run_id in room.run_ids]
    return (max(run.priority for run in runs), sum(run.devices for run in runs), len(runs), room.host)


def _taken(cluster: Cluster, room: Room) -> Cluster:
    """The cluster after a job took its room: its devices are nobody's any more, and its runs have gone."""
    host = cluster.hosts[room.host]
    running = {run_id: replace(run, is_leaving=run.is_leaving or run_id in room.run_ids)
               for run_id, run in cluster.running.items()}
    after = Cluster(cluster.hosts, running)
    slots = choose_slots(room.job.need, _soon_free(host, after)) or ()
    ids = {slot.id for slot in slots}
    left = tuple(replace(slot, run_id=PLANNED) if slot.id in ids else slot for slot in host.slots)
    planned = Running(PLANNED, room.job.id, room.job.project_id, room.job.priority, host.name, 0, room.job.queued_at)
    return Cluster({**cluster.hosts, host.name: replace(host, slots=left)}, running | {PLANNED: planned})


__all__ = ["DEPTH", "Room", "plan_room"]
