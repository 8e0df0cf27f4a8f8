"""The log of a job."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from core.db.base import Base


class Event(Base):
    """Numbered under its job's row from 1 without gaps. (job, step) is unique, so a step is reported once."""

    __tablename__ = "events"
    __table_args__ = (UniqueConstraint("job_id", "step"),)

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    created_at: Mapped[datetime]
    level: Mapped[str]
    """info, warn or error."""
    type: Mapped[str]
    """OpenAI's: message or metrics."""
    message: Mapped[str]
    data: Mapped[dict[str, Any] | None]
    """Holds `code`, our own name of the event, for messages; the figures for metrics."""
    step: Mapped[int | None]
    """Set on the metrics of a training step only."""
