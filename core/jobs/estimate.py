"""How fast a run is and when it ends, from the figures of its steps.

Rates are exponential averages over steps of tokens and of seconds apart, and their quotient is shown, so a slow step counts
by its time. The first steps of a run, which load and compile, fade within some tens of steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from core.jobs.models import Job
from core.jobs.sources import named_sources

WEIGHT = 0.1
"""Share of the newest step in an average."""


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


def advance(job: Job, rows: Sequence[dict[str, Any]], *, now: datetime) -> None:
    """Move a job's step, tokens and progress by the figures of steps that are new to it."""
    before = job.progress or {}
    rates = Rates(**before.get("rates", {}))
    for row in rows:
        rates = rates.with_step(seconds=row.get("step_seconds") or 0.0, tokens=row.get("tokens") or 0,
                                waited_seconds=row.get("data_wait_seconds") or 0.0)
    newest = max(rows, key=lambda row: row["step"])
    job.step = max(job.step, newest["step"])
    job.processed_tokens += sum(row.get("tokens") or 0 for row in rows)
    job.failed_attempts = 0
    job.progress = {**before, **_shown(job, rates, newest, now=now), "rates": vars(rates)}


def _shown(job: Job, rates: Rates, newest: dict[str, Any], *, now: datetime) -> dict[str, Any]:
    eta = rates.eta_seconds(job.total_steps - job.step) if job.total_steps is not None else None
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


def _mix(old: float, new: float) -> float:
    return (1 - WEIGHT) * old + WEIGHT * new
