"""How long the rows of a source are in a model's tokens: a sample of all, and the longest in bytes to the last one.

The rows longest in bytes are tokenised one by one, and so is a sample of the others, spread evenly over the source. Each row
of the sample stands for as many others; the long ones stand for themselves. So percentiles and counts are estimates (exact
where every row was measured), while the greatest length, and the lines of rows that are too long, are those of real rows.
Byte lengths come from the index, so nothing but the measured rows is read; rows of Parquet have none there, and are measured
by the sample alone. Measuring ends when its time is used up.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from core.data.index import DatasetIndex, longest_rows
from core.data.preview.rows import check_number, places_in
from core.data.preview.seeing import Eye
from core.data.rows import RowReader
from core.data.spec import Places, RowRef, SourceSpec
from core.data.tokens import Encoded

MOST_SAMPLED = 2000
LONGEST_ROWS = 256
LONGEST_BYTES = 8 << 20
"""Text that is tokenised for the sake of the longest rows, at most; the longest one always is."""
LINES_NAMED = 100
MEASURED_TOKENS = 1 << 17
"""Lengths are told up to here."""
_WORK_SECONDS = 12.0


@dataclass(frozen=True)
class LengthsRequest:
    source: SourceSpec
    tokenizer_path: str
    max_length: int
    sample: int = 1000
    places: Places = field(default_factory=Places)

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> LengthsRequest:
        request = cls(**{**told, "source": SourceSpec.from_json(told["source"]), "places": places_in(told)})
        check_number("sample", request.sample, most=MOST_SAMPLED)
        return request


@dataclass(frozen=True)
class _Measured:
    row: int
    tokens: int
    trained: int
    is_cut: bool


def measure_lengths(request: LengthsRequest) -> dict[str, Any]:
    """Raises DataError for a source or a model's folder that cannot be read."""
    eye = Eye(request.tokenizer_path, request.source.format)
    with RowReader((request.source,), request.places) as reader:
        index = reader.indexes[0]
        longest = longest_rows(index, LONGEST_ROWS, most_bytes=LONGEST_BYTES)
        others = _spread(index, longest, request.sample)
        ends_at = time.process_time() + _WORK_SECONDS
        long_rows = list(_measure(longest, reader, eye, ends_at))
        some_rows = list(_measure(others, reader, eye, ends_at))
        good = index.rows - len(index.faulty)
        told = _told(long_rows, some_rows, good=good, max_length=request.max_length)
        over = sorted((each for each in (*long_rows, *some_rows) if each.tokens > request.max_length),
                      key=lambda each: -each.tokens)
        told["over"]["lines"] = [{"file": file, "line": line, "tokens": each.tokens} for each in over[:LINES_NAMED]
                                 for file, line in [reader.where(RowRef(0, each.row))]]
        return told


def _told(long_rows: list[_Measured], some_rows: list[_Measured], *, good: int, max_length: int) -> dict[str, Any]:
    measured = [*long_rows, *some_rows]
    refused = sum(not each.tokens for each in measured)
    weights = np.array([1.0] * len(long_rows) + [_weight(good - len(long_rows), len(some_rows))] * len(some_rows))
    tokens = np.array([each.tokens for each in measured] or [0])
    weights = np.where(tokens > 0, weights, 0.0) if measured else np.zeros(1)
    over = float(weights[tokens > max_length].sum())
    fitting = np.where(tokens <= max_length, tokens, 0)
    return {
        "rows": good, "measured": len(measured), "refused": refused, "is_estimated": len(measured) < good,
        "max_length": max_length, **_figures(tokens, weights),
        "max_is_cut": any(each.is_cut for each in measured),
        "mean_cut": _mean(np.minimum(tokens, max_length), weights), "mean_kept": _mean(fitting, weights),
        "trained_mean": _mean(np.array([each.trained for each in measured] or [0]), weights),
        "histogram": _histogram(tokens, weights),
        "over": {"rows": round(over), "is_estimated": len(measured) < good},
    }


def _weight(rows: int, measured: int) -> float:
    """For how many rows each one of a sample stands."""
    return rows / measured if measured else 0.0


def _figures(tokens: np.ndarray, weights: np.ndarray) -> dict[str, Any]:
    order = np.argsort(tokens)
    tokens, shares = tokens[order], np.cumsum(weights[order])
    if not shares[-1]:
        return {"min": 0, "mean": 0.0, "p50": 0, "p95": 0, "p99": 0, "max": 0}
    at = {name: int(tokens[min(np.searchsorted(shares, share * shares[-1]), len(tokens) - 1)])
          for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))}
    counted = tokens[tokens > 0]
    return {"min": int(counted[0]), "mean": _mean(tokens, weights[order]), **at, "max": int(counted[-1])}


def _mean(values: np.ndarray, weights: np.ndarray) -> float:
    total = float(weights.sum())
    return float((values * weights).sum() / total) if total else 0.0


def _histogram(tokens: np.ndarray, weights: np.ndarray) -> list[list[int]]:
    """[limit, rows] pairs: so many rows have less than `limit` tokens and at least half of it; limits are powers of 2."""
    counted = tokens > 0
    powers = np.floor(np.log2(tokens[counted])).astype(int)
    return [[2 << int(power), round(float(weights[counted][powers == power].sum()))] for power in np.unique(powers)]


def _measure(rows: Iterable[int], reader: RowReader, eye: Eye, ends_at: float) -> Iterator[_Measured]:
    """The length of each row, of a pair that of its longer side; 0 tokens for one that is refused."""
    for number in rows:
        if time.process_time() > ends_at:
            return
        (row,) = reader.read_many([RowRef(0, number)])
        sides = [seen for _, seen in eye.see(row, max_length=MEASURED_TOKENS) if isinstance(seen, Encoded)]
        longer = max(sides, key=lambda seen: len(seen.tokens.ids), default=None)
        if longer is None:
            yield _Measured(number, 0, 0, False)
        else:
            yield _Measured(number, len(longer.tokens.ids), int(longer.tokens.loss_mask.sum()), longer.is_truncated)


def _spread(index: DatasetIndex, longest: list[int], count: int) -> list[int]:
    """Good rows at even distances, those among the longest left out."""
    if not index.rows or not count:
        return []
    numbers = np.unique(np.linspace(0, index.rows - 1, min(count, index.rows)).astype(np.int64))
    return numbers[~np.isin(numbers, np.array(longest, np.int64)) & ~np.isin(numbers, index.faulty)].tolist()
