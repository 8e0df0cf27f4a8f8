"""What a data set leaves in storage when it goes: the indexes of its files, and the frames that some were turned into.

A data set that was deleted is named by no new job, so its bytes go as soon as no unfinished job reads it and no worker indexes
it any more. What lies under its keys is its own: only versions of one data set share files that were indexed once. Uploads have
a chore of their own (`core.files.service`), which is woken here, since the data set may have been the last to need them.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.chores import service as chores
from core.chores.kinds import INDEX_VERSION, PURGE_DATASET, PURGE_FILE
from core.chores.models import Chore
from core.datasets.models import Dataset
from core.datasets.repository import lock_dataset, versions_of
from core.jobs.repository import unfinished_jobs_on


def retire(session: Session, dataset: Dataset, *, now: datetime) -> None:
    """Take a data set away, and let an upkeep worker free its bytes; versions that are being indexed fail."""
    dataset.deleted_at = now
    for version in versions_of(session, dataset.id):
        if version.status == "indexing":
            version.status, version.error = "failed", {"code": "deleted", "message": "the data set was deleted"}
    session.flush()
    chores.add(session, PURGE_DATASET, dataset.id)


def purgeable_keys(session: Session, dataset_id: str) -> list[str] | None:
    """Give the storage keys of a deleted data set; None while something needs them. Safe to ask again after they are gone."""
    dataset = lock_dataset(session, dataset_id)
    if dataset is None or dataset.deleted_at is None:
        return []
    versions = versions_of(session, dataset.id)
    ids = [version.id for version in versions]
    if unfinished_jobs_on(session, dataset.project_id, ids) or _is_being_indexed(session, ids):
        return None
    shards = [shard for version in versions for shard in version.shards]
    chores.wake(session, PURGE_FILE, {shard.file_id for shard in shards if shard.file_id is not None})
    return sorted({key for shard in shards for key in (shard.index_key, shard.frames_key)})


def _is_being_indexed(session: Session, version_ids: list[str]) -> bool:
    """A worker that holds the chore may publish yet; one that has not begun it finds nothing to do."""
    query = select(Chore.id).where(Chore.kind == INDEX_VERSION, Chore.subject.in_(version_ids), Chore.state.in_(chores.OPEN))
    return session.scalar(query.limit(1)) is not None
