"""What becomes of a job when its run ends.

| the run | the job |
| --- | --- |
| succeeded | succeeded, with its model and result file, whatever was asked meanwhile: all steps are done |
| anything else, a cancel was asked for | cancelled |
| failed by the user's data or settings, or by memory after less was tried | failed, with the run's error |
| anything else, a pause was asked for | paused |
| preempted (a job of higher priority needs its devices) | queued at its old place, due at once; no bad end |
| handed back (its worker stops) | queued, due at once; no bad end |
| handed back with a cause (its host's disk is full) | queued, due after the longest wait; no bad end |
| failed by the infrastructure, interrupted | queued, due after a growing wait; the third without a new step: failed |
| lost: its worker died, or let its lease lapse | the same, but for the tenth in a row |

A child that ends badly three times over is taken for the job's own fault. That of a worker's death is seldom the job: whoever
kills workers must do it ten times before the job is given up, and those deaths do not add to the child's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.checkpoints.service import final_of
from core.errors import IllegalMove
from core.jobs.models import Job, Run
from core.jobs.moves import move
from core.jobs.states import State
from core.models.service import add_tuned_model

Outcome = Literal["succeeded", "failed", "cancelled", "paused", "preempted", "handed_back", "interrupted", "lost"]

MAX_BAD_ENDS = 3
"""Bad ends without a new step or checkpoint that end a job."""
MAX_LOST = 10
"""Runs in a row, lost with their workers without a new step, that end a job."""
FIRST_WAIT_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 30.0
FINAL_FAILURES = ("user", "memory")


@dataclass(frozen=True)
class Ending:
    outcome: Outcome
    failure: str | None = None
    """user, memory or infrastructure, of a failed run."""
    error: dict[str, Any] | None = None
    """{code, message, param}."""
    result_file_id: str | None = None


def settle_job(session: Session, job: Job, run: Run, ending: Ending, *, now: datetime) -> Job:
    """Move the job of a run that has just ended."""
    lost = lost_in_a_row(session, job) if ending.outcome == "lost" else 0
    return verb_of(job, ending, lost=lost)(session, job, run, ending, now)


Verb = Callable[[Session, Job, Run, Ending, datetime], Job]


def lost_in_a_row(session: Session, job: Job) -> int:
    """How many of the job's newest runs were lost without a step of progress, one after the other."""
    query = select(Run.outcome, Run.last_step).where(Run.job_id == job.id).order_by(Run.attempt.desc()).limit(MAX_LOST)
    return sum(1 for _ in takewhile(lambda run: run == ("lost", job.step), (tuple(row) for row in session.execute(query))))


def verb_of(job: Job, ending: Ending, *, lost: int = 0) -> Verb:
    """Choose the row of the table above; `lost` counts the runs in a row that were lost, this one included."""
    if ending.outcome == "succeeded":
        return _succeed
    if job.wanted == "cancel" or ending.outcome == "cancelled":
        return _cancel
    if ending.outcome == "failed" and ending.failure in FINAL_FAILURES:
        return _fail
    if job.state == "pausing":
        return _pause
    if ending.outcome == "preempted":
        return _make_room
    if ending.outcome in ("handed_back", "paused"):
        return _hand_back
    if ending.outcome == "lost":
        return _try_again if lost < MAX_LOST else _give_up
    return _try_again if job.failed_attempts + 1 < MAX_BAD_ENDS else _give_up


def _succeed(session: Session, job: Job, run: Run, ending: Ending, now: datetime) -> Job:
    checkpoint = final_of(session, job.id)
    if checkpoint is None:
        raise IllegalMove(f"job {job.id} has no final checkpoint, so it did not succeed; record one before settling its run")
    model = add_tuned_model(session, job, checkpoint, now=now)
    return move(session, job.id, "succeeded", code="job.succeeded", now=now,
                message=f"The job has succeeded; the model is {model.name}", data={"model": model.name}, **_FREE,
                fine_tuned_model=model.name, result_file_id=ending.result_file_id, trained_tokens=job.processed_tokens)


def _cancel(session: Session, job: Job, run: Run, ending: Ending, now: datetime) -> Job:
    return move(session, job.id, "cancelled", code="job.cancelled", message="The job was cancelled", now=now, **_FREE)


def _fail(session: Session, job: Job, run: Run, ending: Ending, now: datetime) -> Job:
    error = _error(ending)
    return move(session, job.id, "failed", code="job.failed", level="error", message=f"The job failed: {error['message']}",
                now=now, data={"error": error}, error=error, **_FREE)


def _give_up(session: Session, job: Job, run: Run, ending: Ending, now: datetime) -> Job:
    cause = _error(ending)
    number = MAX_LOST if ending.outcome == "lost" else MAX_BAD_ENDS
    told = f"{number} attempts in a row ended at step {job.step} without progress; the last one: {cause['message']}"
    job.failed_attempts += 1
    return _fail(session, job, run, Ending("failed", ending.failure, {**cause, "message": told}), now)


def _pause(session: Session, job: Job, run: Run, ending: Ending, now: datetime) -> Job:
    return move(session, job.id, "paused", code="job.paused", now=now, **_FREE,
                message=f"The job is paused after step {job.step}")


def _hand_back(session: Session, job: Job, run: Run, ending: Ending, now: datetime) -> Job:
    why = f" ({ending.error['message']})" if ending.error else ""
    return move(session, job.id, "queued", code="run.handed_back", now=now, data={"run_id": run.id}, **_FREE,
                not_before=now + timedelta(seconds=LONGEST_WAIT_SECONDS) if ending.error else None,
                message=f"Attempt {run.attempt} was handed back at step {job.step}{why}; the job waits for a worker")


def _make_room(session: Session, job: Job, run: Run, ending: Ending, now: datetime) -> Job:
    return move(session, job.id, "queued", code="run.preempted", now=now, data={"run_id": run.id}, **_FREE, not_before=None,
                preemptions=job.preemptions + 1,
                message=f"Attempt {run.attempt} made room at step {job.step} for a job of higher priority; the job waits at "
                        "its old place and goes on from that step")


def _try_again(session: Session, job: Job, run: Run, ending: Ending, now: datetime) -> Job:
    is_lost = ending.outcome == "lost"
    bad_before = job.failed_attempts + (lost_in_a_row(session, job) - 1 if is_lost else 0)
    wait = min(FIRST_WAIT_SECONDS * 2**bad_before, LONGEST_WAIT_SECONDS)
    error = _error(ending)
    return move(session, job.id, "queued", code="run.interrupted", level="warn", now=now, **_FREE,
                message=f"Attempt {run.attempt} ended at step {job.step} ({error['message']}); it is tried again",
                data={"run_id": run.id, "error": error}, failed_attempts=job.failed_attempts + (not is_lost),
                not_before=now + timedelta(seconds=wait))


LEADS_TO: dict[Verb, State] = {
    _succeed: "succeeded", _cancel: "cancelled", _fail: "failed", _give_up: "failed", _pause: "paused", _hand_back: "queued",
    _make_room: "queued", _try_again: "queued",
}
"""Where each row of the table takes the job."""

_FREE: dict[str, Any] = {"run_id": None, "wanted": None}
"""Nobody holds the job, and marks for its supervisor are gone."""


def _error(ending: Ending) -> dict[str, Any]:
    told = ending.error or {}
    return {"code": told.get("code") or "server_error", "message": told.get("message") or f"the run {ending.outcome}",
            "param": told.get("param")}
