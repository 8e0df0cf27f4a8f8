"""A server in memory with a turned clock: users submit, workers claim by the policy, runs end, are lost, or make room.

Everything that decides is the product's own: the order, the choice, the plan of who makes room (`core/scheduling`), and what
becomes of a job when its run ends (`core/jobs/endings.py`). What is modelled is only the ledger's rows and the passing of
time. The promises are checked at every start and every end, so a world that ran to its end has kept them:

    a job is held by one run at most, and each move of it is legal
    a run holds as many devices as its job needs, of one host and one kind, each of which suits it and was free
    nobody makes room for an equal or a lower priority, before the minimum, or without need
    nothing of equal or lower priority starts on what is kept for a job that holds
"""

from __future__ import annotations

import heapq
from bisect import insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, cast

from core.jobs.endings import LEADS_TO, Ending, verb_of
from core.jobs.models import Job
from core.jobs.states import MOVES, State
from core.projects.usage import decay
from core.quotas.standing import Standing
from core.scheduling.choosing import Choice, choose
from core.scheduling.cluster import ONE, Cluster, Host, Need, Running, choose_slots
from core.scheduling.order import Share, Waiting, in_turn, with_held
from core.scheduling.policy import Policy
from core.scheduling.preemption import Room, plan_room

START = datetime(2026, 11, 23, tzinfo=UTC)
"""A Monday."""
SAVE_SECONDS = 3.0
"""From being told to make room until the devices are free."""
TICK_SECONDS = 60.0
"""How often the world looks again while jobs wait: some decisions hang on time alone."""


@dataclass
class Task:
    """A job, with what only the world knows: how long it really takes."""

    id: str
    project_id: str
    seconds: float
    priority: int = 0
    need: Need = ONE
    is_foreseen: bool = True
    """Whether its length is known to the policy."""
    state: State = "queued"
    queued_at: float = 0.0
    left: float = 0.0
    run_id: str | None = None
    wanted: str | None = None
    failed_attempts: int = 0
    not_before: float = 0.0
    blocked_at: float | None = None
    held_host: str | None = None
    promised_at: float | None = None
    starts: list[float] = field(default_factory=list)
    finished_at: float | None = None
    preemptions: int = 0

    @property
    def place(self) -> tuple[int, float, str, Task]:
        """Its place within its project."""
        return (-self.priority, self.queued_at, self.id, self)

    def waiting(self) -> Waiting:
        return Waiting(self.id, self.project_id, self.priority, moment(self.queued_at), self.need, _maybe(self.blocked_at),
                       self.held_host, _maybe(self.promised_at), self.left if self.is_foreseen else None)


@dataclass
class World:
    hosts: dict[str, Host]
    policy: Policy
    weights: dict[str, float] = field(default_factory=dict)
    is_preempting: bool = True
    now: float = 0.0
    tasks: dict[str, Task] = field(default_factory=dict)
    running: dict[str, Running] = field(default_factory=dict)
    uses: list[tuple[str, float, float, int]] = field(default_factory=list)
    """(project, from, to, devices): all that was ever held."""
    _queues: dict[str, list[tuple[int, float, str, Task]]] = field(default_factory=dict)
    _recent: dict[str, tuple[float, float]] = field(default_factory=dict)
    _noted: dict[str, float] = field(default_factory=dict)
    _events: list[tuple[float, int, str, Any]] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=count)
    _ticks_at: float | None = None

    def submit(self, task: Task, at: float) -> None:
        """Let a job come at a moment."""
        self._push(at, "submit", task)

    def run(self, until: float = float("inf")) -> None:
        """Turn the clock to the end of all that is known, or to `until`."""
        while self._events and self._events[0][0] <= until:
            at, _, kind, what = heapq.heappop(self._events)
            self.now = max(self.now, at)
            getattr(self, f"_on_{kind}")(what)
            if not self._events or self._events[0][0] > self.now:
                self.decide()

    def decide(self) -> None:
        """Let every worker look, then the one that makes room."""
        while any(self._claim(name) for name in self.hosts):
            pass
        if self.is_preempting:
            for room in self._rooms():
                self._make_room(room)
        self._tick_if_needed()

    def end(self, run_id: str, ending: Ending) -> None:
        """End a run, as its supervisor or the reaper would, and move its job on."""
        run = self.running.pop(run_id)
        self._note(run)
        self._noted.pop(run_id)
        task = self.tasks[run.job_id]
        assert task.run_id == run_id
        task.left = max(0.0, task.left - (self.now - _seconds(run.started_at)))
        host = self.hosts[run.host]
        self._put(host, [slot.id for slot in host.slots if slot.run_id == run_id], None)
        verb = verb_of(cast(Job, task), ending)
        if ending.outcome in ("interrupted", "lost"):
            task.not_before = self.now + 2.0**task.failed_attempts
            task.failed_attempts += 1
        task.preemptions += ending.outcome == "preempted"
        self._move(task, LEADS_TO[verb])
        task.run_id, task.wanted = None, None

    def pause(self, task: Task) -> None:
        """What a user asks for: at once where the job waits, a mark where it runs."""
        if task.state == "queued":
            self._move(task, "paused")
            task.blocked_at = task.held_host = task.promised_at = None
        elif task.state == "running":
            self._move(task, "pausing")
            task.wanted = "pause"
            self._tell_to_end(task)

    def resume(self, task: Task) -> None:
        if task.state == "paused":
            self._move(task, "queued")

    def cancel(self, task: Task) -> None:
        if task.state in ("queued", "paused"):
            self._move(task, "cancelled")
        elif task.state in ("running", "pausing") and task.wanted != "cancel":
            task.wanted = "cancel"
            self._tell_to_end(task)

    def shares(self) -> dict[str, Share]:
        for run in self.running.values():
            self._note(run)
        told = {project: Share(weight, self._recent_of(project)) for project, weight in self.weights.items()}
        return with_held(told, self.running.values())

    def queued(self) -> Iterator[Task]:
        """Jobs that are due, project by project, each in its own order."""
        return (task for queue in self._queues.values() for *_, task in queue if task.not_before <= self.now)

    def _claim(self, name: str) -> bool:
        host = self.hosts[name]
        if not host.idle_workers or not host.free:
            return False
        choice = choose(self._turns(), self._cluster(), name, now=moment(self.now), policy=self.policy)
        for place in choice.blocked:
            task = self.tasks[place.job.id]
            task.blocked_at, task.held_host = self.now if task.blocked_at is None else task.blocked_at, place.host
            if task.promised_at is None and place.promised_at is not None:
                task.promised_at = _seconds(place.promised_at)
        if choice.job is None:
            return False
        self._start(self.tasks[choice.job.id], host, choice)
        return True

    def _start(self, task: Task, host: Host, choice: Choice) -> None:
        ids = [slot.id for slot in choice.slots]
        assert len(ids) == task.need.devices
        assert len({slot.kind for slot in choice.slots}) == 1
        assert all(slot.run_id is None and task.need.suits(slot) for slot in choice.slots)
        self._check_passes_nobody_that_holds(task, host, ids)
        self._move(task, "running")
        run_id = f"run{next(self._numbers)}"
        ends_at = moment(self.now + task.left) if task.is_foreseen else None
        self.running[run_id] = Running(run_id, task.id, task.project_id, task.priority, host.name, task.need.devices,
                                       moment(self.now), ends_at)
        self._noted[run_id] = self.now
        self._put(host, ids, run_id)
        task.run_id, task.blocked_at, task.held_host, task.promised_at = run_id, None, None, None
        task.starts.append(self.now)
        self._push(self.now + task.left, "done", run_id)

    def _check_passes_nobody_that_holds(self, task: Task, host: Host, ids: Sequence[str]) -> None:
        """What starts takes nothing that is kept for the first blocked job in turn of its host, once that one holds."""
        for turn in self._turns():
            if turn.id == task.id:
                return  # it was its own turn
            has_room = any(each.idle_workers and choose_slots(turn.need, each.free) for each in self.hosts.values())
            if turn.held_host == host.name and not has_room:
                kept = [slot.id for slot in host.free if turn.need.suits(slot)]
                is_kept = turn.holds(moment(self.now), self.policy) and any(slot_id in kept for slot_id in ids)
                assert not is_kept, f"{task.id} took what is kept for {turn.id}"
                return

    def _rooms(self) -> list[Room]:
        lowest = min((run.priority for run in self.running.values()), default=None)
        if lowest is None or not any(queue and -queue[0][0] > lowest for queue in self._queues.values()):
            return []
        return plan_room(self._turns(), self._cluster(), Standing(), now=moment(self.now), policy=self.policy)

    def _make_room(self, room: Room) -> None:
        host = self.hosts[room.host]
        soon = {run.id for run in self.running.values() if run.is_leaving} | set(room.run_ids)
        for run_id in room.run_ids:
            run = self.running[run_id]
            assert run.priority < room.job.priority
            assert (moment(self.now) - run.started_at).total_seconds() >= self.policy.preempt_after_seconds
            if sum(other.priority > run.priority for other in self.queued()) == 1:
                without = [slot for slot in host.slots if slot.run_id is None or slot.run_id in soon - {run_id}]
                assert choose_slots(room.job.need, without) is None or not host.idle_workers, "nobody leaves without need"
            task = self.tasks[run.job_id]
            assert task.wanted is None
            task.wanted = "preempt"
            self._tell_to_end(task)
        taker = self.tasks[room.job.id]
        taker.blocked_at, taker.held_host = self.now if taker.blocked_at is None else taker.blocked_at, room.host

    def _tell_to_end(self, task: Task) -> None:
        assert task.run_id is not None
        self.running[task.run_id] = replace(self.running[task.run_id], is_leaving=True)
        self._push(self.now + SAVE_SECONDS, "left", task.run_id)

    def _on_submit(self, task: Task) -> None:
        task.left, task.queued_at = task.seconds, self.now
        self.tasks[task.id] = task
        insort(self._queues.setdefault(task.project_id, []), task.place)
        self.weights.setdefault(task.project_id, 1.0)

    def _on_done(self, run_id: str) -> None:
        if run_id in self.running:
            self.end(run_id, Ending("succeeded"))

    def _on_left(self, run_id: str) -> None:
        if run_id in self.running:
            wanted = self.tasks[self.running[run_id].job_id].wanted
            outcome = {"pause": "paused", "cancel": "cancelled"}.get(wanted or "", "preempted")
            self.end(run_id, Ending(cast(Any, outcome)))

    def _on_tick(self, _: None) -> None:
        self._ticks_at = None

    def _tick_if_needed(self) -> None:
        if any(self._queues.values()) and self._ticks_at is None:
            self._ticks_at = self.now + TICK_SECONDS
            self._push(self._ticks_at, "tick", None)

    def _turns(self) -> Iterator[Waiting]:
        queues = {project: (task.waiting() for *_, task in queue if task.not_before <= self.now)
                  for project, queue in self._queues.items()}
        return in_turn(queues, self.shares(), now=moment(self.now), policy=self.policy)

    def _cluster(self) -> Cluster:
        return Cluster(self.hosts, self.running)

    def _put(self, host: Host, ids: Sequence[str], run_id: str | None) -> None:
        slots = tuple(replace(slot, run_id=run_id) if slot.id in ids else slot for slot in host.slots)
        idle = host.idle_workers + (1 if run_id is None else -1)
        self.hosts[host.name] = replace(host, slots=slots, idle_workers=idle)

    def _move(self, task: Task, to: State) -> None:
        assert to in MOVES[task.state], f"{task.id}: {task.state} -> {to}"
        if task.state == "queued":
            self._queues[task.project_id].remove(task.place)
        if to == "queued":
            insort(self._queues.setdefault(task.project_id, []), task.place)
        if to in ("succeeded", "failed", "cancelled"):
            task.finished_at = self.now
        task.state = to

    def _note(self, run: Running) -> None:
        since = self._noted[run.id]
        if self.now > since:
            self.uses.append((run.project_id, since, self.now, run.devices))
            self._recent[run.project_id] = (self._recent_of(run.project_id) + run.devices * (self.now - since), self.now)
            self._noted[run.id] = self.now

    def _recent_of(self, project_id: str) -> float:
        seconds, at = self._recent.get(project_id, (0.0, self.now))
        return seconds * decay(self.now - at, self.policy.half_life_seconds)

    def _push(self, at: float, kind: str, what: Any) -> None:
        heapq.heappush(self._events, (at, next(self._numbers), kind, what))


def moment(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def _seconds(at: datetime) -> float:
    return (at - START).total_seconds()


def _maybe(seconds: float | None) -> datetime | None:
    return None if seconds is None else moment(seconds)


__all__ = ["START", "Task", "World", "moment"]
