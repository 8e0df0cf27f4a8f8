"""Jobs whose mixture can be changed: planned over indexed files, with or without a run that holds them."""

from __future__ import annotations

from pathlib import Path

import orjson
from sqlalchemy.orm import Session

from core.datasets import service as datasets
from core.datasets.models import Dataset, DatasetVersion
from core.jobs import claims
from core.jobs.claims import Claim
from core.jobs.models import Job
from core.jobs.preparation import prepare
from core.jobs.repository import lock_job
from core.projects.models import Project
from core.storage.artifacts import Artifacts
from tests import factories
from tests.indexing import index_uploads
from tests.streams import chat_row


def a_real_dataset(session: Session, artifacts: Artifacts, name: str, *, rows: int = 20, project: Project | None = None
                   ) -> tuple[Dataset, DatasetVersion]:
    """A data set with a file and an index on disk; its rows differ from those of other names."""
    project = project or factories.a_project(session)
    file = factories.a_file(session, project, filename=f"{name}.jsonl")
    path = artifacts.path(file.storage_key)
    path.parent.mkdir(parents=True, exist_ok=True)
    first = sum(map(ord, name)) * 1000
    path.write_bytes(b"".join(orjson.dumps(chat_row(first + n)) + b"\n" for n in range(rows)))
    dataset, version = datasets.register(session, project.id, name=name, rows=datasets.Rows([file.id], shape="chat"),
                                         now=factories.next_moment())
    return dataset, index_uploads(session, version, artifacts, now=factories.NOW)


def a_planned_job(session: Session, artifacts: Artifacts, *names: str, weights: tuple[float, ...] = (), batch_size: int = 4,
                  epochs: int = 3, project: Project | None = None, **fields) -> Job:
    """A queued job over data sets of 20 rows each."""
    factories.a_base_model(session)
    for name in names:
        a_real_dataset(session, artifacts, name, project=project)
    told = [{"dataset": name, "weight": weight} for name, weight in zip(names, weights or (1.0,) * len(names), strict=True)]
    job = factories.a_job(session, project, datasets=told, seed=7,
                          hyperparameters={"batch_size": batch_size, "n_epochs": epochs}, **fields)
    assert prepare(session, job.id, artifacts=artifacts, now=factories.NOW) == "queued", job.error
    locked = lock_job(session, job.id)
    assert locked is not None
    return locked


def claimed(session: Session, job: Job | None = None) -> Claim:
    """Claim a job; of several that wait, the one given."""
    if job is not None:
        job.priority = 100
        session.flush()
    claim = claims.claim_next(session, worker_id="wrk_1", host="host", devices=(), lease_seconds=30.0, now=factories.NOW)
    assert claim is not None
    assert job is None or claim.job.id == job.id
    return claim


def artifacts_in(folder: Path) -> Artifacts:
    folder.mkdir(parents=True, exist_ok=True)
    return Artifacts(folder)
