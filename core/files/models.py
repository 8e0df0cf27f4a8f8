"""Files as clients see them; their bytes lie in storage."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from core.db.base import Base


class StoredFile(Base):
    """Deleted rows stay, marked, until no job needs the bytes."""

    __tablename__ = "files"
    __table_args__ = (Index("ix_files_project_id_created_at_id", "project_id", "created_at", "id"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    key_id: Mapped[str | None]
    """The API key that it was uploaded with; None where that is not known."""
    filename: Mapped[str]
    purpose: Mapped[str]
    bytes: Mapped[int]
    sha256: Mapped[str]
    storage_key: Mapped[str] = mapped_column(index=True)
    """Path under the storage root, made from the id alone."""
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]
    """Gone for clients since then."""
    purged_at: Mapped[datetime | None]
    """Bytes removed from storage since then."""
