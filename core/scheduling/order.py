"""The order of the queue: whose turn it is.

    1. the highest priority
    2. a job that waited so long for several devices that nothing may pass it any more (`holds`)
    3. the project with the least use per share
    4. the job that was queued first

    use per share = (recent device-seconds + 60 s for each device that the project holds now) / weight

A project's jobs stand in the order of 1 and 4 among themselves, so its next job alone competes: a queue of ten thousand jobs
is ordered by looking at one job of each project, and at more only as they are asked for. A job that was given its turn counts
for its project like one that runs, so the projects alternate in what follows.

Cost: a heap of projects; one push and one pop for each job that is asked for.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from core.scheduling.cluster import ONE, Need, Running
from core.scheduling.policy import Policy

HELD_SECONDS = 60.0
"""What a device that is held now adds to a project's use, before any of it is counted: so that the first claims of an idle
server already go to different projects."""


@dataclass(frozen=True)
class Waiting:
    """A job that is due and waits for devices."""

    id: str
    project_id: str
    priority: int
    queued_at: datetime
    need: Need = ONE
    blocked_at: datetime | None = None
    """Since when it is its turn and there was no room for it."""
    held_host: str | None = None
    """Where room is kept for it."""
    promised_at: datetime | None = None
    """The start that was foreseen when it was first blocked."""
    expected_seconds: float | None = None
    """How long it will hold its devices, as far as anything tells."""
    key_id: str | None = None
    """Of the API key that it was submitted with: quotas count by it."""
    has_begun: bool = False
    """A run of it was there before."""

    def holds_from(self, policy: Policy) -> datetime | None:
        """From when on nothing of its priority may pass it: what it was promised, and no less than the bounded wait."""
        if self.blocked_at is None:
            return None
        bound = self.blocked_at + timedelta(seconds=policy.backfill_seconds)
        return max(bound, self.promised_at) if self.promised_at is not None else bound

    def holds(self, now: datetime, policy: Policy) -> bool:
        since = self.holds_from(policy)
        return since is not None and now >= since


@dataclass(frozen=True)
class Share:
    """A project's right to the devices, and what it had of them."""

    weight: float = 1.0
    recent_seconds: float = 0.0
    """Decayed device-seconds."""
    held_devices: int = 0

    @property
    def use(self) -> float:
        """Use per share."""
        return (self.recent_seconds + HELD_SECONDS * self.held_devices) / self.weight


def in_turn(queues: Mapping[str, Iterable[Waiting]], shares: Mapping[str, Share], *, now: datetime, policy: Policy
            ) -> Iterator[Waiting]:
    """Give the jobs in the order of their turns. Each project's queue is in order (`own_order`) and is read only as far as
    jobs are asked for."""
    streams = {project_id: iter(queue) for project_id, queue in queues.items()}
    uses = {project_id: shares.get(project_id, Share()).use for project_id in streams}
    heap: list[tuple[Any, ...]] = []
    for project_id in streams:
        _push(heap, streams, uses, project_id, now, policy)
    while heap:
        job: Waiting = heapq.heappop(heap)[-1]
        yield job
        weight = shares.get(job.project_id, Share()).weight
        uses[job.project_id] += job.need.devices * (job.expected_seconds or HELD_SECONDS) / weight
        _push(heap, streams, uses, job.project_id, now, policy)


def order_queue(waiting: Iterable[Waiting], shares: Mapping[str, Share], *, now: datetime, policy: Policy) -> list[Waiting]:
    """Order a whole queue as its jobs get their turns, were nothing to end or come meanwhile."""
    queues: dict[str, list[Waiting]] = {}
    for job in sorted(waiting, key=own_order):
        queues.setdefault(job.project_id, []).append(job)
    return list(in_turn(queues, shares, now=now, policy=policy))


def own_order(job: Waiting) -> tuple[int, datetime, str]:
    """A job's place within its own project."""
    return (-job.priority, job.queued_at, job.id)


def with_held(shares: Mapping[str, Share], running: Iterable[Running]) -> dict[str, Share]:
    """Count what runs hold now among their projects' use."""
    held: dict[str, int] = {}
    for run in running:
        held[run.project_id] = held.get(run.project_id, 0) + run.devices
    return {project_id: Share(share.weight, share.recent_seconds, held.get(project_id, 0))
            for project_id, share in ({p: Share() for p in held} | dict(shares)).items()}


def _push(heap: list[tuple[Any, ...]], streams: Mapping[str, Iterator[Waiting]], uses: Mapping[str, float], project_id: str,
          now: datetime, policy: Policy) -> None:
    job = next(streams[project_id], None)
    if job is not None:
        heapq.heappush(heap, (-job.priority, not job.holds(now, policy), uses[project_id], job.queued_at, job.id, job))


__all__ = ["HELD_SECONDS", "Share", "Waiting", "in_turn", "order_queue", "own_order", "with_held"]
