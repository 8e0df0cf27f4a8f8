"""From validating_files to queued: when all versions are ready, every "auto" becomes a number and the steps are counted.

Nothing is read but the indexes, so preparing takes milliseconds for any size of data. What stands in the way ends the job
with words that name the file, the lines and what to do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.data.spec import MixtureEntry, StreamPlan, StreamSpec
from core.datasets.faults import first_faults
from core.datasets.models import DatasetVersion
from core.datasets.shape import shape_of
from core.devices.service import most_on_one_host
from core.errors import DataError, HeadraceError, shown
from core.jobs.models import Job
from core.jobs.moves import move
from core.jobs.repository import lock_job
from core.jobs.resolve import MAX_STEPS, resolve
from core.jobs.stream_spec import build_streams, options_of, version_ids
from core.models.models import Model
from core.models.service import resolve_base
from core.steering.repository import log_of
from core.storage.artifacts import Artifacts

Prepared = Literal["queued", "failed", "waiting", "gone"]

FEW_ROWS = 10


def prepare(session: Session, job_id: str, *, artifacts: Artifacts, now: datetime) -> Prepared:
    """Bring a job to queued or failed; "waiting" while a version is indexed, "gone" when it is past this. Safe to repeat."""
    job = lock_job(session, job_id)
    if job is None or job.state != "validating_files":
        return "gone"
    versions = _versions(session, job)
    if any(version.status == "indexing" for version in versions.values()):
        return "waiting"
    try:
        for version_id, version in versions.items():
            check_version(job, version, param="validation_file" if version_id == job.validation_version_id else "training_file")
        base = resolve_base(session, job.project_id, job.model).base
        check_template(versions, base)
        resolved = plan(job, versions, log=log_of(session, job), artifacts=artifacts, base=base)
    except HeadraceError as error:
        _fail(session, job, error, now=now)
        return "failed"
    _queue(session, job, resolved, most_devices=most_on_one_host(session), now=now)
    return "queued"


def check_version(job: Job, version: DatasetVersion, *, param: str) -> None:
    """Raise DataError for a version that the job cannot train on: one that failed, or has faults it does not skip."""
    code = "invalid_validation_file" if param == "validation_file" else "invalid_training_file"
    if version.status == "failed":
        error = version.error or {}
        message = f"{param}: {error.get('message', 'its rows could not be read')}"
        raise DataError(message, code=error.get("code") or code, param=param)
    if version.row_format == "preference":
        raise DataError(f"{param} holds preference pairs (shape {shape_of(version)['name']}: a chosen and a rejected answer), "
                        "and a supervised job needs rows with one answer: chats, prompts with completions, or texts; register "
                        "the file with columns that name the chosen answer as the response, or give another file",
                        code=code, param=param)
    faulty = version.faulty_rows or 0
    if faulty and options_of(job).on_bad_row == "fail":
        raise DataError(f"{param} has {faulty} faulty rows of {version.rows}: {first_faults(version.report)}; correct them, "
                        "or let the job skip them with options.on_bad_row 'skip'", code=code, param=param)


def check_template(versions: dict[str, DatasetVersion], base: Model) -> None:
    """Raise DataError when there are chats to train on and the base model has no template to write them with."""
    has_template = (base.facts or {}).get("has_chat_template", True)
    if not has_template and any(version.row_format == "chat" for version in versions.values()):
        raise DataError(f"model {shown(base.name)} has no chat template and the data are chats; choose a chat model, or give "
                        "rows of 'prompt' and 'completion' or of 'text'", code="model_without_chat_template", param="model")


def plan(job: Job, versions: dict[str, DatasetVersion], *, log: Sequence[MixtureEntry], artifacts: Artifacts, base: Model
         ) -> dict[str, Any]:
    """Make every choice that the spec left open, and count rows and steps; raise DataError for a source without a row."""
    counting, validation = build_streams(job, versions, log=log[:1], artifacts=artifacts, base=base)
    found = _count(counting).rows
    rows = sum(found)
    job.sources = [{**entry, "rows": count} for entry, count in zip(job.sources, found, strict=True)]
    validation_rows = sum(_count_validation(validation).rows) if validation is not None else 0
    resolved = job.resolved = resolve(job, rows=rows, validation_rows=validation_rows, base=base)
    train, _ = build_streams(job, versions, log=log, artifacts=artifacts, base=base)
    counted = _count(train)
    _check_schedule(log, counted)
    if not 0 < counted.total_steps <= MAX_STEPS:
        raise DataError(f"the plan has {counted.total_steps:,} steps; at most {MAX_STEPS:,} can be run; ask for fewer epochs "
                        "or a larger batch_size", code="invalid_value", param="hyperparameters.n_epochs")
    return {**resolved, "row_bytes": row_bytes(job, versions), "total_steps": counted.total_steps,
            "epoch_ends": list(counted.epoch_ends)}


def row_bytes(job: Job, versions: Mapping[str, DatasetVersion]) -> float | None:
    """Mean bytes of the stored rows that the job trains on, from the reports of their indexes; None where one does not tell."""
    means = [((versions[entry["version_id"]].report or {}).get("lengths") or {}).get("mean") for entry in job.sources]
    rows = [entry["rows"] for entry in job.sources]
    if not sum(rows) or not all(means):
        return None
    return sum(mean * count for mean, count in zip(means, rows, strict=True)) / sum(rows)


def _check_schedule(log: Sequence[MixtureEntry], counted: StreamPlan) -> None:
    if log[-1].from_step > counted.total_steps:
        raise DataError(f"mixture_schedule has an entry from step {log[-1].from_step:,} and the plan has "
                        f"{counted.total_steps:,} steps; give it an earlier step, or ask for more epochs", code="invalid_value",
                        param="mixture_schedule")


def _count(spec: StreamSpec) -> StreamPlan:
    from core.data.pipeline import plan_stream

    return plan_stream(spec)


def _count_validation(spec: StreamSpec) -> StreamPlan:
    try:
        return _count(spec)
    except DataError as error:
        field = "validation_file" if spec.part == "whole" else "validation_split"
        raise DataError(error.message, code="invalid_validation_file", param=field) from error


def _versions(session: Session, job: Job) -> dict[str, DatasetVersion]:
    query = select(DatasetVersion).where(DatasetVersion.id.in_(version_ids(job)))
    found = {version.id: version for version in session.scalars(query)}
    return {version_id: found[version_id] for version_id in version_ids(job)}


def _fail(session: Session, job: Job, error: HeadraceError, *, now: datetime) -> None:
    told = {"code": error.code, "message": error.message, "param": error.param or "training_file"}
    job.resolved = None
    move(session, job.id, "failed", code="job.failed", level="error", message=f"The job failed: {error.message}", now=now,
         data={"error": told}, error=told)


def _queue(session: Session, job: Job, resolved: dict[str, Any], *, most_devices: int, now: datetime) -> None:
    warning = "" if resolved["rows"] >= FEW_ROWS else f"; {resolved['rows']} rows are few, results improve from {FEW_ROWS} on"
    if 0 < most_devices < job.devices:
        warning += (f"; options.devices is {job.devices} and the largest known host has {most_devices}: it stays queued until "
                    "a worker with as many comes; cancel it and ask for fewer to train at once")
    move(session, job.id, "queued", code="job.queued", now=now, level="warn" if warning else "info", queued_at=now,
         resolved=resolved, total_steps=resolved["total_steps"],
         data={"total_steps": resolved["total_steps"], "rows": resolved["rows"]},
         message=f"Files are valid: {resolved['rows']} rows, {resolved['total_steps']} steps; "
                 f"the job waits for a worker{warning}")
