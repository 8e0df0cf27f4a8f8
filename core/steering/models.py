"""Changes of a job's mixture: what was asked, and from which step it holds."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from core.db.base import Base


class MixtureChange(Base):
    """Numbered under its job from 1. Pending until a run, or nobody holding the job, gives it the step from which it holds;
    from then on it never changes, so whoever reads the log reads the same stream."""

    __tablename__ = "mixture_changes"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    state: Mapped[str]
    """pending, held, or refused: it fitted no more when its step was known."""
    from_step: Mapped[int | None]
    body: Mapped[dict[str, Any]]
    """A `core.steering.log.Asked` as JSON."""
    created_at: Mapped[datetime]
    held_at: Mapped[datetime | None]
    created_by: Mapped[str | None]
    """Id of the key that asked; None for what the submit itself planned."""
    error: Mapped[dict[str, Any] | None]
    """{code, message, param} of a refused one."""
