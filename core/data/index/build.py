"""One pass over a file: bytes come in, an index on disk and a report go out.

For each block of lines: note where the rows lie (numpy), parse and check each row, hash its bytes; the file's SHA-256
sees every byte on the way. Memory is that of one chunk and one row, whatever the size of the file. Cost on one core:
about 2 s for 1 GB of chat rows of 2 KB.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.data.index.checking import RowChecker
from core.data.index.files import LEAST_CONTENTS, MOST_CONTENTS, IndexWriter, writing_index
from core.data.index.lines import LineCount, Readable, iter_blocks
from core.data.index.placing import RowPlacer
from core.data.index.report import IndexReport, LengthCount
from core.data.index.rules import Layout
from core.data.shapes import Columns, RowShape, candidates, read_columns
from core.errors import DataError

_HASH_BITS = np.uint64(0xFFFF)
"""What the index keeps of each row's hash."""


def build_index(
    path: Path, index_path: Path, *, shape: str | None = None, columns: Any = None,
    on_progress: Callable[[int], None] | None = None,
) -> IndexReport:
    """Read a file of rows once and write its index; safe to call again, and against a kill at any moment.

    `shape` is one of `core.data.shapes.ASKED`, `columns` the user's mapping; what they leave open the first rows decide. Rows
    that break a rule are noted, never raised; a file without a good row is noted in the report too. `on_progress` is given
    the bytes read so far. Raise DataError when the file cannot be read, Conflict while another process builds the same
    index, InvalidValue for a mapping that is none.
    """
    possible = candidates(shape, read_columns(columns))
    try:
        with path.open("rb", buffering=0) as file, writing_index(index_path) as writer:
            layout = _find_layout(path, possible)
            checker = RowChecker(candidates("text", Columns()) if layout == "lines" else possible, layout)
            return _read_through(file, writer, checker, on_progress or _told_nobody)
    except (FileNotFoundError, IsADirectoryError):
        raise DataError(f"there is no file {path.name!r} to register; upload it again") from None


def _find_layout(path: Path, possible: Sequence[RowShape]) -> Layout:
    """Tell bare lines of text, in a `.txt` file or where text is asked for, from objects, which start with a brace."""
    formats = {shape.format for shape in possible}
    if "text" not in formats or (len(formats) > 1 and path.suffix.lower() != ".txt"):
        return "jsonl"
    with path.open("rb") as file:
        start = file.read(1 << 16).removeprefix(b"\xef\xbb\xbf").lstrip()
    return "jsonl" if start.startswith(b"{") else "lines"


def _read_through(
    file: Readable, writer: IndexWriter, checker: RowChecker, on_progress: Callable[[int], None]
) -> IndexReport:
    digest, count, lengths, placer = hashlib.sha256(), LineCount(), LengthCount(), RowPlacer(writer)
    for block in iter_blocks(file, count, on_chunk=digest.update):
        hashes, faulty = checker.check(block)
        writer.append("hashes", hashes & _HASH_BITS)
        writer.append("faulty", faulty)
        placer.place(block)
        lengths.add(block.ends - block.starts)
        on_progress(count.bytes)
        if checker.is_hopeless:
            break
    placer.finish(count.bytes)
    checker.finish()
    writer.append("contents", checker.duplicates.to_array(_contents_kept(checker.rows)))
    report = IndexReport(
        rows=checker.rows, faulty=checker.faulty, blank_lines=count.lines - checker.rows, bytes=count.bytes,
        sha256=digest.hexdigest(), format=checker.shape.format if checker.shape else None, layout=checker.layout,
        faults=tuple(checker.faults), fault_counts=dict(checker.fault_counts), lengths=lengths.statistics(),
        shape=checker.shape.to_json() if checker.shape else None, duplicates=checker.duplicates.result(),
        is_whole=not checker.is_hopeless,
    )
    writer.publish({"report": report.to_json()})
    return report


def _contents_kept(rows: int) -> int:
    return min(max(rows // 16, LEAST_CONTENTS), MOST_CONTENTS)


def _told_nobody(_done: int) -> None:
    pass
