"""Workers as people look at them: alive, refusing or silent, what they supervise, what their host computes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.devices.models import Device
from core.jobs.models import Job, Run
from core.workers.models import Worker
from core.workers.service import ALIVE_SECONDS

SILENT_SECONDS = 3600.0
"""A worker that was silent for longer is not told of any more."""


Health = Literal["alive", "refusing", "silent"]


@dataclass(frozen=True)
class SeenDevice:
    device: Device
    job_id: str | None
    project_id: str | None


@dataclass(frozen=True)
class SeenWorker:
    worker: Worker
    health: Health
    """silent: it did not renew its row lately; refusing: it did, and takes no job at present."""
    job_id: str | None
    project_id: str | None
    """Of the job that it supervises."""
    devices: Sequence[SeenDevice]


def seen_workers(session: Session, *, now: datetime) -> list[SeenWorker]:
    """Workers that have not stopped, by host and age."""
    query = select(Worker).where(Worker.stopped_at.is_(None), Worker.seen_at >= now - timedelta(seconds=SILENT_SECONDS))
    runs = session.execute(select(Run.id, Run.worker_id, Job.id, Job.project_id).join(Job, Job.run_id == Run.id)
                           .where(Run.state == "holding")).all()
    by_run = {run_id: (job_id, project_id) for run_id, _, job_id, project_id in runs}
    by_worker = {worker_id: (job_id, project_id) for _, worker_id, job_id, project_id in runs}
    devices: dict[str, list[SeenDevice]] = {}
    for device in session.scalars(select(Device).order_by(Device.kind, Device.ordinal)):
        devices.setdefault(device.host, []).append(SeenDevice(device, *by_run.get(device.run_id or "", (None, None))))
    since = now - timedelta(seconds=ALIVE_SECONDS)
    return [SeenWorker(worker, _health(worker, since), *by_worker.get(worker.id, (None, None)),
                       devices.get(worker.host, []) if worker.queue == "train" else [])
            for worker in session.scalars(query.order_by(Worker.host, Worker.started_at, Worker.id))]


def _health(worker: Worker, since: datetime) -> Health:
    if worker.seen_at < since:
        return "silent"
    return "alive" if worker.refusal is None else "refusing"
