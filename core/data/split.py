"""Which rows are held out for validation: the hash of a row's content decides, and nothing else.

Guarantee: two rows with the same bytes are on the same side, in every job, epoch, resume and data set with the same
fraction; and a row held out at one fraction is held out at every greater one. So no row that is trained on is ever
validated on, also where a file holds it twice. The price is that the share held out is only near the fraction: of n
different rows it strays by about sqrt(fraction * (1 - fraction) / n).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from core.data.order import RankSelect
from core.data.spec import Part
from core.errors import DataError

HASH_VALUES = 1 << 16
"""The index keeps 16 bits of each row's hash; fractions are told apart in steps of one in 65,536."""


def held_out_mask(hashes: np.ndarray, fraction: float) -> np.ndarray:
    """Tell for each row's hash (uint16) whether the row is held out: bool, the same shape."""
    if not 0.0 <= fraction < 1.0:
        raise DataError(f"validation fraction is {fraction}; it must be at least 0 and less than 1")
    if fraction == 0.0:
        return np.zeros(len(hashes), dtype=bool)
    limit = min(max(round(fraction * HASH_VALUES), 1), HASH_VALUES - 1)
    return np.asarray(hashes) < np.uint16(limit)


def kept_rows(hashes: Iterable[np.ndarray], faulty: np.ndarray, *, fraction: float, part: Part) -> RankSelect | None:
    """Give the good rows on one side of the split, built part by part; None when that is every row.

    `hashes` are consecutive parts (uint16), all but the last a multiple of 8 long; `faulty` holds the sorted numbers of
    the faulty rows. Nothing is built at a byte a row.
    """
    if not len(faulty) and (part == "whole" or (part == "train" and fraction == 0.0)):
        return None
    return RankSelect(_kept_parts(hashes, faulty, fraction, part))


def check_split(held_out: np.ndarray, *, fraction: float) -> None:
    """Raise DataError when a split that was asked for leaves either side without a row.

    `held_out` tells it for the good rows only.
    """
    if fraction <= 0.0:
        return
    count = int(np.count_nonzero(held_out))
    if count == 0:
        raise DataError(
            f"a validation fraction of {fraction} holds out none of {len(held_out):,} good rows; "
            "ask for a greater fraction, or name a validation file"
        )
    if count == len(held_out):
        raise DataError(
            f"a validation fraction of {fraction} holds out all of {len(held_out):,} good rows and leaves none to "
            "train on; ask for a smaller fraction, or name a validation file"
        )


def _kept_parts(hashes: Iterable[np.ndarray], faulty: np.ndarray, fraction: float, part: Part) -> Iterator[np.ndarray]:
    start = 0
    for some in hashes:
        if part == "whole":
            kept = np.ones(len(some), dtype=bool)
        else:
            kept = held_out_mask(some, fraction) == (part == "validation")
        first, last = np.searchsorted(faulty, (start, start + len(some)))
        kept[np.asarray(faulty[first:last]) - start] = False
        yield kept
        start += len(some)
