"""Rows as their files have them: `python -m core.data.page`, a request as JSON on standard input.

    request   {"source": {…SourceSpec…}, "first": 0, "count": 20, "places": {…Places…}}
    answer    {"total": …, "rows": [{"row", "file", "line", "content"}]}; with "error": {"code", "message"} in the place of
              the content for a row that cannot be used
    error     {"error": {"code", "message"}}, with exit status 3

For sources that the process which asks must not open itself: Parquet, whose decoder is large and reads what strangers wrote,
and files in places, which are waited for. `read_page` is what both do.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from typing import Any

import orjson

from core.data.process import bare_environment, python_command
from core.data.rows import BadRow, RowReader
from core.data.spec import Places, RowRef, SourceSpec
from core.errors import DataError, HeadraceError, Unavailable

PAGE_BYTES = 4 * 1024 * 1024
"""A page ends early rather than hold more than this, but for a single row."""
MEMORY_BYTES = 2 * 1024**3
CPU_SECONDS = 20
REFUSED = 3


def ask_page(source: SourceSpec, *, first: int, count: int, places: Places, timeout_seconds: float) -> dict[str, Any]:
    """Have a page read by a short process; raise DataError with its reason, Unavailable when it took too long."""
    told = {"source": source.to_json(), "first": first, "count": count, "places": places.to_json()}
    try:
        ended = subprocess.run(python_command("core.data.page"), input=orjson.dumps(told), capture_output=True,
                               env=bare_environment(), timeout=timeout_seconds, check=False)
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"reading the rows took more than {timeout_seconds:g} s; ask for fewer, or try again when the place "
                          "that they lie in answers faster") from error
    if ended.returncode not in (0, REFUSED):
        raise DataError(f"reading the rows ended with status {ended.returncode}; they take more memory or time than a page "
                        "may; ask for fewer", code="page_failed")
    answer = orjson.loads(ended.stdout)
    if error := answer.get("error"):
        raise DataError(error["message"], code=error["code"])
    return answer


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


def main() -> int:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 2))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    told = orjson.loads(sys.stdin.buffer.read())
    try:
        answer = read_page(SourceSpec.from_json(told["source"]), first=told["first"], count=told["count"],
                           places=Places.from_json(told["places"]))
    except (HeadraceError, MemoryError) as error:
        code, message = (error.code, error.message) if isinstance(error, HeadraceError) else (
            "page_failed", "the rows take more memory than a page may; ask for fewer")
        answer = {"error": {"code": code, "message": message}}
    sys.stdout.buffer.write(orjson.dumps(answer))
    return REFUSED if "error" in answer else 0


if __name__ == "__main__":
    sys.exit(main())
