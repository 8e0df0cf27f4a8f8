"""Rows as their files have them: `python -m core.data.page`, a request as JSON on standard input.

    request   {"source": {…SourceSpec…}, "first": 0, "count": 20, "places": {…Places…}}
    answer    {"total": …, "rows": [{"row", "file", "line", "content"}]}; with "error": {"code", "message"} in the place of
              the content for a row that cannot be used

Sources that the process which asks must not open itself (`asking`) are read by a process of their own; `read_page` is what
both do.
"""

from __future__ import annotations

import sys
from typing import Any

import orjson

from core.data.asking import ask, serve
from core.data.rows import BadRow, RowReader
from core.data.spec import Places, RowRef, SourceSpec

PAGE_BYTES = 4 * 1024 * 1024
"""A page ends early rather than hold more than this, but for a single row."""


def ask_page(source: SourceSpec, *, first: int, count: int, places: Places, timeout_seconds: float) -> dict[str, Any]:
    """Have a page read by a short process; raise DataError with its reason, Unavailable when it took too long."""
    told = {"source": source.to_json(), "first": first, "count": count, "places": places.to_json()}
    return ask("core.data.page", told, timeout_seconds=timeout_seconds)


def read_page(source: SourceSpec, *, first: int, count: int, places: Places | None = None) -> dict[str, Any]:
    """Read some rows, each checked as a run would check it."""
    with RowReader([source], places) as reader:
        total = reader.indexes[0].rows
        rows: list[dict[str, Any]] = []
        taken = 0
        for number in range(first, min(first + count, total)):
            told = _read(reader, RowRef(0, number))
            size = len(orjson.dumps(told))
            if rows and taken + size > PAGE_BYTES:
                break
            taken += size
            rows.append(told)
        return {"total": total, "rows": rows}


def _read(reader: RowReader, ref: RowRef) -> dict[str, Any]:
    (row,), (file, line) = reader.read_many([ref]), reader.where(ref)
    told = {"row": ref.row, "file": file, "line": line}
    if isinstance(row, BadRow):
        return {**told, "error": {"code": row.code, "message": row.message}}
    return {**told, "content": reader.stored(ref)}


def _page(told: dict[str, Any]) -> dict[str, Any]:
    return read_page(SourceSpec.from_json(told["source"]), first=told["first"], count=told["count"],
                     places=Places.from_json(told["places"]))


if __name__ == "__main__":
    sys.exit(serve(_page))
