"""Checkpoints: each exists when its row does."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from core.db.base import Base


class Checkpoint(Base):
    """Inserted under the run's fence after its files are whole, fsynced and digested; files without a row are garbage."""

    __tablename__ = "checkpoints"
    __table_args__ = (Index("ix_checkpoints_job_id_step", "job_id", "step"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"))
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"))
    fence: Mapped[int]
    step: Mapped[int]
    kind: Mapped[str]
    """listed, final (shown to clients) or recovery (internal)."""
    folder_key: Mapped[str] = mapped_column(index=True)
    manifest_digest: Mapped[str]
    bytes: Mapped[int]
    position: Mapped[dict[str, Any]]
    metrics: Mapped[dict[str, Any]]
    seen: Mapped[dict[str, Any] | None]
    """What the job had been trained on by then: the digest of the order of its rows, and counts by source."""
    created_at: Mapped[datetime]
    pinned_at: Mapped[datetime | None]
    """Since when a client wants it kept, whatever the job's `keep_checkpoints` says. A void one holds its pin until a later
    run's checkpoint of the step takes it, or the job ends."""
    deleted_at: Mapped[datetime | None]
    """Since when it exists for nobody; the row stays until its bytes are known to be gone."""
