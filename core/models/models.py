"""Base models on the operator's list, and the models that jobs made."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from core.db.base import Base


class Model(Base):
    """A base model has a folder and belongs to nobody; a fine-tuned one has a checkpoint and belongs to its project."""

    __tablename__ = "models"
    __table_args__ = (Index("ix_models_project_id", "project_id"),)

    name: Mapped[str] = mapped_column(primary_key=True)
    """What clients write in `model`: a name of the operator's, or `ft:{base}:{org}:{suffix}:{id}`."""
    kind: Mapped[str]
    """base or fine_tuned."""
    project_id: Mapped[str | None] = mapped_column(ForeignKey("projects.id"))
    owned_by: Mapped[str]
    folder: Mapped[str | None]
    """Base models: absolute path of the folder; None for fine-tuned ones."""
    digest: Mapped[str | None]
    """Base models: digest over the folder's files."""
    facts: Mapped[dict[str, Any] | None]
    """Base models: architecture, parameters, context_length, has_chat_template, tokenizer_digest, bytes."""
    base_model: Mapped[str | None]
    job_id: Mapped[str | None]
    checkpoint_id: Mapped[str | None]
    created_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]
