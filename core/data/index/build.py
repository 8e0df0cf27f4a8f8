"""One pass over a file: bytes come in, an index on disk and a report go out.

    file ─ hash ─ unpack ─ list → lines ┬─ blocks of rows ─ check, hash, place ─ index
                                        └─ frames, where rows cannot be read from the file itself

For each block of lines: note where the rows lie (numpy), parse and check each row, hash its bytes; the file's SHA-256 sees
every byte on the way unless it is known already. Memory is that of one chunk and one row, whatever the size of the file.
Cost on one core: about 2 s for 1 GB of chat rows of 2 KB.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from core.data.index.checking import RowChecker
from core.data.index.decoding import DELIMITERS, read_header
from core.data.index.files import LEAST_CONTENTS, MOST_CONTENTS, IndexWriter, writing_index
from core.data.index.lines import Block, LineCount, iter_blocks
from core.data.index.opening import MOST_TEXT_BYTES, Opened, open_text
from core.data.index.placing import RowPlacer
from core.data.index.report import IndexReport, LengthCount
from core.data.index.rules import too_long
from core.data.index.unpacking import BrokenFile
from core.data.shapes import Columns, RowFault, candidates, read_columns
from core.errors import DataError, shown

_HASH_BITS = np.uint64(0xFFFF)
"""What the index keeps of each row's hash."""


def build_index(
    path: Path, index_path: Path, *, name: str | None = None, frames_path: Path | None = None, shape: str | None = None,
    columns: Any = None, sha256: str | None = None, most_text_bytes: int = MOST_TEXT_BYTES,
    on_progress: Callable[[int], None] | None = None,
) -> IndexReport:
    """Read a local file of rows once and write its index; safe to call again, and against a kill at any moment.

    `name` is what people call the file, whose ending may tell what it is. Rows that cannot be read in place are written to
    `frames_path`, by default beside the index. `shape` is one of `core.data.shapes.ASKED`, `columns` the user's mapping; what
    they leave open the first rows decide. `sha256` spares the hashing of a file whose digest is known. Rows that break a rule
    are noted, never raised; a file without a good row is noted in the report too. `on_progress` is given the bytes of the file
    read so far. Raise DataError when the file cannot be read, Conflict while another process builds the same index,
    InvalidValue for a mapping that is none.
    """
    try:
        file = path.open("rb", buffering=0)
    except (FileNotFoundError, IsADirectoryError):
        raise DataError(f"there is no file {(name or path.name)!r} to register; upload it again") from None
    with file:
        return index_file(file, index_path, name=name or path.name, frames_path=frames_path, shape=shape, columns=columns,
                          sha256=sha256, most_text_bytes=most_text_bytes, on_progress=on_progress)


def index_file(
    file: Any, index_path: Path, *, name: str, frames_path: Path | None = None, shape: str | None = None,
    columns: Any = None, sha256: str | None = None, most_text_bytes: int = MOST_TEXT_BYTES,
    on_progress: Callable[[int], None] | None = None,
) -> IndexReport:
    """The same for an open file, which is read from its start; it must tell, seek and read as raw files do."""
    possible = candidates(shape, read_columns(columns))
    is_text_asked = {each.format for each in possible} == {"text"}
    frames_path = frames_path or index_path.with_name(f"{index_path.name}.zst")
    with writing_index(index_path) as writer:
        try:
            with open_text(file, name, frames_path=frames_path, is_text_asked=is_text_asked, sha256=sha256,
                           most_text_bytes=most_text_bytes) as opened:
                shapes = candidates("text", Columns()) if opened.layout == "lines" else possible
                checker = RowChecker(shapes, opened.layout, unit=opened.unit)
                return _read_through(opened, writer, checker, on_progress or _told_nobody)
        except BrokenFile as fault:
            raise DataError(f"{shown(name)} cannot be read to its end: {fault.message}", code=fault.code) from fault


def _read_through(opened: Opened, writer: IndexWriter, checker: RowChecker, on_progress: Callable[[int], None]) -> IndexReport:
    started = time.perf_counter()
    count, lengths, placer = LineCount(), LengthCount(), RowPlacer(writer)
    is_placed = opened.kind != "parquet"
    delimiter = DELIMITERS[opened.layout].encode() if opened.layout in DELIMITERS else None
    for whole in iter_blocks(opened.text, count, on_chunk=opened.on_chunk, delimiter=delimiter):
        block = _without_header(whole, checker) if delimiter and checker.header is None else whole
        if block is None:
            continue
        hashes, faulty = checker.check(block)
        writer.append("hashes", hashes & _HASH_BITS)
        writer.append("faulty", faulty)
        if is_placed:
            placer.place(block)
        lengths.add(block.ends - block.starts)
        on_progress(opened.bytes_read)
        if checker.is_hopeless:
            break
    if is_placed:
        placer.finish(count.bytes)
    checker.finish()
    writer.append("contents", checker.duplicates.to_array(_contents_kept(checker.rows)))
    converted = opened.finish()
    report = IndexReport(
        rows=checker.rows, faulty=checker.faulty, blank_lines=0 if delimiter else count.lines - checker.rows, bytes=count.bytes,
        sha256=opened.sha256, format=checker.shape.format if checker.shape else None, layout=checker.layout,
        faults=tuple(checker.faults), fault_counts=dict(checker.fault_counts), lengths=lengths.statistics(),
        shape=checker.shape.to_json() if checker.shape else None, duplicates=checker.duplicates.result(),
        is_whole=not checker.is_hopeless, kind=opened.kind, file_kind=str(opened.file_kind), file_bytes=opened.file_bytes,
        header=checker.header or (), converted_bytes=converted, seconds=round(time.perf_counter() - started, 3),
    )
    writer.publish({"report": report.to_json()})
    return report


def _without_header(block: Block, checker: RowChecker) -> Block | None:
    """Take the header off the first block; None when nothing is left. Raise DataError for one that names no columns."""
    start, end = int(block.starts[0]) - block.base, int(block.ends[0]) - block.base
    try:
        if block.is_too_long:
            raise too_long(int(block.ends[0] - block.starts[0]), checker.layout)
        checker.take_header(read_header(bytes(block.buffer[start:end]), checker.layout))
    except RowFault as fault:
        raise DataError(f"line {int(block.lines[0]) + 1}: {fault.message}", code=fault.code) from None
    if len(block.starts) == 1:
        return None
    return Block(block.buffer, block.base, block.starts[1:], block.ends[1:], block.lines[1:])


def _contents_kept(rows: int) -> int:
    return min(max(rows // 16, LEAST_CONTENTS), MOST_CONTENTS)


def _told_nobody(_done: int) -> None:
    pass
