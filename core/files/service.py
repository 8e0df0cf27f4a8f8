"""Files: record one whose bytes are stored, look it up, list, delete.

A delete answers at once: the file is gone for clients, and a chore frees its bytes when no unfinished job and no registered
data set needs them.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.chores import service as chores
from core.chores.kinds import PURGE_FILE as PURGE
from core.datasets.purging import retire
from core.datasets.repository import implicit_dataset
from core.db.paging import Page, read_page
from core.errors import InvalidValue, shown
from core.files.models import StoredFile
from core.files.repository import find_file, get_file, jobs_that_need, lock_file, registered_versions_on


def record_file(session: Session, *, project_id: str, file_id: str, filename: str, purpose: str, bytes: int, sha256: str,
                storage_key: str, now: datetime, expires_at: datetime | None = None, key_id: str | None = None) -> StoredFile:
    """Add the row of a file whose bytes already lie, whole and fsynced, under `storage_key`."""
    file = StoredFile(id=file_id, project_id=project_id, filename=filename, purpose=purpose, bytes=bytes, sha256=sha256,
                      storage_key=storage_key, created_at=now, expires_at=expires_at, key_id=key_id)
    session.add(file)
    session.flush()
    return file


def list_files(session: Session, project_id: str, *, after: str | None, limit: int, order: str = "desc",
               purpose: str | None = None) -> Page[StoredFile]:
    if order not in ("asc", "desc"):
        raise InvalidValue(f"order is {shown(order)}; it is 'asc' or 'desc'", param="order")
    query = select(StoredFile).where(StoredFile.project_id == project_id, StoredFile.deleted_at.is_(None))
    if purpose is not None:
        query = query.where(StoredFile.purpose == purpose)
    seen = get_file(session, project_id, after, param="after") if after is not None else None
    return read_page(session, query, table=StoredFile, after=seen, limit=limit, is_ascending=order == "asc")


def delete_file(session: Session, project_id: str, file_id: str, *, now: datetime) -> StoredFile:
    """Take the file from its clients' sight; its bytes go when nothing needs them any more."""
    lock_file(session, file_id)
    file = get_file(session, project_id, file_id)
    file.deleted_at = now
    session.flush()
    chores.add(session, PURGE, file.id)
    return file


def purgeable(session: Session, file_id: str) -> bool:
    """Tell whether a deleted file's bytes may go: no unfinished job and no registered data set reads them."""
    file = lock_file(session, file_id)
    if file is None or file.deleted_at is None or file.purged_at is not None:
        return False
    return not jobs_that_need(session, file_id) and not registered_versions_on(session, file_id)


def purgeable_keys(session: Session, file_id: str, *, now: datetime) -> list[str] | None:
    """Mark a deleted file as purged where its bytes may go, and give the storage keys to delete then; None while something
    needs them. Its implicit data set goes with it. Safe to ask again after they are gone."""
    is_freed = purgeable(session, file_id)
    file = lock_file(session, file_id)
    if file is None or file.deleted_at is None:
        return []
    if is_freed:
        file.purged_at = now
        if (dataset := implicit_dataset(session, file_id)) is not None:
            retire(session, dataset, now=now)
    return [file.storage_key] if file.purged_at is not None else None


def expire_files(session: Session, *, now: datetime, limit: int = 100) -> list[str]:
    """Delete files whose time has come; gives their ids."""
    query = select(StoredFile).where(StoredFile.expires_at <= now, StoredFile.deleted_at.is_(None)).limit(limit)
    expired = list(session.scalars(query))
    for file in expired:
        delete_file(session, file.project_id, file.id, now=now)
    return [file.id for file in expired]


__all__ = [
    "PURGE", "delete_file", "expire_files", "find_file", "get_file", "list_files", "purgeable", "purgeable_keys", "record_file",
]
