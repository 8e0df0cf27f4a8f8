"""Limits of their own that the operator gave a project or a key."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Mapped, mapped_column

from core.db.base import Base


class Quota(Base):
    __tablename__ = "quotas"

    subject: Mapped[str] = mapped_column(primary_key=True)
    """Id of a project or of an API key."""
    limits: Mapped[dict[str, Any]]
    """By the names of `Limits`; null takes a default away, and what is absent is as the settings say (of a key: no limit)."""
