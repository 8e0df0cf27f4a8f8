"""An index, mapped into memory: opening it reads one small file, whatever its size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import orjson

from core.data.index.files import HEADER, KINDS, OFFSET_BITS, SATURATED, VERSION
from core.data.index.report import IndexReport
from core.errors import DataError

_OFFSET_MASK = np.uint64((1 << OFFSET_BITS) - 1)


class DatasetIndex:
    """Answers where a row lies, which line it is, and which rows are faulty."""

    def __init__(self, report: IndexReport, arrays: dict[str, np.ndarray]) -> None:
        self.report = report
        self.rows = report.rows
        self.hashes = arrays["hashes"]
        """uint16, shape (rows,): low bits of the xxh3 of each row's bytes."""
        self.faulty = arrays["faulty"]
        """int64, sorted: numbers of the faulty rows."""
        self._words = arrays["offsets"]
        self._blanks = arrays["blanks"]
        self._wide = arrays["gaps"].reshape(-1, 3)

    @classmethod
    def open(cls, index_path: Path | str) -> DatasetIndex:
        """Map an index; raise DataError for one that is torn, missing, or of another version."""
        folder = Path(index_path)
        try:
            told = orjson.loads((folder / HEADER).read_bytes())
            if told["version"] != VERSION:
                raise _unusable(folder, f"has version {told['version']!r} and this program reads version {VERSION}")
            arrays = {kind: _mapped(folder, told["arrays"][kind], kind) for kind in KINDS}
            index = cls(IndexReport.from_json(told["report"]), arrays)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _unusable(folder, f"is missing or torn ({type(error).__name__})") from error
        index._check_sizes(folder)
        return index

    def span(self, row: int) -> tuple[int, int]:
        """Give where a row starts and ends in its file, the line ending left out; raise IndexError for no row."""
        ((start, end),) = self.spans(np.array([row])).tolist()
        return start, end

    def spans(self, rows: np.ndarray) -> np.ndarray:
        """Give where each row starts and ends: int64, shape (rows, 2)."""
        rows = np.asarray(rows, dtype=np.int64)
        self._check_rows(rows)
        starts = (self._words[rows] & _OFFSET_MASK).astype(np.int64)
        following = np.minimum(rows + 1, self.rows - 1)
        nexts = np.where(
            rows + 1 < self.rows, (self._words[following] & _OFFSET_MASK).astype(np.int64), self.report.bytes
        )
        return np.stack([starts, nexts - self._gaps(rows)], axis=1)

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

    def _check_rows(self, rows: np.ndarray) -> None:
        if rows.size and not (rows.min() >= 0 and rows.max() < self.rows):
            raise IndexError(f"the index has {self.rows} rows; a row outside of [0, {self.rows}) was asked for")

    def _gaps(self, rows: np.ndarray) -> np.ndarray:
        gaps = (self._words[rows] >> np.uint64(OFFSET_BITS)).astype(np.int64)
        for place in np.flatnonzero(gaps == SATURATED).tolist():
            gaps[place] = self._wide[np.searchsorted(self._wide[:, 0], rows[place]), 1]
        return gaps

    def _check_sizes(self, folder: Path) -> None:
        fits = (
            len(self._words) == len(self.hashes) == self.rows
            and len(self._blanks) in (0, self.rows)
            and len(self.faulty) == self.report.faulty
        )
        if not fits:
            raise _unusable(folder, "holds arrays of different sizes")


def _mapped(folder: Path, told: dict[str, Any], kind: str) -> np.ndarray:
    path = folder / Path(told["name"]).name
    if path.stat().st_size != told["bytes"]:
        raise ValueError(f"{path.name} has {path.stat().st_size} bytes instead of {told['bytes']}")
    if not told["bytes"]:
        return np.zeros(0, KINDS[kind])
    return np.memmap(path, dtype=KINDS[kind], mode="r")


def _unusable(folder: Path, reason: str) -> DataError:
    return DataError(f"index {folder.name!r} {reason}; register the data set again")
