"""What a host computes on, as rows that a run leases."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from core.db.base import Base


class Device(Base):
    """One GPU of one host, or its CPU. Busy while `run_id` is set: until that run's child was seen dead or its lease lapsed."""

    __tablename__ = "devices"
    __table_args__ = (UniqueConstraint("host", "kind", "ordinal"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    host: Mapped[str]
    kind: Mapped[str]
    """cuda or cpu."""
    ordinal: Mapped[int]
    name: Mapped[str]
    memory_bytes: Mapped[int]
    run_id: Mapped[str | None] = mapped_column(index=True)
    leased_at: Mapped[datetime | None]
    seen_at: Mapped[datetime]
