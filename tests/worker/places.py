"""A place to supervise in, and a job to supervise, without a server: a ledger, a folder, a fake child."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from core.clock import system_clock
from core.db.session import Ledger
from core.devices import service as devices
from core.jobs import claims
from core.jobs import service as jobs
from core.jobs.claims import Claim
from core.jobs.models import Job, Run
from core.jobs.moves import move
from core.quotas.limits import Rules
from core.settings import Settings
from core.storage.artifacts import Artifacts
from tests import factories
from worker.supervisor import Place

HOST = "host"


def a_place(ledger: Ledger, folder: Path, *options: str, rung: list[str] | None = None, **settings: Any) -> Place:
    """A place whose children are fake ones, started with `options`."""
    rings = [] if rung is None else rung
    told = {"home": folder, "lease_seconds": 3.0, "min_free_bytes": 0, "device": "cpu", "threads": 1, **settings}
    return Place(ledger, Artifacts(folder / "storage"), Settings(**told), rings.append, system_clock, threading.Event(),
                 command=(sys.executable, "-m", "tests.worker.fake_child", *options))


def a_claim(place: Place, *, total_steps: int = 6, **fields: Any) -> Claim:
    """A job that is planned, queued and claimed, on one device of the host."""
    with place.ledger.write() as session:
        a_planned_job(session, place, total_steps=total_steps, **fields)
    return claim_again(place)


def claim_again(place: Place) -> Claim:
    """Claim the job that is queued, whatever it waits for."""
    with place.ledger.write() as session:
        for job in session.query(Job).filter(Job.state == "queued"):
            job.not_before = None
        device = factories.a_device(session, HOST)
        claim = claims.claim_next(session, worker_id="wrk_1", host=HOST, devices=[device.id],
                                  lease_seconds=place.settings.lease_seconds)
    assert claim is not None
    return claim


def a_planned_job(session: Session, place: Place, *, total_steps: int, **fields: Any) -> Job:
    project = factories.a_project(session)
    base = factories.a_base_model(session)
    base.folder = str(place.artifacts.root.parent)
    place.artifacts.root.mkdir(parents=True, exist_ok=True)
    dataset, _ = factories.a_dataset(session, project)
    job = factories.a_spec(datasets=[{"dataset": dataset.id}], seed=7, **fields)

    row = jobs.submit(session, project.id, job, now=factories.next_moment(), rules=Rules())
    resolved = {"n_epochs": 2, "batch_size": 4, "learning_rate_multiplier": 1.0, "learning_rate": 2e-4, "max_length": 128,
                "rows": 12, "validation_rows": 0, "total_steps": total_steps, "epoch_ends": [total_steps // 2, total_steps]}
    return move(session, row.id, "queued", code="job.queued", message="queued", now=factories.NOW, resolved=resolved,
                total_steps=total_steps, queued_at=factories.next_moment())


def read_job(place: Place, claim: Claim) -> Job:
    with place.ledger.read() as session:
        return session.get_one(Job, claim.job.id)


def read_run(place: Place, claim: Claim) -> Run:
    with place.ledger.read() as session:
        return session.get_one(Run, claim.run.id)


def free_devices(place: Place) -> int:
    with place.ledger.read() as session:
        return len(devices.free(session, HOST))
