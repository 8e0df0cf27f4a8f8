"""What the pass over a file has found, as frozen values that can be written as JSON."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from core.data.index.decoding import Layout
from core.data.index.duplicates import Duplicates
from core.data.spec import RowFormat, ShardKind


@dataclass(frozen=True)
class Fault:
    line: int
    """Line of the file, from 1; 0 for a fault of the file as a whole."""
    code: str
    message: str
    """Names the line, the reason and the remedy."""
    reason: str = ""
    remedy: str = ""
    file: str = ""
    """The shard that the line lies in; told in the report of a version, where `message` names it too."""


@dataclass(frozen=True)
class LengthStatistics:
    """Bytes of the rows, their line endings left out."""

    min: int = 0
    mean: float = 0.0
    p50: int = 0
    """This and the other percentiles are rounded up by at most 1/64."""
    p95: int = 0
    p99: int = 0
    max: int = 0
    histogram: tuple[tuple[int, int], ...] = ()
    """(limit, rows) pairs: so many rows have less than `limit` bytes and at least half of it; limits are powers of 2."""
    buckets: tuple[tuple[int, int], ...] = ()
    """What percentiles are found by, as (bucket, rows) pairs: with them statistics of several files become one."""


@dataclass(frozen=True)
class IndexReport:
    rows: int
    """All rows, faulty ones included; blank lines are no rows."""
    faulty: int
    blank_lines: int
    bytes: int
    sha256: str
    """Of the whole file as it is, hex."""
    format: RowFormat | None
    """None when no row has the fields of any format."""
    layout: Layout
    faults: tuple[Fault, ...]
    """The first of them."""
    fault_counts: dict[str, int]
    lengths: LengthStatistics
    shape: dict[str, Any] | None = None
    """What the rows look like, as `RowShape.to_json` tells it: its name, the field of each part, the names of roles."""
    duplicates: Duplicates = field(default_factory=Duplicates)
    is_whole: bool = True
    """False when the pass ended early, since nearly all rows are faulty."""
    kind: ShardKind = "lines"
    """How rows are read from the file, or from its frames."""
    file_kind: str = "jsonl"
    """What the file is, as its name would end: jsonl, json, csv.gz …"""
    file_bytes: int = 0
    """Of the file as it is; `bytes` counts its text."""
    header: tuple[str, ...] = ()
    """Names of the columns of CSV."""
    converted_bytes: int | None = None
    """Of the frames that the file was turned into; None where rows are read from the file itself."""
    seconds: float = 0.0
    """What the pass took."""

    @property
    def unit(self) -> str:
        """What `line` counts: lines of the file, or the elements of a list, or the rows of Parquet."""
        content = self.file_kind.partition(".")[0]
        return {"json": "element", "parquet": "row"}.get(content, "line")

    @property
    def good(self) -> int:
        return self.rows - self.faulty

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> IndexReport:
        lengths = told["lengths"]
        histogram = tuple((limit, rows) for limit, rows in lengths["histogram"])
        buckets = tuple((bucket, rows) for bucket, rows in lengths.get("buckets") or ())
        faults = tuple(Fault(**fault) for fault in told["faults"])
        return cls(**{
            **told, "faults": faults, "header": tuple(told.get("header") or ()),
            "lengths": LengthStatistics(**{**lengths, "histogram": histogram, "buckets": buckets}),
            "duplicates": Duplicates(**told.get("duplicates") or {}),
        })


class LengthCount:
    """Counts lengths in buckets of a 64th of a power of two, so that any number of rows takes the same memory."""

    _PARTS = 64
    _LIMIT_BITS = 44

    def __init__(self) -> None:
        self._buckets = np.zeros(self._PARTS * self._LIMIT_BITS, np.int64)
        self._total = 0
        self._min = -1
        self._max = 0

    def add(self, lengths: np.ndarray) -> None:
        """Count lengths of at least one byte: int64, shape (rows,)."""
        part, power = np.frexp(lengths.astype(np.float64))
        bucket = ((power - 1) * self._PARTS + (part * 2 - 1) * self._PARTS).astype(np.int64)
        self._buckets += np.bincount(bucket, minlength=len(self._buckets))
        self._total += int(lengths.sum())
        shortest = int(lengths.min())
        self._min = shortest if self._min < 0 else min(self._min, shortest)
        self._max = max(self._max, int(lengths.max()))

    def merge(self, told: LengthStatistics) -> None:
        """Count the rows of another file too."""
        if not told.buckets:
            return
        buckets = np.array(told.buckets, np.int64)
        np.add.at(self._buckets, buckets[:, 0], buckets[:, 1])
        self._total += round(told.mean * int(buckets[:, 1].sum()))
        self._min = told.min if self._min < 0 else min(self._min, told.min)
        self._max = max(self._max, told.max)

    def statistics(self) -> LengthStatistics:
        rows = int(self._buckets.sum())
        if not rows:
            return LengthStatistics()
        powers = self._buckets.reshape(self._LIMIT_BITS, self._PARTS).sum(axis=1)
        histogram = tuple((2 << int(power), int(powers[power])) for power in np.flatnonzero(powers))
        p50, p95, p99 = (self._percentile(rows, share) for share in (0.50, 0.95, 0.99))
        filled = np.flatnonzero(self._buckets)
        buckets = tuple(zip(filled.tolist(), self._buckets[filled].tolist(), strict=True))
        return LengthStatistics(self._min, self._total / rows, p50, p95, p99, self._max, histogram, buckets)

    def _percentile(self, rows: int, share: float) -> int:
        bucket = int(np.searchsorted(np.cumsum(self._buckets), share * rows))
        power, part = divmod(bucket, self._PARTS)
        greatest = int(np.ceil((1 << power) * (1 + (part + 1) / self._PARTS))) - 1
        return min(max(greatest, self._min), self._max)
