"""Measured speeds: each run leaves one row when it ends, and forecasts read the newest of a model on a kind of device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from core.devices.models import Device
from core.forecast.durations import Speed, plan_bytes
from core.forecast.models import RunSpeed
from core.jobs.estimate import Pace
from core.jobs.models import Job, Run

LEAST_STEPS = 3
"""A run of fewer steps is all start."""
NEWEST_RUNS = 20
KEPT = timedelta(days=90)


@dataclass(frozen=True)
class Speeds:
    """By model, name of the devices, and how many of them."""

    measured: Mapping[tuple[str, str, int], Speed]

    def of(self, model: str, device: str, devices: int) -> Speed | None:
        return self.measured.get((model, device, devices))


def note_run(session: Session, job: Job, run: Run, *, now: datetime) -> None:
    """Keep what a run did that is about to end; call it while it still holds its devices. A short run leaves nothing."""
    pace, size = Pace.of(job.progress), plan_bytes(job.resolved)
    held = session.scalars(select(Device).where(Device.run_id == run.id).order_by(Device.ordinal)).all()
    if pace is None or size is None or not held or pace.run_id != run.id or pace.steps < LEAST_STEPS or not job.total_steps:
        return
    if pace.seconds <= 0 or pace.tokens <= 0:
        return
    session.add(RunSpeed(
        run_id=run.id, model=(job.resolved or {}).get("base_model") or job.model, device=held[0].name, devices=len(held),
        tokens=pace.tokens, row_bytes=size * pace.steps / job.total_steps, train_seconds=pace.seconds,
        load_seconds=max(0.0, pace.began_at - run.started_at.timestamp()), ended_at=now))
    session.flush()


def read_speeds(session: Session, *, model: str | None = None) -> Speeds:
    """Look at the newest runs of a base model, or of every one."""
    kinds = select(RunSpeed.model, RunSpeed.device, RunSpeed.devices).distinct()
    rows: dict[tuple[str, str, int], list[RunSpeed]] = {}
    for kind in session.execute(kinds if model is None else kinds.where(RunSpeed.model == model)):
        of_kind = zip((RunSpeed.model, RunSpeed.device, RunSpeed.devices), kind, strict=True)
        query = select(RunSpeed).where(*(column == value for column, value in of_kind))
        rows[kind] = list(session.scalars(query.order_by(RunSpeed.ended_at.desc()).limit(NEWEST_RUNS)))
    return Speeds({kind: speed_of(found) for kind, found in rows.items()})


def speed_of(runs: Sequence[RunSpeed]) -> Speed:
    """Add up what runs did: long ones count by their length."""
    tokens, seconds = sum(run.tokens for run in runs), sum(run.train_seconds for run in runs)
    return Speed(tokens_per_second=tokens / seconds, tokens_per_byte=tokens / sum(run.row_bytes for run in runs),
                 load_seconds=sum(run.load_seconds for run in runs) / len(runs), runs=len(runs))


def forget_speeds(session: Session, *, now: datetime) -> None:
    """Drop rows that are too old to tell anything."""
    session.execute(delete(RunSpeed).where(RunSpeed.ended_at < now - KEPT))
