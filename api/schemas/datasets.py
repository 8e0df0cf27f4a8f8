"""Data sets, their versions and rows on the wire. All of it is ours: OpenAI has no such thing."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StringConstraints

from api.paging import Entry
from api.schemas.times import unix
from core.datasets.models import Dataset, DatasetShard, DatasetVersion
from core.datasets.shape import shape_of

FileId = Annotated[str, StringConstraints(min_length=1, max_length=64)]
SHOWN_SHARDS = 20
"""Files of a version that its object shows; all of them have pages of their own."""


class RowsAsked(BaseModel):
    """What a version is made of: one of `file_id`, `file_ids`, or `place` with `path`."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    file_id: FileId | None = None
    file_ids: Annotated[list[FileId], Field(min_length=1, max_length=4096)] | None = None
    place: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = None
    """Name of a place that the operator has named; see GET /v1/places."""
    path: Annotated[str, StringConstraints(min_length=1, max_length=1024)] | None = None
    """In the place: a file, a pattern such as `2026/**/*.jsonl`, or a folder, which ends with a slash."""
    shape: Literal["chat", "sharegpt", "alpaca", "prompt_completion", "text", "preference", "preference_openai",
                   "preference_sharegpt", "preference_alpaca", "preference_trl"] | None = None
    """What the rows look like; found by the first of them when absent."""
    columns: Annotated[dict[str, Any], Field(max_length=64)] | None = None
    """Which field each part is read from, as in {"prompt": "question", "completion": "answer"}; an entry of a
    dataset_info.json is understood too."""


class DatasetCreate(RowsAsked):
    name: Annotated[str, StringConstraints(min_length=1, max_length=128)]
    append: StrictBool = False
    """Whether the version has the files of the newest one too."""


class ShardObject(BaseModel):
    object: Literal["dataset.shard"] = "dataset.shard"
    number: int
    """From 0, in the order in which rows are numbered."""
    file: str
    file_id: str | None
    place: str | None
    path: str | None
    status: Literal["waiting", "ready"]
    kind: str | None
    """What the file is, as its name would end: jsonl, json, csv.gz, parquet …"""
    stored_as: str | None
    """How rows are read: lines, csv, tsv and parquet from the file itself, frames from what it was turned into."""
    bytes: int
    converted_bytes: int | None
    """Of the frames, where it was turned into some."""
    seconds: float | None
    """What reading, checking and turning took."""
    rows: int | None
    faulty_rows: int | None
    digest: str | None
    """SHA-256 of the file."""

    @classmethod
    def of(cls, shard: DatasetShard) -> ShardObject:
        return cls(number=shard.number, file=shard.name, file_id=shard.file_id, place=shard.place, path=shard.path,
                   status="ready" if shard.is_indexed else "waiting", kind=shard.file_kind, stored_as=shard.kind,
                   bytes=shard.bytes, converted_bytes=shard.converted_bytes, seconds=shard.seconds, rows=shard.rows,
                   faulty_rows=shard.faulty_rows, digest=shard.digest)


class ShardPage(BaseModel):
    object: Literal["list"] = "list"
    version: str
    data: list[ShardObject]
    has_more: bool
    first_id: int | None
    last_id: int | None

    @classmethod
    def of(cls, version: DatasetVersion, *, first: int, limit: int) -> ShardPage:
        some = [ShardObject.of(shard) for shard in version.shards[first : first + limit]]
        return cls(version=version.id, data=some, has_more=first + len(some) < len(version.shards),
                   first_id=some[0].number if some else None, last_id=some[-1].number if some else None)


class Fault(BaseModel):
    line: int
    """From 1; 0 for the file as a whole."""
    code: str
    message: str
    """File, line, reason and remedy in one sentence."""
    reason: str = ""
    remedy: str = ""
    file: str = ""
    """The file of the version that the line lies in."""


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
    file_id: str | None
    """The upload, where it is the only file."""
    place: str | None
    path: str | None
    """As it was asked for, a pattern perhaps."""
    shards: list[ShardObject]
    """The first files; GET …/shards has them all."""
    shard_count: int
    created_at: int
    ready_at: int | None
    bytes: int
    converted_bytes: int | None
    """Of the frames that files were turned into, on top of the files themselves."""
    progress_bytes: int
    digest: str | None
    """Of the content: of one file its SHA-256, of several the SHA-256 over theirs."""
    same_as: int | None
    """Number of the first version that has the same content and is read in the same way."""
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
            file_id=version.file_id, place=version.place, path=version.pattern, shard_count=len(version.shards),
            shards=[ShardObject.of(shard) for shard in version.shards[:SHOWN_SHARDS]], same_as=version.same_as,
            converted_bytes=report.get("converted_bytes"),
            created_at=unix(version.created_at), ready_at=unix(version.ready_at), bytes=version.bytes,
            progress_bytes=version.progress_bytes, digest=version.digest, format=version.row_format,
            shape=shape["name"], columns=shape["columns"], rows=version.rows,
            faulty_rows=version.faulty_rows, faults=[Fault.model_validate(fault) for fault in report.get("faults") or []],
            fault_counts=report.get("fault_counts") or {}, lengths=_lengths(report),
            duplicates=Duplicates.model_validate(report["duplicates"]) if report.get("duplicates") else None,
            error=VersionError.model_validate(version.error) if version.error else None,
        )


def _lengths(report: dict[str, Any]) -> dict[str, Any] | None:
    """Without what only we need to join those of several files."""
    told = report.get("lengths")
    return told and {name: value for name, value in told.items() if name != "buckets"}


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
