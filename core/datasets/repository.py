"""What is asked of data sets and their versions."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.datasets.models import Dataset, DatasetVersion
from core.datasets.states import STATUSES, USABLE
from core.errors import NotFound, shown


def find_dataset(session: Session, project_id: str, dataset_id: str) -> Dataset | None:
    query = select(Dataset).where(Dataset.id == dataset_id, Dataset.project_id == project_id, Dataset.deleted_at.is_(None))
    return session.scalar(query)


def find_dataset_named(session: Session, project_id: str, name: str) -> Dataset | None:
    query = select(Dataset).where(Dataset.project_id == project_id, Dataset.name == name, Dataset.is_implicit.is_(False),
                                  Dataset.deleted_at.is_(None))
    return session.scalar(query)


def get_dataset(session: Session, project_id: str, dataset_id: str, *, param: str | None = None) -> Dataset:
    dataset = find_dataset(session, project_id, dataset_id)
    if dataset is None:
        raise NotFound(f"no data set {shown(dataset_id)} in this project; register one, or list yours with GET /v1/datasets",
                       param=param)
    return dataset


def lock_dataset(session: Session, dataset_id: str) -> Dataset | None:
    """Let one transaction at a time decide whether a data set goes or a job begins to use it."""
    query = select(Dataset).where(Dataset.id == dataset_id).with_for_update(key_share=True)
    return session.scalar(query.execution_options(populate_existing=True))


def lock_version(session: Session, version_id: str) -> DatasetVersion | None:
    query = select(DatasetVersion).where(DatasetVersion.id == version_id).with_for_update(key_share=True)
    return session.scalar(query.execution_options(populate_existing=True))


def versions_of(session: Session, dataset_id: str) -> list[DatasetVersion]:
    """All versions, newest first."""
    query = select(DatasetVersion).where(DatasetVersion.dataset_id == dataset_id)
    return list(session.scalars(query.order_by(DatasetVersion.number.desc())))


def next_number(session: Session, dataset_id: str) -> int:
    query = select(func.coalesce(func.max(DatasetVersion.number), 0)).where(DatasetVersion.dataset_id == dataset_id)
    return (session.scalar(query) or 0) + 1


def implicit_dataset(session: Session, file_id: str) -> Dataset | None:
    """The nameless data set made for a file that jobs name."""
    query = (
        select(Dataset)
        .join(DatasetVersion, DatasetVersion.dataset_id == Dataset.id)
        .where(DatasetVersion.file_id == file_id, Dataset.is_implicit, Dataset.deleted_at.is_(None))
        .limit(1)
    )
    return session.scalar(query)


def newest_version(session: Session, dataset_id: str, *, status: Collection[str] = STATUSES) -> DatasetVersion | None:
    """The newest version in one of these states. A version brings its files along, so no others are asked for."""
    query = select(DatasetVersion).where(DatasetVersion.dataset_id == dataset_id, DatasetVersion.status.in_(status))
    return session.scalar(query.order_by(DatasetVersion.number.desc()).limit(1))


def newest_usable(session: Session, dataset_id: str) -> DatasetVersion | None:
    """The newest ready version, or the newest that is being indexed when none is ready."""
    return next(filter(None, (newest_version(session, dataset_id, status=[status]) for status in USABLE)), None)
