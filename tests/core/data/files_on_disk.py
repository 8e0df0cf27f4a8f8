"""The same rows written as every kind of file that can be registered."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow
import pyarrow.parquet
import zstandard

from core.data.index import build_index
from core.data.spec import ShardSpec, SourceSpec

Rows = Sequence[dict[str, Any]]


def jsonl(rows: Rows) -> bytes:
    return b"".join(orjson.dumps(row) + b"\n" for row in rows)


def array(rows: Rows) -> bytes:
    return json.dumps(list(rows), indent=2, ensure_ascii=False).encode()


def separated(rows: Rows, delimiter: str) -> bytes:
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, list(rows[0]) if rows else ["text"], delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue().encode()


def parquet(rows: Rows, *, group_rows: int = 7) -> bytes:
    file = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), file, row_group_size=group_rows)
    return file.getvalue()


KINDS: dict[str, Callable[[Rows], bytes]] = {
    "jsonl": jsonl,
    "json": array,
    "csv": lambda rows: separated(rows, ","),
    "tsv": lambda rows: separated(rows, "\t"),
    "parquet": parquet,
    "jsonl.gz": lambda rows: gzip.compress(jsonl(rows)),
    "jsonl.bz2": lambda rows: bz2.compress(jsonl(rows)),
    "jsonl.xz": lambda rows: lzma.compress(jsonl(rows)),
    "jsonl.zst": lambda rows: zstandard.compress(jsonl(rows)),
    "json.gz": lambda rows: gzip.compress(array(rows)),
    "csv.gz": lambda rows: gzip.compress(separated(rows, ",")),
    "tsv.zst": lambda rows: zstandard.compress(separated(rows, "\t")),
}


def registered_file(folder: Path, name: str, content: bytes, **options: Any) -> SourceSpec:
    """Write and register a file; the source that reads its rows."""
    path, index_path, frames = folder / name, folder / f"{name}.index", folder / f"{name}.frames"
    path.write_bytes(content)
    report = build_index(path, index_path, frames_path=frames, **options)
    stored = frames if report.kind == "frames" else path
    shard = ShardSpec(str(stored), str(index_path), report.sha256, report.kind, name=name)
    return SourceSpec(name, (shard,), report.format or "text", report.sha256)
