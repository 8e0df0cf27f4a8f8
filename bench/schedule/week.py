"""A week of twenty users on four GPUs, and what is read off it.

Every user is a project; four of them have two shares, the others one. By day they submit jobs of all sizes at random; on
Tuesday and Thursday at nine each hands in a pile of work, so that until the evening all of them have work in the queue: the
*busy* hours. Whole hours are looked at from every tenth minute on, as long as in each minute of them every project had a job
queued.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.schedule.world import Task, World
from core.scheduling.cluster import Host, Need, Slot
from core.scheduling.policy import Policy

USERS, GPUS, DAYS = 20, 4, 7
HOUR, DAY = 3600.0, 86400.0
URGENT, USUAL, PATIENT = 10, 0, -10
NAMES = {URGENT: "urgent", USUAL: "usual", PATIENT: "patient"}
PILE_DAYS = (1, 3)
PILE_SECONDS = 12 * HOUR
"""What each share's pile holds: more than a day of it can do."""
PER_DAY = 10.0
"""Jobs that a user submits on a usual day, in the mean."""


@dataclass(frozen=True)
class Busy:
    """How far the shares of the busy hours were from what the weights say."""

    hours: int
    worst_points: float
    """Largest difference of a project's share from its due, in percentage points of the machine."""
    worst_relative: float
    """The same, in percent of its due."""
    mean_relative: float
    whole_relative: float
    """The largest over a whole busy day, in percent of the due."""


def a_week(seed: int, *, is_preempting: bool, pile_job_seconds: float, policy: Policy, is_mixed: bool = True) -> World:
    """Simulate the week of a seed to the end of all its jobs; without `is_mixed`, pile days have nothing but the piles."""
    chance = random.Random(seed)
    slots = tuple(Slot(f"gpu{number}", "cuda", 80 << 30) for number in range(GPUS))
    weights = {f"user{number:02}": 2.0 if number < 4 else 1.0 for number in range(USERS)}
    world = World({"host": Host("host", slots, GPUS)}, policy, weights=dict(weights), is_preempting=is_preempting)
    for user in weights:
        for task, at in _usual(chance, user):
            if is_mixed or int(at // DAY) not in PILE_DAYS:
                world.submit(task, at)
        for day in PILE_DAYS:
            for task in _pile(chance, user, day, pile_job_seconds, weights[user]):
                world.submit(task, day * DAY + 9 * HOUR + chance.uniform(0, 60))
    world.run()
    return world


def waits(world: World, priority: int) -> list[float]:
    """Seconds from submit to the first start, in order of size, of the jobs of usual days."""
    return sorted(task.starts[0] - task.queued_at for task in world.tasks.values()
                  if task.priority == priority and "pile" not in task.id)


def busy(world: World) -> Busy:
    """Measure the busy hours."""
    total = sum(world.weights.values())
    due = {project: weight / total for project, weight in world.weights.items()}
    hours = [_share_of(world, begin, begin + HOUR) for begin in _busy_hours(world)]
    off = [(100 * abs(share.get(p, 0.0) - due[p]), 100 * abs(share.get(p, 0.0) / due[p] - 1)) for share in hours for p in due]
    days = [_share_of(world, day * DAY + 9.5 * HOUR, day * DAY + 17.5 * HOUR) for day in PILE_DAYS]
    whole = max(100 * abs(share.get(p, 0.0) / due[p] - 1) for share in days for p in due)
    return Busy(len(hours), max(points for points, _ in off), max(relative for _, relative in off),
                statistics.mean(relative for _, relative in off), whole)


def quantile(values: Sequence[float], part: float) -> float:
    return values[min(len(values) - 1, int(part * len(values)))]


def _usual(chance: random.Random, user: str) -> Iterator[tuple[Task, float]]:
    at, number = 0.0, 0
    while (at := at + chance.expovariate(PER_DAY / DAY)) < DAYS * DAY:
        by_day = 8 <= at % DAY / HOUR < 20
        if not by_day and chance.random() < 0.7:
            continue
        number += 1
        priority = chance.choices((URGENT, USUAL, PATIENT), (1, 16, 3))[0]
        devices = chance.choices((1, 2, 4), (90, 7, 3))[0]
        seconds = _length(chance, 600.0 if priority != PATIENT else 2400.0)
        yield Task(f"{user}-{number}", user, seconds, priority, Need(devices), chance.random() < 0.7), at


def _pile(chance: random.Random, user: str, day: int, median: float, weight: float) -> Iterator[Task]:
    left, number = PILE_SECONDS * GPUS / USERS * weight, 0
    while left > 0:
        number += 1
        seconds = _length(chance, median, spread=0.3)
        left -= seconds
        yield Task(f"{user}-pile{day}-{number}", user, seconds)


def _length(chance: random.Random, median: float, spread: float = 0.8) -> float:
    return min(4 * HOUR, max(20.0, chance.lognormvariate(math.log(median), spread)))


def _busy_hours(world: World) -> list[float]:
    """Where the hours begin in which every project had a job queued all the time."""
    gaps = _gaps(world)
    begins = [day * DAY + minute * 60.0 for day in PILE_DAYS for minute in range(9 * 60 + 10, 22 * 60, 10)]
    return [begin for begin in begins if not any(a < begin + HOUR and b > begin for a, b in gaps)]


def _gaps(world: World) -> list[tuple[float, float]]:
    """Stretches of the pile days in which a project had no job of usual priority queued."""
    found: list[tuple[float, float]] = []
    for project in world.weights:
        queued = sorted((task.queued_at, task.starts[0]) for task in world.tasks.values()
                        if task.project_id == project and task.priority == USUAL)
        reached = 0.0
        for begin, end in queued:
            if begin > reached:
                found.append((reached, begin))
            reached = max(reached, end)
        found.append((reached, float("inf")))
    return found


def _share_of(world: World, begin: float, end: float) -> dict[str, float]:
    held: dict[str, float] = {}
    for project, since, until, devices in world.uses:
        within = min(end, until) - max(begin, since)
        if within > 0:
            held[project] = held.get(project, 0.0) + devices * within
    total = sum(held.values())
    return {project: seconds / total for project, seconds in held.items()}


__all__ = ["NAMES", "PATIENT", "URGENT", "USUAL", "Busy", "a_week", "busy", "quantile", "waits"]
