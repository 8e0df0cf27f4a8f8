"""The reaper: ends what nobody renews, makes room for what comes first, and rings for what nobody heard.

One process holds the role at a time, under a lease of its own. A run's lease is ended only if this reaper has itself seen the
row stand still for a whole lease, look after look, with the ledger answering each time: a reaper that slept, or whose ledger
was away, begins to watch anew. So a clock that jumps, or an outage of everything, ends no run.

It waits for no row: what another transaction keeps is left for the next look. Neither one run nor any of its other duties
keeps a dead run from being ended.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy.orm import Session

from core.clock import Clock, system_clock
from core.db.session import Ledger, database_now, wait_at_most
from core.jobs import claims
from core.jobs.models import Run
from core.jobs.repository import holding_runs, is_any_due
from core.logs import get_log
from core.queue.notes import has_unnoted, note_starts
from core.queue.service import Sharing
from core.quotas.limits import NO_RULES, Rules
from core.scheduling import service as scheduling
from core.scheduling.policy import DEFAULT, Policy
from worker.away import is_away
from worker.role import RoleThread

log = get_log(__name__)

ROLE = "reaper"
TICK_SECONDS = 1.0
GAP_SECONDS = 5.0
"""A longer time between two looks is a sleep: what was seen before it counts for nothing."""
LOCK_SECONDS = 0.25
"""Longer than a transaction of ours keeps a row, and many times shorter than a gap: several that hang make none."""
FORETELL_EVERY_SECONDS = 2.0


class Watch:
    """How long each run's row has stood still, as seen by one watcher's own clock."""

    def __init__(self, lease_seconds: float) -> None:
        self._lease_seconds = lease_seconds
        self._seen: dict[str, tuple[int, float]] = {}
        self._looked_at: float | None = None

    def look(self, renewals: dict[str, int], now: float) -> dict[str, int]:
        """Take in what the ledger says at `now` (monotonic seconds); give the runs that stood still for a whole lease."""
        if self._looked_at is None or now - self._looked_at > GAP_SECONDS:
            self._seen = {}
        self._looked_at = now
        before = self._seen
        self._seen = {run: before[run] if run in before and before[run][0] == n else (n, now) for run, n in renewals.items()}
        return {run: n for run, (n, since) in self._seen.items() if now - since >= self._lease_seconds}

    def forget(self) -> None:
        """Begin anew, since the ledger did not answer."""
        self._looked_at = None


@dataclass(frozen=True)
class Rings:
    """What the reaper rings with."""

    job: Callable[[str], None]
    train: Callable[[], None]
    train_depth: Callable[[], int | None]


class Reaper(RoleThread):
    """A thread that reaps while it holds the role."""

    def __init__(self, ledger: Ledger, rings: Rings, *, holder: str, lease_seconds: float, clock: Clock = system_clock,
                 policy: Policy = DEFAULT, rules: Rules = NO_RULES) -> None:
        super().__init__(ledger, ROLE, holder=holder, lease_seconds=lease_seconds, every_seconds=TICK_SECONDS)
        self._rings, self._clock, self._policy, self._rules = rings, clock, policy, rules
        self._watch = Watch(lease_seconds)
        self._foretold_at = time.monotonic() - FORETELL_EVERY_SECONDS

    def turn(self) -> None:
        try:
            self.tick(time.monotonic())
        except Exception as error:
            self._watch.forget()
            _tell("reap", error)

    def tick(self, now: float) -> None:
        """Look once; `now` is the watcher's own monotonic clock. Raise what kept it from seeing the runs."""
        with self._write() as session:
            holds = self.holds(session)
        if not holds:
            return self._watch.forget()
        self._end_lapsed(now)
        duties = {"make_room": self._make_room, "ring": self._ring_for_queued, "foretell": lambda: self._note_forecasts(now)}
        for name, duty in duties.items():
            try:
                duty()
            except Exception as error:
                _tell(name, error)
        return None

    def _end_lapsed(self, now: float) -> None:
        with self._ledger.read() as session:
            holding = {run.id: run.renewals for run in holding_runs(session)}
        for run_id, renewals in self._watch.look(holding, now).items():
            try:
                self._end(run_id, renewals)
            except Exception as error:
                _tell("end", error, run_id=run_id)

    def _end(self, run_id: str, renewals: int) -> None:
        with self._write() as session:
            claims.end_lapsed(session, run_id, renewals, policy=self._policy)
            run = session.get_one(Run, run_id)
            job_id, outcome = run.job_id, run.outcome
        if outcome is not None:
            log.warning("run.lapsed", run_id=run_id, job_id=job_id, outcome=outcome)
            self._rings.job(job_id)

    @contextmanager
    def _write(self) -> Iterator[Session]:
        with self._ledger.write() as session:
            wait_at_most(session, LOCK_SECONDS)
            yield session

    def _make_room(self) -> None:
        """Tell runs to make room for jobs of higher priority."""
        with self._ledger.read() as session:
            if not scheduling.is_any_higher(session):
                return
        with self._write() as session:
            told = scheduling.preempt(session, now=database_now(session), policy=self._policy, rules=self._rules)
        for job_id in told:
            log.info("run.preempting", job_id=job_id)
            self._rings.job(job_id)

    def _ring_for_queued(self) -> None:
        """Wake the train workers when jobs are due and no wake-up waits: theirs may have been lost with Redis."""
        with self._ledger.read() as session:
            is_due = is_any_due(session, now=database_now(session))
        if is_due and not self._rings.train_depth():
            self._rings.train()

    def _note_forecasts(self, now: float) -> None:
        """Foretell the starts of jobs that were queued lately, for the record of how wrong forecasts are."""
        if now - self._foretold_at < FORETELL_EVERY_SECONDS:
            return
        with self._ledger.read() as session:
            is_lacking = has_unnoted(session)
        if is_lacking:
            self._foretold_at = now
            sharing = Sharing(self._policy, self._rules)
            with self._write() as session:
                note_starts(session, sharing=sharing, now=self._clock())


def _tell(duty: str, error: Exception, **about: str) -> None:
    log.warning("ledger.away" if is_away(error) else "reaper.fault", duty=duty, cause=str(error), exc_info=not is_away(error),
                **about)
