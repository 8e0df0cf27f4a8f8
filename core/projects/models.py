"""Tenants and their keys."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from core.db.base import Base


class Project(Base):
    """Whom things belong to: files, data sets, jobs and models are sealed inside their project."""

    __tablename__ = "projects"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    organization_id: Mapped[str] = mapped_column(unique=True)
    """Shown to clients as `organization_id`; one of its own for each project."""
    created_at: Mapped[datetime]
    served_at: Mapped[datetime | None]
    """When a job of the project was last claimed: among equal priorities the project served longest ago goes first."""


class ApiKey(Base):
    """A secret's digest; the secret itself is shown once, at creation."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str | None] = mapped_column(ForeignKey("projects.id"), index=True)
    """None for an admin key, which belongs to no project."""
    name: Mapped[str]
    prefix: Mapped[str]
    """First characters of the secret, to tell keys apart in a list."""
    digest: Mapped[str] = mapped_column(unique=True)
    """SHA-256 of the secret, hex; the secret has 256 random bits, so no salt is needed."""
    is_admin: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
