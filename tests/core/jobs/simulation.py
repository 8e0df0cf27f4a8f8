"""A small world of users, workers, a reaper and a clock that act at random on one ledger, with the promises checked as they go.

Workers die, freeze and come back; commits are lost; users cancel, pause and resume at any moment. The seed gives the whole
history again.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.checkpoints.service import restorable
from core.db.session import Ledger
from core.devices.models import Device
from core.errors import IllegalMove, LeaseLost
from core.events.models import Event
from core.jobs import claims
from core.jobs import service as jobs
from core.jobs.models import Job, Run
from core.jobs.states import FINISHED, HELD
from core.scheduling import service as scheduling
from core.scheduling.policy import Policy
from core.workers import service as workers
from tests.factories import (
    LEASE_SECONDS,
    NOW,
    a_checkpoint,
    a_device,
    a_project,
    a_queued_job,
    a_step,
    events,
    later,
)

TOTAL_STEPS = 6
OUTCOMES = ("handed_back", "interrupted", "failed", "cancelled", "paused", "preempted")
POLICY = Policy(preempt_after_seconds=5.0)


class LostCommit(Exception):
    """The database went away before the commit."""


@dataclass
class Attempt:
    """What a worker remembers of its run; it may be wrong."""

    claim: claims.Claim
    step: int
    is_ended: bool = False
    """The world knows that the run was ended; the worker does not."""


@dataclass
class World:
    ledger: Ledger
    seed: int
    jobs: int = 4
    seconds: float = 0.0
    attempts: list[Attempt] = field(default_factory=list)
    """All that ever were, the zombies too."""
    seen: dict[str, tuple[int, float]] = field(default_factory=dict)
    final: dict[str, str] = field(default_factory=dict)
    refused: int = 0

    def run(self, verbs: int) -> None:
        self.chance = random.Random(self.seed)
        self._fill()
        for _ in range(verbs):
            self._act(self.chance.choices(*self._verbs())[0])
        self._drain()

    def _fill(self) -> None:
        with self.ledger.write() as session:
            for number in range(3):
                workers.announce(session, worker_id=f"wrk_{number}", host="host", pid=1, queue="train", version="1",
                                 now=later(1e6))
            self.devices = [a_device(session, ordinal=n).id for n in range(3)]
            projects = [a_project(session, name) for name in ("one", "two")]
            self.project = {a_queued_job(session, self.chance.choice(projects), total_steps=TOTAL_STEPS,
                                         priority=self.chance.choice((0, 0, 5))).id: None for _ in range(self.jobs)}

    def _verbs(self) -> tuple[list[Callable[[Session], None]], list[int]]:
        told = [(self._claim, 20), (self._report, 30), (self._save, 10), (self._renew, 10), (self._settle, 6),
                (self._finish, 12), (self._cancel, 1), (self._preempt, 5), (self._pause, 2), (self._resume, 3),
                (self._reap, 10), (self._lose_worker, 1)]
        return [verb for verb, _ in told], [weight for _, weight in told]

    def _act(self, verb: Callable[[Session], None]) -> None:
        self.seconds += self.chance.choice((0.1, 1.0, 5.0, 15.0))
        try:
            with self.ledger.write() as session:
                verb(session)
                session.flush()
                if self.chance.random() < 0.05:
                    raise LostCommit
        except LostCommit:
            self._believe_the_ledger()
        with self.ledger.read() as session:
            self._check(session)

    def _claim(self, session: Session) -> None:
        claim = claims.claim_next(session, worker_id=f"wrk_{self.chance.randrange(3)}", host="host",
                                  devices=(self.chance.choice(self.devices),), lease_seconds=LEASE_SECONDS,
                                  now=later(self.seconds))
        if claim is not None:
            saved = restorable(session, claim.job.id)
            self.attempts.append(Attempt(claim, saved[0].step if saved else 0))

    def _report(self, session: Session) -> None:
        def write(attempt: Attempt, job: Job, run: Run) -> None:
            upto = min(TOTAL_STEPS, attempt.step + self.chance.randint(1, 3))
            events.append_metrics(session, job, [a_step(n) for n in range(attempt.step + 1, upto + 1)], now=later(self.seconds))
            attempt.step = upto

        self._under_hold(session, write)

    def _save(self, session: Session) -> None:
        def write(attempt: Attempt, job: Job, run: Run) -> None:
            a_checkpoint(session, claims.Claim(job, run), step=attempt.step, kind="recovery")

        self._under_hold(session, write)

    def _renew(self, session: Session) -> None:
        attempt = self._any_attempt()
        if attempt is not None:
            self._expect(attempt, lambda run: claims.renew(session, run.id, run.fence, lease_seconds=LEASE_SECONDS,
                                                           now=later(self.seconds)))

    def _settle(self, session: Session) -> None:
        outcome, failure = self.chance.choice(OUTCOMES), self.chance.choice(("user", "infrastructure"))
        attempt = self._any_attempt()
        if attempt is not None and not (outcome == "cancelled" and attempt.claim.job.wanted != "cancel"):
            self._end(session, attempt, outcome, failure)

    def _finish(self, session: Session) -> None:
        attempt = self._any_attempt()
        if attempt is None or attempt.step < TOTAL_STEPS:
            return
        self._expect(attempt, lambda run: a_checkpoint(session, claims.Claim(*claims.hold(session, run.id, run.fence)),
                                                       step=TOTAL_STEPS, kind="final"))
        self._end(session, attempt, "succeeded", None)

    def _end(self, session: Session, attempt: Attempt, outcome, failure: str | None) -> None:
        self._expect(attempt, lambda run: claims.settle(session, run.id, run.fence, outcome, failure=failure,
                                                        now=later(self.seconds)))
        attempt.is_ended = True

    def _cancel(self, session: Session) -> None:
        job = session.get_one(Job, self.chance.choice(list(self.project)))
        try:
            jobs.cancel(session, job.project_id, job.id, now=later(self.seconds))
        except IllegalMove:
            assert job.state in FINISHED

    def _preempt(self, session: Session) -> None:
        """Tell runs to make room; each has been left alone for its minimum, and something of higher priority waits."""
        now = later(self.seconds)
        for job_id in scheduling.preempt(session, now=now, policy=POLICY):
            job = session.get_one(Job, job_id)
            run = session.get_one(Run, job.run_id)
            assert (job.state, job.wanted) == ("running", "preempt")
            assert (now - run.started_at).total_seconds() >= POLICY.preempt_after_seconds
            assert (session.scalar(select(func.max(Job.priority)).where(Job.state == "queued")) or 0) > job.priority

    def _pause(self, session: Session) -> None:
        self._ask(session, jobs.pause)

    def _resume(self, session: Session) -> None:
        self._ask(session, jobs.resume)

    def _ask(self, session: Session, verb: Callable[..., Job]) -> None:
        """Ask what a user may ask at any moment; a refusal leaves the job as it was."""
        job = session.get_one(Job, self.chance.choice(list(self.project)))
        before = job.state
        try:
            verb(session, job.project_id, job.id, now=later(self.seconds))
        except IllegalMove:
            assert job.state == before

    def _lose_worker(self, session: Session) -> None:
        worker = f"wrk_{self.chance.randrange(3)}"
        claims.end_worker(session, worker, now=later(self.seconds))
        for attempt in self.attempts:
            attempt.is_ended |= attempt.claim.run.worker_id == worker

    def _reap(self, session: Session) -> None:
        """End what stood still, as this watcher saw it, for a whole lease."""
        for run in claims.holding_runs(session):
            renewals, since = self.seen.get(run.id, (None, 0.0))
            if renewals != run.renewals:
                self.seen[run.id] = (run.renewals, self.seconds)
                continue
            is_still = self.seconds - since >= LEASE_SECONDS
            if is_still and claims.end_lapsed(session, run.id, renewals, now=later(self.seconds)):
                next(a for a in self.attempts if a.claim.run.id == run.id).is_ended = True

    def _under_hold(self, session: Session, write: Callable[[Attempt, Job, Run], None]) -> None:
        attempt = self._any_attempt()
        if attempt is not None:
            self._expect(attempt, lambda run: write(attempt, *claims.hold(session, run.id, run.fence)))

    def _expect(self, attempt: Attempt, write: Callable[[Run], object]) -> None:
        """A run that holds may write; one that was ended is refused."""
        if not attempt.is_ended:
            write(attempt.claim.run)
            return
        try:
            write(attempt.claim.run)
        except LeaseLost:
            self.refused += 1
        else:
            raise AssertionError(f"run {attempt.claim.run.id} wrote after it was ended")

    def _any_attempt(self) -> Attempt | None:
        """Mostly one that holds; now and then a zombie."""
        live = [a for a in self.attempts if not a.is_ended]
        return self.chance.choice(live if live and self.chance.random() < 0.9 else self.attempts) if self.attempts else None

    def _believe_the_ledger(self) -> None:
        """After a lost commit a worker reads what is true."""
        with self.ledger.read() as session:
            runs = {run.id: run.state for run in session.scalars(select(Run))}
            self.attempts = [a for a in self.attempts if a.claim.run.id in runs]
            for attempt in self.attempts:
                attempt.is_ended = runs[attempt.claim.run.id] == "ended"
                attempt.step = min(attempt.step, session.get_one(Job, attempt.claim.job.id).step)

    def _check(self, session: Session) -> None:
        holding: dict[str, list[str]] = {}
        for run in claims.holding_runs(session):
            holding.setdefault(run.job_id, []).append(run.id)
        for job in session.scalars(select(Job)):
            holders = [job.run_id] if job.state in HELD else []
            assert holding.get(job.id, []) == holders, "one run holds a job that is held, and none another"
            assert job.fence == job.attempts
            assert self.final.setdefault(job.id, job.state) == job.state if job.state in FINISHED else job.id not in self.final
        held = {run_id for runs in holding.values() for run_id in runs}
        assert held >= {d.run_id for d in session.scalars(select(Device).where(Device.run_id.is_not(None)))}

    def _drain(self) -> None:
        """Let everyone go home: the dead are reaped, and one good worker does what is left."""
        self.seconds += 1000
        with self.ledger.write() as session:
            for run in claims.holding_runs(session):
                assert claims.end_lapsed(session, run.id, run.renewals, now=later(self.seconds))
            for job in session.scalars(select(Job).where(Job.state == "paused")):
                jobs.resume(session, job.project_id, job.id, now=later(self.seconds))
        while True:
            self.seconds += 1000
            with self.ledger.write() as session:
                claim = claims.claim_next(session, worker_id="wrk_good", host="host", devices=(), lease_seconds=LEASE_SECONDS,
                                          now=later(self.seconds))
                if claim is None:
                    break
                events.append_metrics(session, claim.job, [a_step(n) for n in range(1, TOTAL_STEPS + 1)], now=NOW)
                a_checkpoint(session, claim, step=TOTAL_STEPS, kind="final")
                claims.settle(session, claim.run.id, claim.run.fence, "succeeded", now=NOW)
        with self.ledger.read() as session:
            check_ended(session)


def check_ended(session: Session) -> None:
    """Every job has ended, and its log tells it all once."""
    for job in session.scalars(select(Job)):
        assert job.state in FINISHED, f"job {job.id} is left {job.state}"
        log = list(session.scalars(select(Event).where(Event.job_id == job.id).order_by(Event.number)))
        assert [event.number for event in log] == list(range(1, job.last_event + 1)), "numbers have no gap"
        steps = [event.step for event in log if event.step is not None]
        assert steps == list(range(1, job.step + 1)), "each step is reported once, in order"
        assert (log[-1].data or {})["code"] == f"job.{job.state}", "the terminal event is the last"
        fences = list(session.scalars(select(Run.fence).where(Run.job_id == job.id).order_by(Run.attempt)))
        assert fences == list(range(1, len(fences) + 1))
    assert not session.scalar(select(func.count()).select_from(Device).where(Device.run_id.is_not(None)))
