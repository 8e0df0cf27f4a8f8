"""What each step of a job was trained on."""

from __future__ import annotations

from sqlalchemy import ForeignKey, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from core.db.base import Base


class StepRows(Base):
    """One step of the accepted history, written with its figures. Which rows it had is arithmetic; this is the proof, and what
    arithmetic does not know: the losses, and which slots were holes."""

    __tablename__ = "step_rows"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True)
    digest: Mapped[str]
    """xxh3-64 of the rows trained on, hex (core/data/proof.py)."""
    losses: Mapped[bytes] = mapped_column(LargeBinary)
    """float32, little-endian, one a slot in the order of the draws: the mean over the row's trained tokens, NaN for a hole."""
