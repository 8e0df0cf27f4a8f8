"""Workers, alive while they renew their row; and leases on roles that one process holds at a time."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy.orm import Mapped, mapped_column

from core.db.base import Base


class Worker(Base):
    __tablename__ = "workers"

    id: Mapped[str] = mapped_column(primary_key=True)
    """Fresh at each process start, so a restarted worker never revives an old claim."""
    host: Mapped[str]
    pid: Mapped[int]
    queue: Mapped[str]
    """train or upkeep."""
    version: Mapped[str]
    started_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    """Renewed every few seconds, by the database's clock."""
    stopped_at: Mapped[datetime | None]
    devices: Mapped[list[Any] | None]
    """Devices that it found on its host, as `cuda:0`; None until it has looked, and of upkeep."""
    refusal: Mapped[str | None]
    """Why it takes no job at present, in words; None while it takes them."""


class RoleLease(Base):
    """A role with one holder, such as the reaper."""

    __tablename__ = "role_leases"

    role: Mapped[str] = mapped_column(primary_key=True)
    holder: Mapped[str]
    fence: Mapped[int]
    lease_until: Mapped[datetime]
