"""Files on the wire."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from api.paging import Entry
from api.schemas.times import unix
from core.files.models import StoredFile

Purpose = Literal["fine-tune", "assistants", "batch", "vision", "user_data", "evals"]
"""What an upload may be for."""


class FileObject(Entry):
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    filename: str
    purpose: str
    status: Literal["processed"] = "processed"
    """A stored file is whole: clients that poll for this word go on at once."""
    expires_at: int | None
    status_details: str | None = None

    @classmethod
    def of(cls, file: StoredFile) -> FileObject:
        return cls(id=file.id, bytes=file.bytes, created_at=unix(file.created_at), filename=file.filename, purpose=file.purpose,
                   expires_at=unix(file.expires_at))


class FileDeleted(BaseModel):
    id: str
    object: Literal["file"] = "file"
    deleted: Literal[True] = True
