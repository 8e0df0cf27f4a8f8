"""Jobs, their runs, and the keys that make a repeated submit harmless."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from core.db.base import Base


class Job(Base):
    """What was asked, where it stands, and what came of it. States and legal moves are in `core/jobs/states.py`."""

    __tablename__ = "jobs"
    __table_args__ = (
        Index("ix_jobs_project_id_created_at_id", "project_id", "created_at", "id"),
        Index("ix_jobs_state_priority_queued_at", "state", "priority", "queued_at"),
        Index("ix_jobs_waiting", "state", "project_id", "priority", "queued_at", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    key_id: Mapped[str | None]
    """The API key that it was submitted with; None where that is not known."""
    state: Mapped[str]
    wanted: Mapped[str | None]
    """A mark for the supervisor of a running job: cancel, pause or preempt; None when it may go on."""
    spec: Mapped[dict[str, Any]]
    """The JobSpec as it was sent."""
    spec_version: Mapped[int]
    model: Mapped[str]
    seed: Mapped[int]
    priority: Mapped[int] = mapped_column(default=0)
    devices: Mapped[int] = mapped_column(default=1, server_default="1")
    """How many devices of one host a run of it holds."""
    memory_bytes: Mapped[int | None]
    """What it needs of each of its devices; None where that is not known, and any device will do."""
    training_file_id: Mapped[str | None] = mapped_column(ForeignKey("files.id"), index=True)
    validation_file_id: Mapped[str | None] = mapped_column(ForeignKey("files.id"))
    sources: Mapped[list[Any]]
    """[{"version_id", "name", "weight"}]: the data set versions that it trains on, fixed at submit; for registered data
    sets also "dataset_id" and "number", once they are counted "rows", with passes of its own "epochs". A change of the mixture
    adds to the end, with "is_added"; nothing here is ever taken out, so a source's number stays."""
    validation_version_id: Mapped[str | None]
    resolved: Mapped[dict[str, Any] | None]
    """All that "auto" became, and the plan: n_epochs, batch_size, learning_rate, total_steps, rows …; None until queued."""
    created_at: Mapped[datetime]
    queued_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    """When a run first began."""
    finished_at: Mapped[datetime | None]
    error: Mapped[dict[str, Any] | None]
    """{code, message, param} of a failed job."""
    step: Mapped[int] = mapped_column(default=0)
    """Last step that was reported."""
    total_steps: Mapped[int | None]
    progress: Mapped[dict[str, Any] | None]
    """Newest figures of the run: phase, epoch, tokens_per_second, train_loss, estimated_finish …"""
    processed_tokens: Mapped[int] = mapped_column(default=0)
    trained_tokens: Mapped[int | None]
    """Shown to clients; None until the job succeeded."""
    fine_tuned_model: Mapped[str | None]
    result_file_id: Mapped[str | None]
    last_event: Mapped[int] = mapped_column(default=0)
    """Number of the newest event in its log."""
    fence: Mapped[int] = mapped_column(default=0)
    """Raised at every claim; a writer with a smaller one is refused."""
    run_id: Mapped[str | None]
    """The run that holds the job now."""
    attempts: Mapped[int] = mapped_column(default=0)
    failed_attempts: Mapped[int] = mapped_column(default=0)
    """Attempts since the last progress that ended badly by themselves, not with their worker; the third ends the job."""
    not_before: Mapped[datetime | None]
    """Growing wait after a bad end."""
    blocked_at: Mapped[datetime | None]
    """Since when it is its turn and too few devices are free for it; None before, and from its claim on."""
    held_host: Mapped[str | None]
    """The host whose devices are kept for it while it is blocked."""
    promised_at: Mapped[datetime | None]
    """When, as it was foreseen when it was first blocked, enough devices of that host are free; None where that was unknown."""
    preemptions: Mapped[int] = mapped_column(default=0, server_default="0")
    """How often a run of it made room for a job of higher priority."""


class Run(Base):
    """One attempt at a job by one worker. Its lease is its right to write."""

    __tablename__ = "runs"
    __table_args__ = (
        UniqueConstraint("job_id", "attempt"),
        Index("ix_runs_state_lease_until", "state", "lease_until"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), index=True)
    attempt: Mapped[int]
    fence: Mapped[int]
    worker_id: Mapped[str] = mapped_column(index=True)
    host: Mapped[str]
    state: Mapped[str]
    """holding or ended."""
    lease_until: Mapped[datetime]
    """By the database's clock."""
    renewals: Mapped[int] = mapped_column(default=0)
    """Grows with each renewal, so that a reaper sees a row that stands still without trusting clocks."""
    folder_key: Mapped[str] = mapped_column(index=True)
    """The run's folder under the storage root; holds the fence in its name."""
    from_step: Mapped[int] = mapped_column(default=0)
    last_step: Mapped[int] = mapped_column(default=0)
    last_batch: Mapped[str | None]
    """Names the batch of its child's reports that was written last (`worker/scribe.py`)."""
    devices: Mapped[int] = mapped_column(default=1, server_default="1")
    """How many devices it holds, or held."""
    started_at: Mapped[datetime]
    noted_until: Mapped[datetime | None]
    """Up to when its use of devices is counted (`core/projects/usage.py`); None for runs from before there was a count."""
    ended_at: Mapped[datetime | None]
    outcome: Mapped[str | None]
    """succeeded, failed, cancelled, paused, preempted, handed_back, interrupted or lost."""
    error: Mapped[dict[str, Any] | None]


class IdempotencyKey(Base):
    """A POST that was answered: the same key and body give the same object for 24 hours."""

    __tablename__ = "idempotency_keys"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    request_digest: Mapped[str]
    object_id: Mapped[str]
    created_at: Mapped[datetime]
