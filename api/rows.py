"""Rows of a data set version as a page: read from the file through its index, each checked as a run would check it."""

from __future__ import annotations

from collections.abc import Iterator

from api.schemas.datasets import RowObject, RowPage, VersionError
from core.data.rows import BadRow, RowReader
from core.data.spec import RowRef, SourceSpec
from core.datasets.models import DatasetVersion
from core.errors import IllegalMove
from core.storage.artifacts import Artifacts, file_key

PAGE_BYTES = 4 * 1024 * 1024
"""A page ends early rather than hold more than this of the file, but for a single row."""


def source_of(version: DatasetVersion, artifacts: Artifacts) -> SourceSpec:
    """Describe a version that is ready; raise IllegalMove for one that has no rows to show."""
    if version.status != "ready" or version.index_key is None or version.row_format is None:
        raise IllegalMove(f"version {version.number} of data set {version.dataset_id} is {version.status}; its rows can be "
                          "read once it is ready", code="dataset_not_ready")
    return SourceSpec.of_file(
        f"version {version.number}", str(artifacts.path(file_key(version.file_id))), str(artifacts.path(version.index_key)),
        version.row_format, version.digest or "")  # pyright: ignore[reportArgumentType]


def read_page(version: DatasetVersion, artifacts: Artifacts, *, after: int | None, limit: int) -> RowPage:
    """Read the rows behind number `after`, at most `limit` of them."""
    first = 0 if after is None else after + 1
    with RowReader([source_of(version, artifacts)]) as reader:
        last = min(first + limit, reader.indexes[0].rows)
        rows = list(_read(reader, range(first, last)))
        return RowPage(version=version.id, data=rows, has_more=first + len(rows) < reader.indexes[0].rows,
                       first_id=rows[0].number if rows else None, last_id=rows[-1].number if rows else None)


def _read(reader: RowReader, numbers: range) -> Iterator[RowObject]:
    index = reader.indexes[0]
    taken = 0
    for number in numbers:
        _, start, end = index.span(number)
        if taken and taken + end - start > PAGE_BYTES:
            return
        taken += end - start
        yield _shape(reader, RowRef(0, number))


def _shape(reader: RowReader, ref: RowRef) -> RowObject:
    number, (file, line), (row,) = ref.row, reader.where(ref), reader.read_many([ref])
    if isinstance(row, BadRow):
        error = VersionError(code=row.code, message=row.message)
        return RowObject(number=number, file=file, line=line, content=None, error=error)
    return RowObject(number=number, file=file, line=line, content=reader.stored(ref), error=None)
