"""The queue, played forward: when will each waiting job start? Pure; seconds from now.

What runs gives its devices back at its foreseen end, and each time something changes the queue is walked in its order: a job
that no quota holds and whose devices are free starts; one that fits a host but not now keeps that host for itself, so nobody
behind it takes what it waits for. A run whose end nobody can foresee never gives its devices back here, and a job that could
only start on those has no forecast, rather than a wrong one.

Cost: a walk for each end and each start, over the jobs in front of those that fit.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

from core.quotas.standing import Standing
from core.scheduling.cluster import Need, Slot, choose_slots

MOST_JOBS = 500
"""Jobs of the queue that are played; nobody foresees what comes behind so many."""


@dataclass(frozen=True)
class Host:
    """One host as it stands."""

    name: str
    kind: str
    """Name of its devices: what speeds are measured by."""
    slots: tuple[Slot, ...]
    """Its devices."""
    workers: int
    """Train workers that take jobs; each supervises one run."""

    @property
    def free(self) -> list[Slot]:
        """Devices that no run holds at present."""
        return [slot for slot in self.slots if slot.run_id is None]

    def fits(self, job: Waiting) -> bool:
        return self.workers > 0 and choose_slots(job.need, self.slots) is not None


@dataclass(frozen=True)
class Running:
    """A job that a run holds."""

    host: str
    devices: tuple[str, ...]
    """Ids of those that it holds."""
    seconds: float | None
    """Until it ends; None where nobody knows."""
    project_id: str = ""
    key_id: str | None = None


@dataclass(frozen=True)
class Waiting:
    """A job in the queue."""

    id: str
    project_id: str = ""
    key_id: str | None = None
    devices: int = 1
    memory_bytes: int = 0
    """What it needs of each device."""
    not_before: float = 0.0
    has_begun: bool = False

    @property
    def need(self) -> Need:
        return Need(self.devices, self.memory_bytes)


@dataclass(frozen=True)
class Start:
    """A forecast: seconds from now; None where nobody knows."""

    seconds: float
    host: str
    duration: float | None


Durations = Callable[[Waiting, Host], float | None]
"""How long a job would hold devices of a host's kind."""


def play(hosts: Sequence[Host], running: Sequence[Running], queue: Sequence[Waiting], *, durations: Durations,
         standing: Standing, period_seconds: float | None = None) -> dict[str, Start]:
    """Foresee the starts of the jobs, by their ids; one that is absent has no forecast.

    `queue` is in the order in which jobs are claimed; `period_seconds` is how long the present period of quotas still lasts.
    `standing` is played on, so give one that nobody needs afterwards."""
    world = _World(hosts, running, queue, durations=durations, standing=standing, period_seconds=period_seconds)
    return world.run()


@dataclass
class _Place:
    """What is free on a host."""

    host: Host
    free: dict[str, Slot]
    """By their ids."""
    workers: int

    def take(self, job: Waiting) -> tuple[str, ...] | None:
        """Take the devices that a claim would take, all it needs or none."""
        slots = choose_slots(job.need, self.free.values()) if self.workers > 0 else None
        if slots is None:
            return None
        ids = tuple(slot.id for slot in slots)
        self.hold(ids)
        return ids

    def hold(self, devices: Iterable[str]) -> None:
        for device_id in devices:
            self.free.pop(device_id, None)
        self.workers -= 1

    def give(self, devices: Collection[str]) -> None:
        self.free |= {slot.id: slot for slot in self.host.slots if slot.id in devices}
        self.workers += 1


@dataclass
class _World:
    hosts: Sequence[Host]
    running: Sequence[Running]
    queue: Sequence[Waiting]
    durations: Durations
    standing: Standing
    period_seconds: float | None
    places: dict[str, _Place] = field(init=False)
    ends: list[tuple[float, int, Running | None]] = field(default_factory=list)
    """A heap of what changes when; None for a change that frees nothing."""
    numbers: itertools.count[int] = field(default_factory=itertools.count)
    could_run: dict[tuple[int, int], frozenset[str]] = field(default_factory=dict)
    """Names of hosts, by what jobs need."""

    def run(self) -> dict[str, Start]:
        self.places = {host.name: _Place(host, {slot.id: slot for slot in host.slots}, host.workers) for host in self.hosts}
        for run in self.running:
            self._hold(run)
        left = list(self.queue[:MOST_JOBS])
        for moment in {job.not_before for job in left if job.not_before > 0} | {self.period_seconds or 0.0} - {0.0}:
            self._expect(moment, None)
        starts: dict[str, Start] = {}
        now = 0.0
        while left:
            started = self._walk(left, now)
            starts.update({job.id: start for job, start in started})
            left = [job for job in left if job.id not in starts]
            if not self.ends:
                break
            now, _, ended = heapq.heappop(self.ends)
            if ended is not None:
                self._let_go(ended)
        return starts

    def _hold(self, run: Running) -> None:
        """Take what a run holds out of what is free; expect its end, if it is foreseen."""
        place = self.places.get(run.host)
        if place is not None:
            place.hold(run.devices)
        if run.seconds is not None:
            self._expect(run.seconds, run)

    def _let_go(self, run: Running) -> None:
        self.standing.end(run.project_id, run.key_id)
        if run.host in self.places:
            self.places[run.host].give(run.devices)

    def _expect(self, moment: float, run: Running | None) -> None:
        heapq.heappush(self.ends, (moment, next(self.numbers), run))

    def _walk(self, left: Sequence[Waiting], now: float) -> list[tuple[Waiting, Start]]:
        """Start what can start at this moment, in order."""
        started: list[tuple[Waiting, Start]] = []
        open_places = {name: place for name, place in self.places.items() if place.workers > 0 and place.free}
        for job in left:
            if not open_places:
                break
            if job.not_before > now or self._is_held(job, now):
                continue
            could = self._could_run(job)
            fitting = [name for name in open_places if name in could]
            for name in fitting:
                start = self._start(job, self.places[name], now)
                if start is not None:
                    started.append((job, start))
                    break
            else:
                for name in fitting:
                    del open_places[name]
        return started

    def _could_run(self, job: Waiting) -> frozenset[str]:
        """The hosts that could run a job like this one; asked for each job at each moment, and found out once."""
        alike = job.devices, job.memory_bytes
        if alike not in self.could_run:
            self.could_run[alike] = frozenset(host.name for host in self.hosts if host.fits(job))
        return self.could_run[alike]

    def _is_held(self, job: Waiting, now: float) -> bool:
        is_new_period = self.period_seconds is not None and now >= self.period_seconds
        return self.standing.hold(job.project_id, job.key_id, has_begun=job.has_begun or is_new_period) is not None

    def _start(self, job: Waiting, place: _Place, now: float) -> Start | None:
        devices = place.take(job)
        if devices is None:
            return None
        duration = self.durations(job, place.host)
        self.standing.start(job.project_id, job.key_id)
        if duration is not None:
            self._expect(now + duration, Running(place.host.name, devices, now + duration, job.project_id, job.key_id))
        return Start(now, place.host.name, duration)
