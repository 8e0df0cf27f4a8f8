"""Jobs as clients use them: submit, look up, list; cancel, pause and resume come from `core/jobs/stops.py`.

A submit is one transaction: the job, its first events, the chore that prepares it, and the key that makes its repetition
harmless. It holds the project's row, so limits and repeated keys are decided one submit at a time.
"""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import String, cast, select
from sqlalchemy.orm import Session

from core.chores import service as chores
from core.chores.kinds import PREPARE_JOB
from core.datasets import service as datasets
from core.datasets.models import DatasetVersion
from core.db.paging import Page, read_page
from core.db.pairs import has_pair
from core.errors import InvalidValue, shown
from core.events.service import append_message
from core.files.repository import get_file
from core.ids import new_id
from core.jobs.models import IdempotencyKey, Job
from core.jobs.repository import get_job
from core.jobs.stops import cancel, pause, resume
from core.models.service import resolve_base
from core.projects.repository import lock_project
from core.projects.service import check_priority
from core.quotas.limits import Rules
from core.quotas.service import check_submit
from core.specs.job import SPEC_VERSION, JobSpec
from core.steering.schedule import plan_mixture

KEY_LIFE = timedelta(hours=24)
TWIN_WINDOW = timedelta(minutes=1)
SEED_BELOW = 2**31


def submit(session: Session, project_id: str, spec: JobSpec, *, now: datetime, rules: Rules,
           idempotency: tuple[str, str] | None = None, key_id: str | None = None) -> Job:
    """Take a job in, in state validating_files. `idempotency` is the client's key and the digest of its request, `key_id` the
    API key that asks.

    Raises NotFound or InvalidValue for what the spec names and is not there, LimitReached where a quota is used up."""
    lock_project(session, project_id)
    repeated = _find_repeated(session, project_id, idempotency, now) if idempotency else None
    if repeated is not None:
        return repeated
    check_submit(session, project_id, key_id, rules=rules, now=now)
    resolve_base(session, project_id, spec.model)
    check_priority(session, project_id, spec.priority or 0)
    job = _add_job(session, project_id, spec, key_id=key_id, now=now)
    plan_mixture(session, job, spec.mixture_schedule or (), now=now)
    append_message(session, job, code="job.created", message=f"Created fine-tuning job: {job.id}", now=now)
    append_message(session, job, code="job.validating", message="Checking the data and making the plan", now=now)
    chores.add(session, PREPARE_JOB, job.id)
    if idempotency:
        _remember(session, project_id, idempotency, job.id, now=now)
    return job


def find_twin(session: Session, project_id: str, spec: JobSpec, *, now: datetime) -> Job | None:
    """Give the job of an equal request within the last minute: a client library that repeats a request sends no key."""
    query = select(Job).where(Job.project_id == project_id, Job.created_at >= now - TWIN_WINDOW).order_by(Job.created_at.desc())
    told = spec_json(spec)
    return next((job for job in session.scalars(query) if job.spec == told), None)


def list_jobs(session: Session, project_id: str, *, after: str | None, limit: int,
              metadata: dict[str, str] | Literal["null"] | None = None) -> Page[Job]:
    """A page, newest first; `metadata` keeps jobs that have all its pairs, or with "null" those that have none."""
    query = select(Job).where(Job.project_id == project_id)
    if metadata == "null":
        query = query.where(cast(Job.spec["metadata"].as_string(), String).is_(None))
    elif metadata:
        query = query.where(*[has_pair(session, Job.spec, "metadata", key, value) for key, value in metadata.items()])
    seen = get_job(session, project_id, after, param="after") if after is not None else None
    return read_page(session, query, table=Job, after=seen, limit=limit)


def spec_json(spec: JobSpec) -> dict[str, Any]:
    return spec.model_dump(mode="json")


def draft(session: Session, project_id: str, spec: JobSpec, *, now: datetime, key_id: str | None = None) -> Job:
    """The job that a submit would make, in no table. A file that it names gets the data set that stands for it."""
    return Job(
        id=new_id("job"), project_id=project_id, key_id=key_id, state="validating_files", spec=spec_json(spec),
        spec_version=SPEC_VERSION,
        model=spec.model, seed=secrets.randbelow(SEED_BELOW) if spec.seed is None else spec.seed, priority=spec.priority or 0,
        devices=spec.options.devices if spec.options else 1,
        training_file_id=spec.training_file, validation_file_id=spec.validation_file,
        sources=_sources(session, project_id, spec, now=now),
        validation_version_id=_validation_version(session, project_id, spec, now=now), created_at=now,
    )


def _add_job(session: Session, project_id: str, spec: JobSpec, *, key_id: str | None, now: datetime) -> Job:
    job = draft(session, project_id, spec, key_id=key_id, now=now)
    session.add(job)
    session.flush()
    return job


def _sources(session: Session, project_id: str, spec: JobSpec, *, now: datetime) -> list[dict[str, Any]]:
    if spec.training_file is not None:
        file = get_file(session, project_id, spec.training_file, param="training_file")
        version = datasets.version_for_file(session, project_id, file.id, now=now)
        return [{"version_id": version.id, "name": file.filename, "weight": 1.0}]
    sources: list[dict[str, Any]] = []
    for number, entry in enumerate(spec.datasets or []):
        param = f"datasets.{number}.dataset"
        dataset, version = datasets.usable_version(session, project_id, entry.dataset, entry.version, param=param)
        if any(version.id == source["version_id"] for source in sources):
            raise InvalidValue(f"{param} names version {version.number} of data set {dataset.id} again; name it once, with the "
                               "weights added up", param=param)
        sources.append({"version_id": version.id, "dataset_id": dataset.id, "number": version.number, "name": dataset.name,
                        "weight": entry.weight, **({"epochs": entry.epochs} if entry.epochs else {})})
    return sources


def _validation_version(session: Session, project_id: str, spec: JobSpec, *, now: datetime) -> str | None:
    if spec.validation_file is None:
        return None
    version: DatasetVersion = datasets.version_for_file(session, project_id, spec.validation_file, now=now,
                                                        param="validation_file")
    return version.id


def _find_repeated(session: Session, project_id: str, idempotency: tuple[str, str], now: datetime) -> Job | None:
    key, digest = idempotency
    known = session.get(IdempotencyKey, (project_id, key))
    if known is None:
        return None
    if now - known.created_at >= KEY_LIFE:
        session.delete(known)
        session.flush()
        return None
    if known.request_digest != digest:
        raise InvalidValue(f"Idempotency-Key {shown(key)} came before with another body; send the same body, or a new key",
                           code="idempotency_key_reused")
    return get_job(session, project_id, known.object_id)


def _remember(session: Session, project_id: str, idempotency: tuple[str, str], job_id: str, *, now: datetime) -> None:
    key, digest = idempotency
    session.add(IdempotencyKey(project_id=project_id, key=key, request_digest=digest, object_id=job_id, created_at=now))
    session.flush()


__all__ = [
    "cancel", "draft", "find_twin", "get_job", "list_jobs", "pause", "resume", "spec_json", "submit",
]
