"""Fine-tuning jobs on the wire: OpenAI's object, every field always present, and ours beside them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

from api.paging import Entry
from api.schemas.times import unix
from core.jobs.models import Job
from core.jobs.sources import submitted
from core.specs.job import Hyperparameters, JobSpec, Lora, TrainingOptions


class JobError(BaseModel):
    code: str
    message: str
    param: str | None = None


class ResolvedHyperparameters(BaseModel):
    """`auto` until the job is queued, a number from then on."""

    n_epochs: int | Literal["auto"]
    batch_size: int | Literal["auto"]
    learning_rate_multiplier: float | Literal["auto"]


class SupervisedMethod(BaseModel):
    hyperparameters: ResolvedHyperparameters


class JobMethod(BaseModel):
    type: Literal["supervised"] = "supervised"
    supervised: SupervisedMethod


class JobDataset(BaseModel):
    dataset: str
    version: int
    version_id: str
    weight: float
    epochs: int | None


class SourceProgress(BaseModel):
    source: str
    drawn: int
    """Rows drawn so far, holes included."""
    rows: int | None
    """Rows of one pass over it."""
    epochs: float | None
    skipped_rows: int = 0
    """Rows at fault that were skipped, each counted once."""


class JobProgress(BaseModel):
    step: int
    total_steps: int | None
    epoch: float | None
    phase: str | None
    tokens_per_second: float | None
    train_loss: float | None
    data_wait_share: float | None
    """Share of a step's time in which the device waited for data."""
    eta_seconds: float | None
    skipped_rows: int | None
    """Rows at fault that training has skipped since step 1, beside those known to be faulty when the data was registered.
    Each row counts once, however often it was due; so in the next two."""
    untrained_rows: int | None
    """Rows in which nothing is trained on."""
    overlong: dict[str, int] | None
    """Rows that were longer than max_length, by what was done with them."""
    sources: list[SourceProgress] | None
    """How often each source of the mixture was passed over."""


class JobObject(Entry):
    object: Literal["fine_tuning.job"] = "fine_tuning.job"
    created_at: int
    error: JobError | None
    fine_tuned_model: str | None
    finished_at: int | None
    hyperparameters: ResolvedHyperparameters
    model: str
    organization_id: str
    result_files: list[str]
    seed: int
    status: str
    trained_tokens: int | None
    training_file: str | None
    """null for a job that trains on `datasets`."""
    validation_file: str | None
    estimated_finish: int | None
    integrations: list[dict[str, Any]] | None
    metadata: dict[str, str] | None
    method: JobMethod
    suffix: str | None
    datasets: list[JobDataset] | None
    exhaustion: str | None
    mixture_schedule: list[dict[str, Any]] | None
    validation_split: float | None
    lora: dict[str, Any]
    options: dict[str, Any]
    priority: int
    progress: JobProgress

    @classmethod
    def of(cls, job: Job, organization_id: str) -> JobObject:
        spec = JobSpec.model_validate(job.spec)
        hyperparameters = _hyperparameters(job, spec.asked)
        return cls(
            id=job.id,
            created_at=unix(job.created_at),
            error=JobError.model_validate(job.error) if job.error else None,
            fine_tuned_model=job.fine_tuned_model,
            finished_at=unix(job.finished_at),
            hyperparameters=hyperparameters,
            model=job.model,
            organization_id=organization_id,
            result_files=[job.result_file_id] if job.result_file_id else [],
            seed=job.seed,
            status=job.state,
            trained_tokens=job.trained_tokens,
            training_file=job.training_file_id,
            validation_file=job.validation_file_id,
            estimated_finish=(job.progress or {}).get("estimated_finish") if job.state == "running" else None,
            integrations=[i.model_dump() for i in spec.integrations] if spec.integrations else None,
            metadata=spec.metadata,
            method=JobMethod(supervised=SupervisedMethod(hyperparameters=hyperparameters)),
            suffix=spec.suffix,
            datasets=_datasets(job, spec),
            exhaustion=spec.exhaustion,
            mixture_schedule=[each.model_dump() for each in spec.mixture_schedule] if spec.mixture_schedule else None,
            validation_split=spec.validation_split,
            lora=_lora(spec.lora or Lora()),
            options=(spec.options or TrainingOptions()).model_dump(),
            priority=job.priority,
            progress=_progress(job),
        )


def _hyperparameters(job: Job, asked: Hyperparameters) -> ResolvedHyperparameters:
    resolved = job.resolved or {}
    return ResolvedHyperparameters(**{name: resolved.get(name, value) for name, value in asked.model_dump().items()})


def _lora(asked: Lora) -> dict[str, Any]:
    return {**asked.model_dump(), "alpha": asked.alpha if asked.alpha is not None else 2.0 * asked.r}


def _datasets(job: Job, spec: JobSpec) -> list[JobDataset] | None:
    """Tell the data sets with the versions that were fixed at submit."""
    if spec.datasets is None:
        return None
    return [JobDataset(dataset=source["dataset_id"], version=source["number"], version_id=source["version_id"],
                       weight=source["weight"], epochs=source.get("epochs")) for source in submitted(job)]


def _progress(job: Job) -> JobProgress:
    told = job.progress or {}
    names = JobProgress.model_fields.keys() - {"step", "total_steps"}
    return JobProgress(step=job.step, total_steps=job.total_steps, **{name: told.get(name) for name in names})
