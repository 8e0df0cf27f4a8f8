"""Data sets and their frozen versions."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from core.db.base import Base


class Dataset(Base):
    """Rows that a user registered under a name. A job's `training_file` gets a nameless one of its own (`is_implicit`)."""

    __tablename__ = "datasets"
    __table_args__ = (Index("ix_datasets_project_id_created_at_id", "project_id", "created_at", "id"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    name: Mapped[str]
    is_implicit: Mapped[bool] = mapped_column(default=False)
    """Made for a file that a job names; not in lists."""
    created_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]


class DatasetVersion(Base):
    """Frozen content, which a job names. States are in `core/datasets/states.py`: indexing → ready | failed."""

    __tablename__ = "dataset_versions"
    __table_args__ = (UniqueConstraint("dataset_id", "number"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"))
    number: Mapped[int]
    """From 1, within the data set."""
    file_id: Mapped[str] = mapped_column(ForeignKey("files.id"), index=True)
    status: Mapped[str] = mapped_column(default="indexing")
    asked_shape: Mapped[str | None]
    """The shape that the user named; what was found is in the report."""
    columns: Mapped[dict[str, Any] | None]
    """The user's mapping of fields, as it was given."""
    row_format: Mapped[str | None]
    """chat, prompt_completion, text or preference; None until it is known."""
    index_key: Mapped[str | None]
    """Folder of the index under the storage root; None until ready."""
    digest: Mapped[str | None]
    """SHA-256 of the content, hex."""
    rows: Mapped[int | None]
    faulty_rows: Mapped[int | None]
    bytes: Mapped[int]
    report: Mapped[dict[str, Any] | None]
    """The index's report as JSON: faults by line, totals by kind, length statistics."""
    progress_bytes: Mapped[int] = mapped_column(default=0)
    error: Mapped[dict[str, Any] | None]
    """{code, message} when the version failed."""
    created_at: Mapped[datetime]
    ready_at: Mapped[datetime | None]
