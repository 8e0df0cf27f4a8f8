"""The index of one shard, mapped into memory: opening it reads one small file, whatever its size.

Pages that were looked at count as this process's memory, and a system may map 2 MiB around each. So rows of a great index are
looked up by reads of a few bytes, about a microsecond each, and only a small one through the mapping. Looking up every row
of a great file in a shuffled order thus takes no more memory than looking up a few of them.
"""

from __future__ import annotations

import mmap
import os
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from core.data.index.files import HEADER, KINDS, OFFSET_BITS, SATURATED, VERSION
from core.data.index.report import IndexReport
from core.errors import DataError

_OFFSET_MASK = np.uint64((1 << OFFSET_BITS) - 1)
_MAPPED_BYTES = 1 << 20
"""Up to here an array is looked up through its mapping."""


class ShardIndex:
    """Answers where a row lies, which line it is, and which rows are faulty."""

    def __init__(self, report: IndexReport, arrays: dict[str, _Array]) -> None:
        self.report = report
        self.rows = report.rows
        self.faulty = arrays["faulty"].values
        """int64, sorted: numbers of the faulty rows."""
        self._offsets, self._hashes = arrays["offsets"], arrays["hashes"]
        self.hashes = arrays["hashes"].values
        """uint16, shape (rows,): low bits of the xxh3 of each row's bytes."""
        self.contents = arrays["contents"].values
        """uint64: what `DuplicateCount.from_array` takes."""
        self._blanks = arrays["blanks"].values
        self._wide = arrays["gaps"].values.reshape(-1, 3)

    @classmethod
    def open(cls, index_path: Path | str) -> ShardIndex:
        """Map an index; raise DataError for one that is torn, missing, or of another version."""
        folder = Path(index_path)
        try:
            told = orjson.loads((folder / HEADER).read_bytes())
            if told["version"] != VERSION:
                raise _unusable(folder, f"has version {told['version']!r} and this program reads version {VERSION}")
            arrays = {kind: _Array(folder, told["arrays"][kind], kind) for kind in KINDS}
            index = cls(IndexReport.from_json(told["report"]), arrays)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _unusable(folder, f"is missing or torn ({type(error).__name__})") from error
        index._check_sizes(folder)
        return index

    @property
    def has_offsets(self) -> bool:
        """Whether rows are found by where they start; those of Parquet are found by their number."""
        return self.report.kind != "parquet"

    def span(self, row: int) -> tuple[int, int]:
        """Give where a row starts and ends in its file, the line ending left out; raise IndexError for no row."""
        ((start, end),) = self.spans(np.array([row])).tolist()
        return start, end

    def spans(self, rows: np.ndarray) -> np.ndarray:
        """Give where each row starts and ends: int64, shape (rows, 2)."""
        rows = np.asarray(rows, dtype=np.int64)
        self._check_rows(rows)
        return self._spans(rows)

    def find(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Give the spans of rows and what `hashes` has for them, of rows that are known to be there: int64, shape (rows,).

        In a shard without offsets the number of a row stands for its span."""
        return self._spans(rows) if self.has_offsets else rows[:, None], self._hashes.take(rows)[:, 0]

    def line(self, row: int) -> int:
        """Give the line of a row in its file, counted from 1, blank lines included; raise IndexError for no row.

        Costs a pass over two bytes a row where the file has blank lines.
        """
        self._check_rows(np.array([row]))
        if not len(self._blanks):
            return row + 1
        blanks = int(self._blanks[: row + 1].sum(dtype=np.int64))
        wide = self._wide[: np.searchsorted(self._wide[:, 0], row, side="right")]
        beyond = wide[wide[:, 2] >= SATURATED, 2] - SATURATED
        return row + 1 + blanks + int(beyond.sum())

    def let_go(self) -> None:
        """Give back what a pass over the hashes has brought into this process's memory."""
        self._hashes.let_go()

    def _check_rows(self, rows: np.ndarray) -> None:
        if rows.size and not (rows.min() >= 0 and rows.max() < self.rows):
            raise IndexError(f"the index has {self.rows} rows; a row outside of [0, {self.rows}) was asked for")

    def _spans(self, rows: np.ndarray) -> np.ndarray:
        words = self._offsets.take(rows, 2)
        places = (words & _OFFSET_MASK).astype(np.int64)
        nexts = np.where(rows + 1 < self.rows, places[:, 1], self.report.bytes)
        return np.stack([places[:, 0], nexts - self._gaps(rows, words[:, 0])], axis=1)

    def _gaps(self, rows: np.ndarray, words: np.ndarray) -> np.ndarray:
        gaps = (words >> np.uint64(OFFSET_BITS)).astype(np.int64)
        for place in np.flatnonzero(gaps == SATURATED).tolist():
            gaps[place] = self._wide[np.searchsorted(self._wide[:, 0], rows[place]), 1]
        return gaps

    def _check_sizes(self, folder: Path) -> None:
        fits = (
            len(self.hashes) == self.rows
            and len(self._offsets.values) == (self.rows if self.has_offsets else 0)
            and len(self._blanks) in (0, self.rows)
            and len(self.faulty) == self.report.faulty
        )
        if not fits:
            raise _unusable(folder, "holds arrays of different sizes")


class _Array:
    """One array of an index; raises ValueError when its file is torn."""

    def __init__(self, folder: Path, told: dict[str, Any], kind: str) -> None:
        path = folder / Path(told["name"]).name
        self._map = _mapped(path, told["bytes"])
        self.values = np.zeros(0, KINDS[kind]) if self._map is None else np.frombuffer(self._map, KINDS[kind])
        self._descriptor: int | None = None
        if told["bytes"] > _MAPPED_BYTES:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            weakref.finalize(self, os.close, self._descriptor)

    def take(self, numbers: np.ndarray, count: int = 1) -> np.ndarray:
        """Give the values from each number on, shape (numbers, count); 0 behind the last one."""
        size, step = self.values.itemsize * count, self.values.itemsize
        if self._descriptor is None:
            places = np.add.outer(numbers, np.arange(count))
            return np.where(places < len(self.values), self.values.take(places, mode="clip"), 0)
        parts = [os.pread(self._descriptor, size, number * step) for number in numbers.tolist()]
        return np.frombuffer(b"".join([part.ljust(size, b"\0") for part in parts]), self.values.dtype).reshape(-1, count)

    def let_go(self) -> None:
        """Give the pages of the mapping back to the page cache; the values stay readable."""
        if self._map is not None:
            self._map.madvise(mmap.MADV_DONTNEED)


def _mapped(path: Path, size: int) -> mmap.mmap | None:
    """Map a file that must have a size; None for an empty one, which cannot be mapped."""
    with path.open("rb") as file:
        found = file.seek(0, 2)
        if found != size:
            raise ValueError(f"{path.name} has {found} bytes instead of {size}")
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else None


def _unusable(folder: Path, reason: str) -> DataError:
    return DataError(f"index {folder.name!r} {reason}; register the data set again", code="index_missing")
