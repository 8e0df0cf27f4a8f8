"""How fast a run is and when it ends, from the figures of its steps.

Rates are exponential averages over steps of tokens and of seconds apart, and their quotient is shown, so a slow step counts
by its time. The first steps of a run, which load and compile, fade within some tens of steps.

A step's seconds leave out what comes between steps: evaluations, saving. They come in lumps, so they are not averaged but
summed over the run: its `Pace` says by how much the clock ran ahead of the steps, and the time left is stretched by that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from core.jobs.models import Job
from core.jobs.sources import named_sources

WEIGHT = 0.1
"""Share of the newest step in an average."""
LEAST_PACED_SECONDS = 2.0
"""A run of fewer seconds tells nothing of what comes between its steps."""
MOST_STRETCH = 20.0
FORESEEN_SECONDS = 100 * 365 * 24 * 3600.0
"""What would take longer nobody can tell: a forecast beyond a century is none, and calendars end."""


@dataclass(frozen=True)
class Rates:
    """Averages per step."""

    seconds: float = 0.0
    tokens: float = 0.0
    waited_seconds: float = 0.0

    def with_step(self, *, seconds: float, tokens: float, waited_seconds: float) -> Rates:
        if self.seconds == 0.0:
            return Rates(seconds, tokens, waited_seconds)
        return Rates(_mix(self.seconds, seconds), _mix(self.tokens, tokens), _mix(self.waited_seconds, waited_seconds))

    @property
    def tokens_per_second(self) -> float | None:
        return self.tokens / self.seconds if self.seconds > 0 else None

    @property
    def data_wait_share(self) -> float | None:
        return min(1.0, self.waited_seconds / self.seconds) if self.seconds > 0 else None

    def eta_seconds(self, steps_left: int) -> float | None:
        return self.seconds * max(0, steps_left) if self.seconds > 0 else None


@dataclass(frozen=True)
class Pace:
    """One run as the clock saw it, from the start of its first step."""

    run_id: str | None
    began_at: float
    """Unix seconds."""
    ended_at: float
    """When its newest step was reported."""
    steps: int = 0
    tokens: int = 0
    step_seconds: float = 0.0
    """Sum over its steps."""

    @classmethod
    def of(cls, progress: Mapping[str, Any] | None) -> Pace | None:
        told = (progress or {}).get("pace")
        return cls(**told) if told else None

    def with_steps(self, rows: Sequence[dict[str, Any]], *, now: datetime) -> Pace:
        seconds, tokens = _sum(rows, "step_seconds"), int(_sum(rows, "tokens"))
        return replace(self, ended_at=now.timestamp(), steps=self.steps + len(rows), tokens=self.tokens + tokens,
                       step_seconds=self.step_seconds + seconds)

    @property
    def seconds(self) -> float:
        return self.ended_at - self.began_at

    @property
    def stretch(self) -> float:
        """How much longer the run took than its steps alone."""
        if self.step_seconds < LEAST_PACED_SECONDS:
            return 1.0
        return min(MOST_STRETCH, max(1.0, self.seconds / self.step_seconds))


def advance(job: Job, rows: Sequence[dict[str, Any]], *, now: datetime) -> None:
    """Move a job's step, tokens and progress by the figures of steps that are new to it."""
    before = job.progress or {}
    rates = Rates(**before.get("rates", {}))
    for row in rows:
        rates = rates.with_step(seconds=row.get("step_seconds") or 0.0, tokens=row.get("tokens") or 0,
                                waited_seconds=row.get("data_wait_seconds") or 0.0)
    pace = _paced(job, rows, now=now)
    newest = max(rows, key=lambda row: row["step"])
    job.step = max(job.step, newest["step"])
    job.processed_tokens += sum(row.get("tokens") or 0 for row in rows)
    job.failed_attempts = 0
    job.progress = {**before, **_shown(job, rates, pace, newest, now=now), "rates": vars(rates), "pace": vars(pace)}


def seconds_left(job: Job) -> float | None:
    """Training time that a job still needs, by its own steps so far; None before its first step."""
    return _left(job, Rates(**(job.progress or {}).get("rates", {})), Pace.of(job.progress))


def _left(job: Job, rates: Rates, pace: Pace | None) -> float | None:
    eta = rates.eta_seconds(job.total_steps - job.step) if job.total_steps is not None else None
    left = eta * pace.stretch if eta is not None and pace is not None else eta
    return left if left is not None and left <= FORESEEN_SECONDS else None


def _paced(job: Job, rows: Sequence[dict[str, Any]], *, now: datetime) -> Pace:
    """The run's pace with these steps; a new run's begins with them."""
    known = Pace.of(job.progress)
    if known is None or known.run_id != job.run_id:
        known = Pace(job.run_id, now.timestamp() - _sum(rows, "step_seconds"), now.timestamp())
    return known.with_steps(rows, now=now)


def _shown(job: Job, rates: Rates, pace: Pace, newest: dict[str, Any], *, now: datetime) -> dict[str, Any]:
    eta = _left(job, rates, pace)
    finish = now + timedelta(seconds=eta) if eta is not None else None
    return {
        "step": job.step,
        "total_steps": job.total_steps,
        "epoch": newest.get("epoch"),
        "phase": "training",
        "tokens_per_second": rates.tokens_per_second,
        "train_loss": newest.get("train_loss"),
        "sources": _sources(job, newest),
        "skipped_rows": sum((newest.get("source_skipped") or {}).values()),
        "untrained_rows": newest.get("untrained_rows") or 0,
        "overlong": newest.get("overlong_rows") or {},
        "data_wait_share": rates.data_wait_share,
        "eta_seconds": eta,
        "estimated_finish": int(finish.timestamp()) if finish is not None else None,
    }


def _sources(job: Job, newest: dict[str, Any]) -> list[dict[str, Any]]:
    """How often each source was passed over so far, and how many of its rows were skipped."""
    drawn, skipped = newest.get("source_drawn") or {}, newest.get("source_skipped") or {}
    rows = {source["name"]: source.get("rows") for source in named_sources(job)}
    return [{"source": name, "drawn": count, "rows": size, "epochs": count / size if size else None,
             "skipped_rows": skipped.get(name, 0)}
            for name, count, size in ((name, count, rows.get(name)) for name, count in drawn.items())]


def _sum(rows: Sequence[dict[str, Any]], name: str) -> float:
    return sum(row.get(name) or 0 for row in rows)


def _mix(old: float, new: float) -> float:
    return (1 - WEIGHT) * old + WEIGHT * new
