"""Data sets: register the rows of files under a name, index them once, and keep each version as it was.

Registering a name again adds a version, appending to it one that has the former's files too. A file that a job names gets a
data set of its own, implicit and in no list, which the next job on the same file uses again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from core.chores import service as chores
from core.chores.kinds import INDEX_VERSION as INDEX
from core.chores.kinds import PREPARE_JOB
from core.data.shapes import read_columns
from core.datasets.faults import first_faults
from core.datasets.models import Dataset, DatasetVersion
from core.datasets.purging import retire
from core.datasets.repository import (
    find_dataset_named,
    get_dataset,
    implicit_dataset,
    lock_dataset,
    lock_version,
    newest_usable,
    newest_version,
    next_number,
    versions_of,
)
from core.datasets.shards import NewShard, add_shards, copy_shards, settle_shard
from core.datasets.states import USABLE
from core.db.paging import Page, read_page
from core.errors import IllegalMove, InvalidValue, NotFound, first_few, number_of, shown
from core.files.models import StoredFile
from core.files.repository import get_file, lock_file
from core.ids import new_id
from core.jobs.repository import unfinished_jobs_on
from core.names import check_name
from core.projects.repository import lock_project


@dataclass(frozen=True)
class Rows:
    """What a version is to be made of: uploads, or what a pattern means in a place."""

    file_ids: Sequence[str] = ()
    place: str | None = None
    pattern: str | None = None
    shape: str | None = None
    """With `columns`, what the rows look like; without them the first rows tell."""
    columns: dict[str, Any] | None = None


def register(session: Session, project_id: str, *, name: str, rows: Rows, now: datetime, is_appended: bool = False
             ) -> tuple[Dataset, DatasetVersion]:
    """Make a version, under a new or a known name; an upkeep worker indexes it."""
    check_name("data set", name, param="name")
    read_columns(rows.columns)
    lock_project(session, project_id)
    dataset = find_dataset_named(session, project_id, name)
    if dataset is None:
        if is_appended:
            raise InvalidValue(f"there is no data set {shown(name)} to append to; register it first, without append",
                               code="not_found", param="append")
        dataset = _add_dataset(session, project_id, name, now=now)
    elif is_appended:
        return dataset, _append(session, dataset, rows, now=now)
    return dataset, _add_version(session, dataset, rows, now=now)


def append(session: Session, project_id: str, dataset_id: str, *, rows: Rows, now: datetime) -> DatasetVersion:
    """Make a version of the newest one's files and more; only the new files are indexed."""
    read_columns(rows.columns)
    lock_project(session, project_id)
    return _append(session, get_dataset(session, project_id, dataset_id), rows, now=now)


def version_for_file(session: Session, project_id: str, file_id: str, *, now: datetime,
                     param: str = "training_file") -> DatasetVersion:
    """Give the version that stands for a file which a job names; made at its first use, and again after one that failed."""
    lock_file(session, file_id)
    file = get_trainable_file(session, project_id, file_id, param=param)
    dataset = implicit_dataset(session, file_id)
    if dataset is None:
        dataset = _add_dataset(session, project_id, file.filename, now=now, is_implicit=True)
    newest = newest_version(session, dataset.id)
    if newest is not None and newest.status in USABLE:
        return newest
    return _add_version(session, dataset, Rows([file_id]), now=now)


def get_trainable_file(session: Session, project_id: str, file_id: str, *, param: str) -> StoredFile:
    """Give a file of the project that was uploaded to be trained on."""
    file = get_file(session, project_id, file_id, param=param)
    if file.purpose != "fine-tune":
        raise InvalidValue(
            f"{param} {file.id} has purpose {shown(file.purpose)}, expected 'fine-tune'; upload it again with that purpose",
            code="invalid_validation_file" if param == "validation_file" else "invalid_training_file", param=param)
    return file


def list_datasets(session: Session, project_id: str, *, after: str | None, limit: int) -> Page[Dataset]:
    is_shown = (Dataset.deleted_at.is_(None), Dataset.is_implicit.is_(False))
    query = select(Dataset).where(Dataset.project_id == project_id, *is_shown)
    seen = get_dataset(session, project_id, after, param="after") if after is not None else None
    return read_page(session, query, table=Dataset, after=seen, limit=limit)


def list_versions(session: Session, dataset_id: str) -> list[DatasetVersion]:
    """All versions of a data set, newest first."""
    return versions_of(session, dataset_id)


def latest_version(session: Session, dataset_id: str) -> DatasetVersion:
    """The newest version, whatever became of it."""
    found = newest_version(session, dataset_id)
    if found is None:
        raise NotFound(f"data set {shown(dataset_id)} has no version; register a file under its name")
    return found


def get_version(session: Session, project_id: str, dataset_id: str, number: int, *, param: str | None = None) -> DatasetVersion:
    dataset = get_dataset(session, project_id, dataset_id, param=param)
    query = select(DatasetVersion).where(DatasetVersion.dataset_id == dataset.id, DatasetVersion.number == number)
    version = session.scalar(query)
    if version is None:
        raise NotFound(f"data set {dataset.id} has no version {number}; see GET /v1/datasets/{dataset.id}", param=param)
    return version


def usable_version(session: Session, project_id: str, dataset_id: str, number: int | None, *, param: str
                   ) -> tuple[Dataset, DatasetVersion]:
    """Give the version that a new job may train on, and hold its data set until the job's row is there.

    `dataset_id` may be the data set's name. Without a number it is the newest ready version, or the newest being indexed."""
    named = find_dataset_named(session, project_id, dataset_id)
    dataset = named or get_dataset(session, project_id, dataset_id, param=param)
    locked = lock_dataset(session, dataset.id)
    if locked is None or locked.deleted_at is not None:
        get_dataset(session, project_id, dataset_id, param=param)
    if number is not None:
        version = get_version(session, project_id, dataset.id, number, param=param)
    else:
        version = newest_usable(session, dataset.id) or latest_version(session, dataset.id)
    if version.status not in USABLE:
        reason = (version.error or {}).get("message", "its rows could not be read")
        raise InvalidValue(f"version {version.number} of data set {dataset.id} is not usable: {reason}",
                           code="invalid_training_file", param=param)
    return dataset, version


def delete_dataset(session: Session, project_id: str, dataset_id: str, *, now: datetime) -> Dataset:
    """Take a data set away; refused, with the jobs named, while unfinished jobs read it. Its files stay."""
    lock_dataset(session, dataset_id)
    dataset = get_dataset(session, project_id, dataset_id)
    jobs = unfinished_jobs_on(session, project_id, [v.id for v in versions_of(session, dataset.id)])
    if jobs:
        raise IllegalMove(f"data set {dataset.id} is used by {number_of(len(jobs), 'unfinished job')} "
                          f"({first_few(jobs)}); wait for them or cancel them", code="dataset_in_use")
    retire(session, dataset, now=now)
    return dataset


def note_progress(session: Session, version_id: str, *, progress_bytes: int) -> None:
    """Show how far the index is."""
    is_open = (DatasetVersion.id == version_id, DatasetVersion.status == "indexing")
    session.execute(update(DatasetVersion).where(*is_open).values(progress_bytes=progress_bytes))


def settle_listing(session: Session, version_id: str, found: Sequence[NewShard]) -> DatasetVersion:
    """Note the files that a version's pattern means. Safe to call twice."""
    version = _get_locked(session, version_id)
    if not version.is_listed:
        add_shards(session, version, found)
        version.is_listed = True
        session.flush()
    return version


def settle_index(session: Session, version_id: str, *, report: dict[str, Any], now: datetime) -> DatasetVersion:
    """Make a version ready with the report over its shards (`IndexReport` as JSON), and wake the jobs that wait for it.

    A version without one good row fails instead, with its first faults. Safe to call twice."""
    if not is_usable(report):
        return fail_index(session, version_id, code="invalid_training_file", message=_without_rows(report), report=report,
                          now=now)
    version = _get_locked(session, version_id)
    if version.status != "indexing":
        return version
    version.status, version.ready_at = "ready", now
    version.bytes = version.progress_bytes = sum(shard.bytes for shard in version.shards)
    version.row_format = report["format"]
    _take_report(version, report)
    version.same_as = _first_like(session, version)
    session.flush()
    wake_jobs(session, version)
    return version


def is_usable(report: dict[str, Any]) -> bool:
    """Tell whether a file has a row to train on, and was read to its end."""
    return report["rows"] > report["faulty"] and report["format"] is not None and report.get("is_whole", True)


def fail_index(session: Session, version_id: str, *, code: str, message: str, now: datetime,
               report: dict[str, Any] | None = None) -> DatasetVersion:
    """Mark a version that nothing can be trained on; the jobs that wait for it are woken, to fail with its words."""
    version = _get_locked(session, version_id)
    if version.status != "indexing":
        return version
    version.status, version.error = "failed", {"code": code, "message": message}
    if report is not None:
        _take_report(version, report)
    session.flush()
    wake_jobs(session, version)
    return version


def wake_jobs(session: Session, version: DatasetVersion) -> None:
    dataset = session.get_one(Dataset, version.dataset_id)
    chores.wake(session, PREPARE_JOB, unfinished_jobs_on(session, dataset.project_id, [version.id]))


def _take_report(version: DatasetVersion, report: dict[str, Any]) -> None:
    version.report, version.digest = report, report["sha256"]
    version.rows, version.faulty_rows = report["rows"], report["faulty"]


def _without_rows(report: dict[str, Any]) -> str:
    if not report["rows"]:
        return "there are no rows in it; give it at least one JSON object on a line of its own"
    return f"none of its {report['rows']:,} rows can be trained on: {first_faults(report)}"


def _get_locked(session: Session, version_id: str) -> DatasetVersion:
    version = lock_version(session, version_id)
    if version is None:
        raise NotFound(f"no data set version {shown(version_id)}; it was never registered here")
    return version


def _add_dataset(session: Session, project_id: str, name: str, *, now: datetime, is_implicit: bool = False) -> Dataset:
    dataset = Dataset(id=new_id("dataset"), project_id=project_id, name=name, is_implicit=is_implicit, created_at=now)
    session.add(dataset)
    session.flush()
    return dataset


def _append(session: Session, dataset: Dataset, rows: Rows, *, now: datetime) -> DatasetVersion:
    former = newest_version(session, dataset.id, status=USABLE)
    if former is None or not former.is_listed:
        raise IllegalMove(f"data set {dataset.id} has no version whose files are known to append to; register it without "
                          "append, or wait until its newest version is ready", code="dataset_not_ready")
    rows = replace(rows, shape=rows.shape or former.asked_shape, columns=rows.columns or former.columns)
    if (rows.shape, rows.columns) != (former.asked_shape, former.columns):
        raise InvalidValue(f"version {former.number} of data set {dataset.id} was registered with another shape or other "
                           "columns; append with the same, or leave them out", param="columns")
    return _add_version(session, dataset, rows, now=now, former=former)


def _add_version(session: Session, dataset: Dataset, rows: Rows, *, now: datetime, former: DatasetVersion | None = None
                 ) -> DatasetVersion:
    param = "file_id" if len(rows.file_ids) == 1 else "file_ids"
    files = [get_trainable_file(session, dataset.project_id, file_id, param=param) for file_id in rows.file_ids]
    version = DatasetVersion(id=new_id("dataset_version"), dataset_id=dataset.id, number=next_number(session, dataset.id),
                             file_id=files[0].id if len(files) == 1 and former is None else None, place=rows.place,
                             pattern=rows.pattern, is_listed=rows.place is None, status="indexing", bytes=0, created_at=now,
                             asked_shape=rows.shape, columns=rows.columns)
    session.add(version)
    session.flush()
    if former is not None:
        copy_shards(session, version, former)
    add_shards(session, version, [NewShard.of_upload(file) for file in files])
    chores.add(session, INDEX, version.id)
    return version


def _first_like(session: Session, version: DatasetVersion) -> int | None:
    """The first version that has the same content and was asked to be read in the same way."""
    alike = [other.number for other in versions_of(session, version.dataset_id)
             if other.status == "ready" and other.number < version.number and other.digest == version.digest
             and (other.asked_shape, other.columns) == (version.asked_shape, version.columns)]
    return min(alike, default=None)


__all__ = [
    "INDEX", "NewShard", "Rows", "append", "delete_dataset", "fail_index", "get_dataset", "get_trainable_file",
    "get_version", "is_usable", "latest_version", "list_datasets", "list_versions", "note_progress", "register", "settle_index",
    "settle_listing", "settle_shard", "usable_version", "version_for_file",
]
