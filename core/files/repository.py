"""What is asked of files."""

from __future__ import annotations

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from core.datasets.models import Dataset, DatasetShard, DatasetVersion
from core.errors import NotFound, shown
from core.files.models import StoredFile
from core.jobs.models import Job
from core.jobs.states import UNFINISHED


def find_file(session: Session, project_id: str, file_id: str) -> StoredFile | None:
    query = select(StoredFile).where(StoredFile.id == file_id, StoredFile.project_id == project_id,
                                     StoredFile.deleted_at.is_(None))
    return session.scalar(query)


def get_file(session: Session, project_id: str, file_id: str, *, param: str | None = None) -> StoredFile:
    file = find_file(session, project_id, file_id)
    if file is None:
        raise NotFound(f"no file {shown(file_id)} in this project; upload it first, or list what is there with GET /v1/files",
                       param=param)
    return file


def lock_file(session: Session, file_id: str) -> StoredFile | None:
    """Let one transaction at a time decide over a file: its implicit data set, its deletion."""
    query = select(StoredFile).where(StoredFile.id == file_id).with_for_update(key_share=True)
    return session.scalar(query.execution_options(populate_existing=True))


def jobs_that_need(session: Session, file_id: str) -> list[str]:
    """Unfinished jobs that name the file."""
    names = or_(Job.training_file_id == file_id, Job.validation_file_id == file_id)
    return list(session.scalars(select(Job.id).where(names, Job.state.in_(UNFINISHED)).order_by(Job.created_at)))


def registered_versions_on(session: Session, file_id: str) -> list[str]:
    """Versions of data sets that users registered, and still have, some of whose rows lie in the file."""
    query = (
        select(DatasetVersion.id)
        .join(Dataset, Dataset.id == DatasetVersion.dataset_id)
        .join(DatasetShard, DatasetShard.version_id == DatasetVersion.id)
        .where(DatasetShard.file_id == file_id, DatasetVersion.status != "failed", Dataset.deleted_at.is_(None),
               Dataset.is_implicit.is_(False))
    )
    return list(session.scalars(query.distinct()))
