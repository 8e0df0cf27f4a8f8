"""A job's mixture on the wire: what holds now, and the log of its changes."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

from api.schemas.times import unix
from core.jobs.models import Job
from core.jobs.sources import named_sources
from core.jobs.states import is_finished
from core.steering.log import Asked, Standing
from core.steering.models import MixtureChange
from core.steering.service import shares_of


class MixtureError(BaseModel):
    code: str
    message: str
    param: str | None = None


class ChangedRow(BaseModel):
    source: str
    row: int


class ChangeObject(BaseModel):
    object: Literal["fine_tuning.job.mixture.change"] = "fine_tuning.job.mixture.change"
    number: int
    status: Literal["pending", "held", "refused", "lapsed"]
    """pending: a run is asked for the step; lapsed: the job ended before."""
    from_step: int | None
    """The step from which it holds: no earlier one is touched."""
    weights: dict[str, float]
    """Those that the change gives."""
    added: list[str]
    dropped: list[str]
    quarantined: list[str]
    quarantined_rows: list[ChangedRow]
    lifted_rows: list[ChangedRow]
    """Rows whose quarantine ended."""
    reason: str | None
    created_at: int
    held_at: int | None
    created_by: str | None
    """Id of the key that asked; null for what the submit planned."""
    error: MixtureError | None

    @classmethod
    def of(cls, change: MixtureChange, job: Job) -> ChangeObject:
        names, asked = [source["name"] for source in named_sources(job)], Asked.from_json(change.body)
        return cls(
            number=change.number,
            status="lapsed" if change.state == "pending" and is_finished(job.state) else change.state,  # pyright: ignore[reportArgumentType]
            from_step=change.from_step, weights={names[n]: weight for n, weight in asked.weights.items()},
            added=[names[n] for n in asked.added], dropped=[names[n] for n in asked.dropped],
            quarantined=[names[n] for n in asked.quarantined],
            quarantined_rows=[ChangedRow(source=names[row.source], row=row.row) for row in asked.rows],
            lifted_rows=[ChangedRow(source=names[row.source], row=row.row) for row in asked.lifted],
            reason=asked.reason, created_at=unix(change.created_at), held_at=unix(change.held_at), created_by=change.created_by,
            error=MixtureError.model_validate(change.error) if change.error else None)


class SourceObject(BaseModel):
    source: str
    dataset: str | None
    version: int | None
    version_id: str
    rows: int | None
    weight: float
    share: float
    """Of the rows that are drawn."""
    status: Literal["drawn", "idle", "dropped", "quarantined"]
    """idle: its weight is 0."""


class MixtureObject(BaseModel):
    object: Literal["fine_tuning.job.mixture"] = "fine_tuning.job.mixture"
    fine_tuning_job_id: str
    step: int
    """The step that `sources` tells of: the next one to be trained, by what is known now."""
    sources: list[SourceObject]
    changes: list[ChangeObject]

    @classmethod
    def of(cls, job: Job, changes: list[MixtureChange], standing: Standing, step: int) -> MixtureObject:
        weights = shares_of(job, standing)
        total = sum(weights.values()) or 1.0
        return cls(fine_tuning_job_id=job.id, step=step, changes=[ChangeObject.of(change, job) for change in changes], sources=[
            SourceObject(**_described(source), weight=weights[source["name"]], share=weights[source["name"]] / total,
                         status=standing.out.get(number) or ("drawn" if weights[source["name"]] else "idle"))  # pyright: ignore[reportArgumentType]
            for number, source in enumerate(named_sources(job))])


def _described(source: dict[str, Any]) -> dict[str, Any]:
    return {"source": source["name"], "dataset": source.get("dataset_id"), "version": source.get("number"),
            "version_id": source["version_id"], "rows": source.get("rows")}
