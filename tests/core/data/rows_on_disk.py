"""Factories for files of rows and their indexes."""

from __future__ import annotations

from pathlib import Path

import orjson

from core.data.index import build_index
from core.data.spec import RowFormat, SourceSpec


def chat_row(text: str = "What turns the wheel?", answer: str = "The water.", **extra: object) -> dict:
    return {"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": answer}], **extra}


def write_jsonl(path: Path, rows: list) -> Path:
    """Write values as JSON Lines; bytes stand as they are."""
    path.write_bytes(b"".join((row if isinstance(row, bytes) else orjson.dumps(row)) + b"\n" for row in rows))
    return path


def registered(folder: Path, rows: list, *, name: str = "rows", row_format: RowFormat = "chat") -> SourceSpec:
    """Write rows, index them, and give the source that reads them."""
    path = write_jsonl(folder / f"{name}.jsonl", rows)
    report = build_index(path, folder / f"{name}.index", shape=row_format)
    return SourceSpec.of_file(name, str(path), str(folder / f"{name}.index"), row_format, report.sha256)
