"""From validating_files to queued: when all versions are ready, every "auto" becomes a number and the steps are counted.

Nothing is read but the indexes, so preparing takes milliseconds for any size of data. What stands in the way ends the job
with words that name the file, the lines and what to do.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.data.spec import MixtureEntry, StreamPlan, StreamSpec
from core.datasets.faults import first_faults
from core.datasets.models import DatasetVersion
from core.datasets.shape import shape_of as row_shape_of
from core.devices.models import Device
from core.devices.service import most_on_one_host
from core.errors import DataError, HeadraceError, number_of, shown
from core.estimates.fitting import Group, gib, groups_of, load_of, needs_of
from core.estimates.models import shape_of
from core.jobs.models import Job
from core.jobs.moves import move
from core.jobs.repository import lock_job
from core.jobs.resolve import MAX_STEPS, resolve
from core.jobs.sources import param_of
from core.jobs.stream_spec import build_streams, options_of, spec_of, version_ids
from core.models.models import Model
from core.models.service import resolve_base_of
from core.steering.repository import log_of
from core.storage.artifacts import Artifacts

Prepared = Literal["queued", "failed", "waiting", "gone"]

FEW_ROWS = 10
TEMPLATE_TOKENS = 256
"""What a chat template adds to a row at most: a system message of its own, marks of turns."""


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
            check_version(job, version, param=param_of(job, version_id))
        base = resolve_base_of(session, job).base
        check_template(versions, base)
        resolved = plan(job, versions, log=log_of(session, job), artifacts=artifacts, base=base)
    except HeadraceError as error:
        _fail(session, job, error, now=now)
        return "failed"
    needs = memory_needs(job, versions, resolved, base)
    groups = groups_of(list(session.scalars(select(Device))))
    _queue(session, job, {**resolved, "memory": needs}, memory_bytes=need_among(needs, groups),
           warning=_devices_warning(session, job, needs, groups), now=now)
    return "queued"


def check_version(job: Job, version: DatasetVersion, *, param: str) -> None:
    """Raise DataError for a version that the job cannot train on: one that failed, or has faults it does not skip."""
    code = "invalid_validation_file" if param == "validation_file" else "invalid_training_file"
    if version.status == "failed":
        error = version.error or {}
        message = f"{param}: {error.get('message', 'its rows could not be read')}"
        raise DataError(message, code=error.get("code") or code, param=param)
    if version.row_format == "preference":
        raise DataError(f"{param} holds preference pairs (shape {row_shape_of(version)['name']}: a chosen and a rejected "
                        "answer), and a supervised job needs rows with one answer: chats, prompts with completions, or texts; "
                        "register the file with columns that name the chosen answer as the response, or give another file",
                        code=code, param=param)
    faulty = version.faulty_rows or 0
    if faulty and options_of(job).on_bad_row == "fail":
        raise DataError(f"{param} has {number_of(faulty, 'faulty row')} of {version.rows}: "
                        f"{first_faults(version.report)}; correct them, or let the job skip them with "
                        "options.on_bad_row 'skip'", code=code, param=param)


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
        raise DataError(f"the plan has {number_of(counted.total_steps, 'step')}; at most {MAX_STEPS:,} can be run; ask for "
                        "fewer epochs or a larger batch_size", code="invalid_value", param="hyperparameters.n_epochs")
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
                        f"{number_of(counted.total_steps, 'step')}; give it an earlier step, or ask for more epochs",
                        code="invalid_value", param="mixture_schedule")


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


def memory_needs(job: Job, versions: dict[str, DatasetVersion], resolved: dict[str, Any], base: Model) -> dict[str, int]:
    """Bytes of memory that each device of a run must have, by the kind of device; empty where the model's sizes are unknown."""
    shape = shape_of(base)
    if shape is None:
        return {}
    longest = min(resolved["max_length"], longest_tokens(versions.values()) or resolved["max_length"])
    return needs_of(load_of(spec_of(job), shape, batch_size=resolved["batch_size"], longest_tokens=longest))


def longest_tokens(versions: Iterable[DatasetVersion]) -> int | None:
    """A bound on the tokens of the longest row: no row has more than bytes, but for what a chat template writes of its own.
    None where rows were not measured."""
    found: list[int] = [((version.report or {}).get("lengths") or {}).get("max") or 0 for version in versions]
    return max(found) + TEMPLATE_TOKENS if found and all(found) else None


def need_among(needs: dict[str, int], groups: Sequence[Group]) -> int | None:
    """The need that the known devices are held against: of a GPU where one is known, or none at all; else of a CPU."""
    kinds = {group.kind for group in groups}
    return needs.get("cpu" if kinds == {"cpu"} else "cuda")


def _devices_warning(session: Session, job: Job, needs: dict[str, int], groups: Sequence[Group]) -> str:
    """What keeps the job waiting on all devices that are known now; empty where one will do, and where none is known."""
    most = most_on_one_host(session)
    if 0 < most < job.devices:
        return (f"; options.devices is {job.devices} and the largest known host has {most}: it stays queued until "
                "a worker with as many comes; cancel it and ask for fewer to train at once")
    if not needs or not groups or any(group.many(needs.get(group.kind, math.inf)) >= job.devices for group in groups):
        return ""
    told = ", ".join(f"{group.name} on {group.host} has {gib(group.memory_bytes)}" for group in groups[:3])
    need = ", ".join(f"{gib(needs[kind])} on a {word}" for kind, word in (("cuda", "GPU"), ("cpu", "CPU")) if kind in needs)
    lacking = "no known device has as much" if job.devices == 1 else f"no known host has {job.devices} devices with as much"
    return (f"; it needs {need}, and {lacking} ({told}): it stays queued until a worker with more memory "
            "comes; lower options.max_length or lora.r, or take a smaller model, to train at once")


def _queue(session: Session, job: Job, resolved: dict[str, Any], *, memory_bytes: int | None, warning: str, now: datetime
           ) -> None:
    rows, steps = number_of(resolved["rows"], "row"), number_of(resolved["total_steps"], "step")
    few = "" if resolved["rows"] >= FEW_ROWS else f"; results improve from {FEW_ROWS} rows on"
    move(session, job.id, "queued", code="job.queued", now=now, level="warn" if few or warning else "info", queued_at=now,
         resolved=resolved, total_steps=resolved["total_steps"], memory_bytes=memory_bytes,
         data={"total_steps": resolved["total_steps"], "rows": resolved["rows"]},
         message=f"Files are valid: {rows}, {steps}; the job waits for a worker{few}{warning}")
