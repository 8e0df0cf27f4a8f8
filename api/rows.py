"""Rows of a data set version as a page, each checked as a run would check it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from api.deps import Parts, Tenant
from api.schemas.datasets import RowObject, RowPage, VersionError
from core.data.asking import must_ask
from core.data.page import ask_page, read_page
from core.data.spec import Places, SourceSpec, StreamSpec
from core.datasets.models import DatasetVersion
from core.datasets.sources import fetch_indexes, source_of
from core.errors import IllegalMove
from core.places import open_to_clients, places_of, readable
from core.projects.repository import get_project
from core.settings import Settings
from core.storage.artifacts import Artifacts

TIMEOUT_SECONDS = 20.0


def ready_source(version: DatasetVersion, artifacts: Artifacts) -> SourceSpec:
    """Describe a version that is ready; raise IllegalMove for one that has no rows to show."""
    if version.status != "ready":
        raise IllegalMove(f"version {version.number} of data set {version.dataset_id} is {version.status}; its rows can be "
                          "read once it is ready", code="dataset_not_ready")
    fetch_indexes([version], artifacts)
    return source_of(version, artifacts, name=f"version {version.number}")


def places_for(rows: SourceSpec | StreamSpec, parts: Parts, tenant: Tenant) -> Places:
    """What opens the places that rows lie in, and no more."""
    names = rows.place_names
    return places_of_tenant(parts, tenant, readable).only(names) if names else Places()


def places_of_tenant(parts: Parts, tenant: Tenant, read: Callable[[Settings], Places] = places_of) -> Places:
    """The places that are open to the caller's project, to be named, or with `readable` to be read from; raises Unavailable
    where the operator's file is at fault."""
    with parts.ledger.read() as session:
        project = get_project(session, tenant.project_id).name
    return open_to_clients(parts.settings, project, read)


def page_of_rows(version: DatasetVersion, parts: Parts, tenant: Tenant, *, after: int | None, limit: int) -> RowPage:
    """Read the rows behind number `after`, at most `limit` of them."""
    source, first = ready_source(version, parts.artifacts), 0 if after is None else after + 1
    if must_ask(source):
        told = ask_page(source, first=first, count=limit, places=places_for(source, parts, tenant),
                        timeout_seconds=TIMEOUT_SECONDS)
    else:
        told = read_page(source, first=first, count=limit)
    rows = [_shape(row) for row in told["rows"]]
    return RowPage(version=version.id, data=rows, has_more=first + len(rows) < told["total"],
                   first_id=rows[0].number if rows else None, last_id=rows[-1].number if rows else None)


def _shape(told: dict[str, Any]) -> RowObject:
    error = VersionError.model_validate(told["error"]) if "error" in told else None
    return RowObject(number=told["row"], file=told["file"], line=told["line"], content=told.get("content"), error=error)
