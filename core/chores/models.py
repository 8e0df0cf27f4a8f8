"""Chores: pieces of upkeep work, each a row with lease, fence and attempts, so that a kill loses none."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from core.db.base import Base


class Chore(Base):
    """One piece of work for an upkeep worker; deduplicated by (kind, subject)."""

    __tablename__ = "chores"
    __table_args__ = (
        UniqueConstraint("kind", "subject"),
        Index("ix_chores_state_not_before", "state", "not_before"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    """Those of `core.chores.kinds`."""
    subject: Mapped[str]
    """Id of what it is about."""
    state: Mapped[str]
    """waiting, held, done or failed."""
    attempts: Mapped[int] = mapped_column(default=0)
    fence: Mapped[int] = mapped_column(default=0)
    holder: Mapped[str | None]
    lease_until: Mapped[datetime | None]
    not_before: Mapped[datetime]
    error: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime]
