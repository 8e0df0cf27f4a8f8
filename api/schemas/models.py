"""Models on the wire."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from api.schemas.times import unix
from core.models.models import Model


class ModelObject(BaseModel):
    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    base_model: str | None
    """Ours: what a fine-tuned model was made from; null for a base model."""
    job: str | None
    """Ours: the job that made it."""
    checkpoint: str | None
    """Ours: the checkpoint that holds its adapter."""

    @classmethod
    def of(cls, model: Model) -> ModelObject:
        return cls(id=model.name, created=unix(model.created_at), owned_by=model.owned_by, base_model=model.base_model,
                   job=model.job_id, checkpoint=model.checkpoint_id)


class ModelList(BaseModel):
    object: Literal["list"] = "list"
    data: list[ModelObject]


class ModelDeleted(BaseModel):
    id: str
    object: Literal["model"] = "model"
    deleted: Literal[True] = True
