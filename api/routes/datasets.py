"""/v1/datasets: register a file's rows, look at what the index found, at the rows, and at what a model will see."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from api.bodies import JsonRoute
from api.deps import InTurn, Parts, PartsDep, Tenant, TenantDep
from api.paging import MOST, After, Limit, ListObject, list_of, page_of
from api.preview import MOST_SAMPLED, measure_lengths, preview_rows
from api.references import refusing_references
from api.registering import asked_rows
from api.rows import page_of_rows, places_for, ready_source
from api.schemas.datasets import (
    DatasetCreate,
    DatasetDeleted,
    DatasetObject,
    RowPage,
    RowsAsked,
    ShardPage,
    VersionObject,
)
from core.datasets.models import DatasetVersion
from core.datasets.service import (
    append,
    delete_dataset,
    get_dataset,
    get_version,
    latest_version,
    list_datasets,
    list_versions,
    register,
)
from core.models.folders import fetch_folder
from core.models.service import resolve_base

router = APIRouter(prefix="/datasets", tags=["datasets"], route_class=JsonRoute)

PAGE = 20
PREVIEWED_ROWS = 8
MOST_NUMBER = 10**15

VersionNumber = Annotated[int | None, Query(ge=1, le=MOST_NUMBER, description="Number of the version; the newest when absent.")]


@router.post("")
def create(asked: DatasetCreate, tenant: TenantDep, parts: PartsDep) -> DatasetObject:
    """Register files under a name: a new data set, or the next version of the one that has the name.

    Rows come from `file_id`, from several `file_ids`, or from a `place` and a `path` in it, which may be a pattern. With
    `append` the version has the former one's files too, and only the new ones are read."""
    rows = asked_rows(asked, parts, tenant)
    parts.artifacts.require_space(0, parts.settings.min_free_bytes)
    with parts.ledger.write() as session, refusing_references():
        dataset, version = register(session, tenant.project_id, name=asked.name, rows=rows, is_appended=asked.append,
                                    now=parts.clock())
        told = DatasetObject.of(dataset, version)
    parts.wake_workers("upkeep")
    return told


@router.get("")
def list_all(tenant: TenantDep, parts: PartsDep, after: After = None, limit: Limit = PAGE) -> ListObject[DatasetObject]:
    """List data sets, newest first."""
    with parts.ledger.read() as session:
        page = list_datasets(session, tenant.project_id, after=after, limit=min(limit, MOST))
        return page_of(page, lambda dataset: DatasetObject.of(dataset, latest_version(session, dataset.id)))


@router.get("/{dataset_id}")
def retrieve(dataset_id: str, tenant: TenantDep, parts: PartsDep) -> DatasetObject:
    """Retrieve a data set with its newest version: counts, faults by line, lengths."""
    with parts.ledger.read() as session:
        dataset = get_dataset(session, tenant.project_id, dataset_id)
        return DatasetObject.of(dataset, latest_version(session, dataset.id))


@router.delete("/{dataset_id}")
def delete(dataset_id: str, tenant: TenantDep, parts: PartsDep) -> DatasetDeleted:
    """Delete a data set; refused while unfinished jobs use it. Its file stays."""
    with parts.ledger.write() as session:
        delete_dataset(session, tenant.project_id, dataset_id, now=parts.clock())
    return DatasetDeleted(id=dataset_id)


@router.get("/{dataset_id}/versions")
def versions(dataset_id: str, tenant: TenantDep, parts: PartsDep) -> ListObject[VersionObject]:
    """List all versions, newest first."""
    with parts.ledger.read() as session:
        dataset = get_dataset(session, tenant.project_id, dataset_id)
        return list_of([VersionObject.of(version) for version in list_versions(session, dataset.id)])


@router.post("/{dataset_id}/versions")
def append_version(dataset_id: str, asked: RowsAsked, tenant: TenantDep, parts: PartsDep) -> VersionObject:
    """Append files to the newest version: the next one has its files and these, and only these are read."""
    rows = asked_rows(asked, parts, tenant)
    parts.artifacts.require_space(0, parts.settings.min_free_bytes)
    with parts.ledger.write() as session:
        get_dataset(session, tenant.project_id, dataset_id)
        with refusing_references():
            told = VersionObject.of(append(session, tenant.project_id, dataset_id, rows=rows, now=parts.clock()))
    parts.wake_workers("upkeep")
    return told


@router.get("/{dataset_id}/shards")
def shards(
    dataset_id: str, tenant: TenantDep, parts: PartsDep,
    after: Annotated[int | None, Query(ge=0, le=MOST_NUMBER, description="Number of the last file seen.")] = None,
    limit: Limit = PAGE,
    version: VersionNumber = None,
) -> ShardPage:
    """List the files of a version, in the order in which its rows are numbered."""
    found = _version(dataset_id, version, tenant, parts)
    return ShardPage.of(found, first=0 if after is None else after + 1, limit=min(limit, MOST))


@router.get("/{dataset_id}/rows", dependencies=[InTurn])
def rows(
    dataset_id: str, tenant: TenantDep, parts: PartsDep,
    after: Annotated[int | None, Query(ge=0, le=MOST_NUMBER, description="Number of the last row seen.")] = None,
    limit: Limit = PAGE,
    version: VersionNumber = None,
) -> RowPage:
    """Read rows with their number and line."""
    found = _version(dataset_id, version, tenant, parts)
    return page_of_rows(found, parts, tenant, after=after, limit=min(limit, MOST))


@router.get("/{dataset_id}/preview", dependencies=[InTurn])
def preview(
    dataset_id: str, tenant: TenantDep, parts: PartsDep,
    model: Annotated[str, Query(min_length=1, max_length=256, description="Whose template and tokenizer to use.")],
    row: Annotated[int, Query(ge=0, le=MOST_NUMBER, description="Number of the first row.")] = 0,
    rows: Annotated[int, Query(ge=1, le=PREVIEWED_ROWS)] = 1,
    max_length: Annotated[int, Query(ge=8, le=1_048_576)] = 2048,
    version: VersionNumber = None,
) -> dict[str, Any]:
    """Show what the model will see, token by token, with the loss mask."""
    found = _version(dataset_id, version, tenant, parts)
    with parts.ledger.read() as session:
        base = resolve_base(session, tenant.project_id, model).base
    source = ready_source(found, parts.artifacts)
    return preview_rows(source, base, folder=fetch_folder(base, parts.artifacts), first_row=row, rows=rows,
                        max_length=max_length, places=places_for(source, parts, tenant))


@router.get("/{dataset_id}/lengths", dependencies=[InTurn])
def lengths(
    dataset_id: str, tenant: TenantDep, parts: PartsDep,
    model: Annotated[str, Query(min_length=1, max_length=256, description="Whose template and tokenizer to use.")],
    max_length: Annotated[int | None, Query(ge=8, le=1_048_576, description="As a job's options have it.")] = None,
    sample: Annotated[int, Query(ge=0, le=MOST_SAMPLED, description="Rows to look at beside the longest.")] = 1000,
    version: VersionNumber = None,
) -> dict[str, Any]:
    """Measure rows in a model's tokens: percentiles and a histogram from a sample, the longest rows exactly."""
    found = _version(dataset_id, version, tenant, parts)
    with parts.ledger.read() as session:
        base = resolve_base(session, tenant.project_id, model).base
    source = ready_source(found, parts.artifacts)
    return measure_lengths(source, base, folder=fetch_folder(base, parts.artifacts), max_length=max_length, sample=sample,
                           places=places_for(source, parts, tenant))


def _version(dataset_id: str, number: int | None, tenant: Tenant, parts: Parts) -> DatasetVersion:
    with parts.ledger.read() as session:
        if number is not None:
            return get_version(session, tenant.project_id, dataset_id, number)
        return latest_version(session, get_dataset(session, tenant.project_id, dataset_id).id)
