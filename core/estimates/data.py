"""How many tokens a run will pass over: the rows that it draws from each source, and how long they are.

Lengths come from a sample of each source in the model's own tokens (core/data/preview/lengths.py), so the tokens are an
estimate unless every row was measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from core.data.spec import MixtureEntry, Overlong

MEANS: dict[Overlong, str] = {"split": "mean", "drop": "mean_kept"}
"""Which mean counts under a policy for rows that are too long: as they are, or only of those that fit; else what is kept of
them."""


@dataclass(frozen=True)
class Tokens:
    total: int
    """Over all steps."""
    longest: int
    """Of one example, cut as the job cuts it."""
    is_sampled: bool
    measured_rows: int


def drawn_rows(log: Sequence[MixtureEntry], *, rows: Sequence[int], epochs: int, batch_size: int, total_steps: int
               ) -> list[float]:
    """Rows that a run draws from each source: of a single one its passes, of a mixture each entry's share of its steps."""
    if len(rows) == 1 and len(log) == 1:
        return [float(rows[0] * epochs)]
    drawn = [0.0] * len(rows)
    starts = [*(entry.from_step for entry in log), total_steps + 1]
    for entry, (start, end) in zip(log, pairwise(starts), strict=True):
        share = batch_size * (end - start) / sum(entry.weights)
        for source, weight in enumerate(entry.weights):
            drawn[source] += share * weight
    return drawn


def tokens_of(drawn: Sequence[float], lengths: Sequence[Mapping[str, Any]], *, overlong: Overlong, max_length: int) -> Tokens:
    """Add up rows and mean lengths, as `measure_lengths` tells them for each source."""
    mean = MEANS.get(overlong, "mean_cut")
    return Tokens(
        total=round(sum(rows * told[mean] for rows, told in zip(drawn, lengths, strict=True))),
        longest=min(max_length, max(told["max"] for told in lengths)),
        is_sampled=any(told["is_estimated"] for told in lengths), measured_rows=sum(told["measured"] for told in lengths))
