"""The record of forecasts: noted when made, measured when the thing happens, dropped when it cannot happen any more.

The relative error of a forecast is |foretold − actual| / max(actual, 10 s), both counted from the moment it was made: 0.2 means
that it was wrong by a fifth of the time that it took. A wait of seconds counts as one of ten, or it would say nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from core.db.upsert import upsert
from core.forecast.models import Forecast
from core.jobs.models import Job

What = Literal["start", "finish"]

FLOOR_SECONDS = 10.0
FINISH_MARKS = (0.1, 0.5)
"""Shares of a job's steps behind which its end is foretold for the record."""
COUNTED = 200
"""The newest forecasts that the accuracy is told of."""


@dataclass(frozen=True)
class Accuracy:
    """How wrong the last forecasts were."""

    count: int
    median: float | None
    p90: float | None


def note(session: Session, job_id: str, what: What, predicted_at: datetime | None, *, now: datetime) -> None:
    """Keep a forecast; None says that nobody could tell. Of two that are made at one instant the first is kept."""
    made = upsert(session, Forecast).values(job_id=job_id, what=what, made_at=now, predicted_at=predicted_at)
    session.execute(made.on_conflict_do_nothing())


def note_finish(session: Session, job: Job, *, step_before: int, now: datetime) -> None:
    """Keep what is foretold of a running job's end, once at each of `FINISH_MARKS`."""
    total, told = job.total_steps or 0, (job.progress or {}).get("estimated_finish")
    if told is not None and any(step_before < share * total <= job.step for share in FINISH_MARKS):
        note(session, job.id, "finish", datetime.fromtimestamp(told, UTC), now=now)


def note_move(session: Session, job_id: str, to: str, *, now: datetime) -> None:
    """Measure or drop what was foretold of a job that moves to another state."""
    if to in ("running", "succeeded"):
        _measure(session, job_id, "start" if to == "running" else "finish", now=now)
    if to != "running":
        session.execute(delete(Forecast).where(Forecast.job_id == job_id, Forecast.actual_at.is_(None)),
                        execution_options={"synchronize_session": False})


def relative_error(*, made_at: datetime, predicted_at: datetime, actual_at: datetime) -> float:
    foretold, actual = (predicted_at - made_at).total_seconds(), (actual_at - made_at).total_seconds()
    return abs(foretold - actual) / max(actual, FLOOR_SECONDS)


def accuracy(session: Session, what: What) -> Accuracy:
    """Look at the newest forecasts that were measured."""
    query = select(Forecast.error).where(Forecast.what == what, Forecast.actual_at.is_not(None), Forecast.error.is_not(None))
    return accuracy_of(session.scalars(query.order_by(Forecast.actual_at.desc()).limit(COUNTED)).all())


def accuracy_of(errors: Sequence[float | None]) -> Accuracy:
    found = sorted(error for error in errors if error is not None)
    if not found:
        return Accuracy(0, None, None)
    return Accuracy(len(found), _quantile(found, 0.5), _quantile(found, 0.9))


def _measure(session: Session, job_id: str, what: What, *, now: datetime) -> None:
    query = select(Forecast).where(Forecast.job_id == job_id, Forecast.what == what, Forecast.actual_at.is_(None))
    for forecast in session.scalars(query):
        forecast.actual_at = now
        if forecast.predicted_at is not None:
            forecast.error = relative_error(made_at=forecast.made_at, predicted_at=forecast.predicted_at, actual_at=now)
    session.flush()


def _quantile(ordered: Sequence[float], share: float) -> float:
    """The value below which that share lies, between neighbours by their distance."""
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)
