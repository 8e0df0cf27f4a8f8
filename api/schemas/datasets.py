"""Data sets, their versions and rows on the wire. All of it is ours: OpenAI has no such thing."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from api.paging import Entry
from api.schemas.times import unix
from core.datasets.models import Dataset, DatasetVersion
from core.datasets.shape import shape_of


class DatasetCreate(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: Annotated[str, StringConstraints(min_length=1, max_length=128)]
    file_id: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    shape: Literal["chat", "sharegpt", "alpaca", "prompt_completion", "text", "preference", "preference_openai",
                   "preference_sharegpt", "preference_alpaca", "preference_trl"] | None = None
    """What the rows look like; found by the first of them when absent."""
    columns: Annotated[dict[str, Any], Field(max_length=64)] | None = None
    """Which field each part is read from, as in {"prompt": "question", "completion": "answer"}; an entry of a
    dataset_info.json is understood too."""


class Fault(BaseModel):
    line: int
    """From 1; 0 for the file as a whole."""
    code: str
    message: str
    """Line, reason and remedy in one sentence."""
    reason: str = ""
    remedy: str = ""
    file: str = ""
    """The shard that the line lies in, where a version has several."""


class Duplicates(BaseModel):
    rows: int
    """Rows whose very bytes came before."""
    is_estimated: bool


class VersionError(BaseModel):
    code: str
    message: str


class VersionObject(Entry):
    object: Literal["dataset.version"] = "dataset.version"
    dataset: str
    number: int
    status: Literal["indexing", "ready", "failed"]
    file_id: str
    created_at: int
    ready_at: int | None
    bytes: int
    progress_bytes: int
    digest: str | None
    """SHA-256 of the content."""
    format: str | None
    """What a row is read as: chat, prompt_completion, text or preference."""
    shape: str | None
    """What the rows look like: found, or as it was asked for."""
    columns: dict[str, Any]
    """Which field each part is read from."""
    rows: int | None
    faulty_rows: int | None
    faults: list[Fault]
    """The first of them, by line."""
    fault_counts: dict[str, int]
    """How many of each code, over all lines."""
    duplicates: Duplicates | None
    lengths: dict[str, Any] | None
    """Bytes of the rows: least, mean, percentiles, most, histogram."""
    error: VersionError | None

    @classmethod
    def of(cls, version: DatasetVersion) -> VersionObject:
        report, shape = version.report or {}, shape_of(version)
        return cls(
            id=version.id, dataset=version.dataset_id, number=version.number, status=version.status,  # pyright: ignore[reportArgumentType]
            file_id=version.file_id, created_at=unix(version.created_at), ready_at=unix(version.ready_at), bytes=version.bytes,
            progress_bytes=version.progress_bytes, digest=version.digest, format=version.row_format,
            shape=shape["name"], columns=shape["columns"], rows=version.rows,
            faulty_rows=version.faulty_rows, faults=[Fault.model_validate(fault) for fault in report.get("faults") or []],
            fault_counts=report.get("fault_counts") or {}, lengths=report.get("lengths"),
            duplicates=Duplicates.model_validate(report["duplicates"]) if report.get("duplicates") else None,
            error=VersionError.model_validate(version.error) if version.error else None,
        )


class DatasetObject(Entry):
    object: Literal["dataset"] = "dataset"
    name: str
    created_at: int
    version: VersionObject
    """The newest one."""

    @classmethod
    def of(cls, dataset: Dataset, version: DatasetVersion) -> DatasetObject:
        return cls(id=dataset.id, name=dataset.name, created_at=unix(dataset.created_at), version=VersionObject.of(version))


class DatasetDeleted(BaseModel):
    id: str
    object: Literal["dataset"] = "dataset"
    deleted: Literal[True] = True


class RowObject(BaseModel):
    number: int
    """From 0, within the version."""
    file: str
    """Name of the shard that it lies in."""
    line: int
    """From 1, in that file."""
    content: dict[str, Any] | None
    """null for a row that cannot be used."""
    error: VersionError | None


class RowPage(BaseModel):
    object: Literal["list"] = "list"
    version: str
    data: list[RowObject]
    has_more: bool
    first_id: int | None
    last_id: int | None
