"""Forecasts that were made, with what came of them; and how fast runs were."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Double, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from core.db.base import Base


class Forecast(Base):
    """What was foretold of a job at one moment. Open until the thing happens; dropped when it cannot happen any more."""

    __tablename__ = "forecasts"
    __table_args__ = (Index("ix_forecasts_what_actual_at", "what", "actual_at"),)

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    what: Mapped[str] = mapped_column(primary_key=True)
    """start or finish."""
    made_at: Mapped[datetime] = mapped_column(primary_key=True)
    predicted_at: Mapped[datetime | None]
    """None: nobody could tell."""
    actual_at: Mapped[datetime | None]
    error: Mapped[float | None] = mapped_column(Double)
    """Relative, see `core/forecast/record.py`; None while open, and for what nobody could tell."""


class RunSpeed(Base):
    """What one run did, by the clock."""

    __tablename__ = "run_speeds"
    __table_args__ = (Index("ix_run_speeds_model_device_devices_ended_at", "model", "device", "devices", "ended_at"),)

    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    model: Mapped[str]
    """Name of the base model."""
    device: Mapped[str]
    """Name of its devices."""
    devices: Mapped[int]
    tokens: Mapped[int]
    row_bytes: Mapped[float] = mapped_column(Double)
    """Bytes of the stored rows that became those tokens, by the plan."""
    train_seconds: Mapped[float] = mapped_column(Double)
    """From the start of its first step to the report of its last."""
    load_seconds: Mapped[float] = mapped_column(Double)
    """From the claim to its first step."""
    ended_at: Mapped[datetime]
