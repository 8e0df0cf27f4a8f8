"""Data sets, their frozen versions, and the files of each."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

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
    file_id: Mapped[str | None] = mapped_column(ForeignKey("files.id"), index=True)
    """The upload, where it is the only one; None where rows come from several files or from a place."""
    place: Mapped[str | None]
    """Name of the operator's place that its newest shards lie in."""
    pattern: Mapped[str | None]
    """The path or pattern in there, as it was asked for."""
    is_listed: Mapped[bool] = mapped_column(default=True)
    """False until the pattern was looked up: the shards that it means are not known yet."""
    status: Mapped[str] = mapped_column(default="indexing")
    asked_shape: Mapped[str | None]
    """The shape that the user named; what was found is in the report."""
    columns: Mapped[dict[str, Any] | None]
    """The user's mapping of fields, as it was given."""
    row_format: Mapped[str | None]
    """chat, prompt_completion, text or preference; None until it is known."""
    digest: Mapped[str | None]
    """Of the content: of one file its SHA-256, of several the SHA-256 over theirs, hex."""
    same_as: Mapped[int | None]
    """Number of the first version of the data set that has the same content and is read in the same way."""
    rows: Mapped[int | None]
    faulty_rows: Mapped[int | None]
    bytes: Mapped[int]
    report: Mapped[dict[str, Any] | None]
    """The report over all shards as JSON: faults by line, totals by kind, length statistics."""
    progress_bytes: Mapped[int] = mapped_column(default=0)
    error: Mapped[dict[str, Any] | None]
    """{code, message} when the version failed."""
    created_at: Mapped[datetime]
    ready_at: Mapped[datetime | None]
    shards: Mapped[list[DatasetShard]] = relationship(order_by="DatasetShard.number", lazy="selectin")
    """In the order in which its rows are numbered."""


class DatasetShard(Base):
    """One file of a version. A version that was appended to has the same files again, under the same keys."""

    __tablename__ = "dataset_shards"

    version_id: Mapped[str] = mapped_column(ForeignKey("dataset_versions.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """From 0."""
    name: Mapped[str]
    """What people call the file."""
    file_id: Mapped[str | None] = mapped_column(ForeignKey("files.id"), index=True)
    place: Mapped[str | None]
    path: Mapped[str | None]
    """In the place. A file is an upload (`file_id`) or lies in a place."""
    is_indexed: Mapped[bool] = mapped_column(default=False)
    index_key: Mapped[str]
    """Folder of the index under the storage root."""
    frames_key: Mapped[str]
    """Where its rows lie under the storage root, if they cannot be read from the file itself (`kind` is frames)."""
    kind: Mapped[str | None]
    """How rows are read: lines, csv, tsv, parquet or frames; None until it is indexed, as all below."""
    file_kind: Mapped[str | None]
    """What the file is, as its name would end: jsonl, json, csv.gz …"""
    bytes: Mapped[int]
    """Of the file; known before it is indexed."""
    tag: Mapped[str | None]
    """What its place calls that content."""
    digest: Mapped[str | None]
    """SHA-256 of the file, hex."""
    rows: Mapped[int | None]
    faulty_rows: Mapped[int | None]
    converted_bytes: Mapped[int | None]
    """Of its frames, where it has some."""
    seconds: Mapped[float | None]
    """What the pass took."""
