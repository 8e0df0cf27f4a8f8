"""Checkpoints and their files on the wire."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

from api.paging import Entry
from api.schemas.times import unix
from core.checkpoints.models import Checkpoint
from core.models.names import checkpoint_name
from core.storage.manifest import ManifestFile


class CheckpointMetrics(BaseModel):
    step: int | None = None
    train_loss: float | None = None
    train_mean_token_accuracy: float | None = None
    valid_loss: float | None = None
    valid_mean_token_accuracy: float | None = None
    full_valid_loss: float | None = None
    full_valid_mean_token_accuracy: float | None = None


class CheckpointObject(Entry):
    object: Literal["fine_tuning.job.checkpoint"] = "fine_tuning.job.checkpoint"
    created_at: int
    fine_tuned_model_checkpoint: str
    fine_tuning_job_id: str
    step_number: int
    metrics: CheckpointMetrics
    bytes: int
    """Of all its files: the adapter, and what training goes on with."""
    pinned: bool

    @classmethod
    def of(cls, checkpoint: Checkpoint, model_name: str) -> CheckpointObject:
        told: dict[str, Any] = {"step": checkpoint.step, **checkpoint.metrics}
        return cls(id=checkpoint.id, created_at=unix(checkpoint.created_at), fine_tuning_job_id=checkpoint.job_id,
                   fine_tuned_model_checkpoint=checkpoint_name(model_name, checkpoint.step), step_number=checkpoint.step,
                   bytes=checkpoint.bytes, pinned=checkpoint.pinned_at is not None,
                   metrics=CheckpointMetrics(**{name: told.get(name) for name in CheckpointMetrics.model_fields}))


class CheckpointDeleted(BaseModel):
    id: str
    object: Literal["fine_tuning.job.checkpoint"] = "fine_tuning.job.checkpoint"
    deleted: Literal[True] = True


class CheckpointFile(BaseModel):
    name: str
    bytes: int
    sha256: str

    @classmethod
    def of(cls, file: ManifestFile) -> CheckpointFile:
        return cls(name=file.name, bytes=file.bytes, sha256=file.sha256)


class CheckpointFiles(BaseModel):
    object: Literal["list"] = "list"
    data: list[CheckpointFile]
    has_more: Literal[False] = False
