"""Tenants, their keys, and what they used."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Double, ForeignKey
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
    """When a job of the project was last claimed."""
    weight: Mapped[float] = mapped_column(Double, default=1.0, server_default="1")
    """Its shares of the devices: among equal priorities the project with the least recent use per share goes first."""
    max_priority: Mapped[int] = mapped_column(default=100, server_default="100")
    """The highest priority that its jobs may ask for."""


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


class DeviceUse(Base):
    """Device-seconds that a project's runs held within one bucket of time, by the key that submitted them."""

    __tablename__ = "device_use"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    begins_at: Mapped[datetime] = mapped_column(primary_key=True)
    """Start of the bucket: a multiple of `usage.BUCKET_SECONDS` since 1970."""
    key_id: Mapped[str] = mapped_column(primary_key=True)
    """Empty where the key is not known."""
    device_seconds: Mapped[float] = mapped_column(Double)


class RecentUse(Base):
    """A project's device-seconds, each halved with every half-life that has passed since it was used."""

    __tablename__ = "recent_use"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    device_seconds: Mapped[float] = mapped_column(Double)
    """As of `noted_at`."""
    noted_at: Mapped[datetime]
