"""Repeated rows are counted, exactly while they are few, and nearly when they are not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.data.index.duplicates import DuplicateCount


def hashes(*contents: int) -> np.ndarray:
    """Spread small numbers over 64 bits."""
    return (np.array(contents, np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)


@given(st.lists(st.lists(st.integers(0, 30), max_size=20), max_size=6))
def test_few_are_counted_exactly(parts: list[list[int]]) -> None:
    count = DuplicateCount()
    for part in parts:
        count.add(hashes(*part))
    every = [each for part in parts for each in part]
    assert (count.result().rows, count.result().is_estimated) == (len(every) - len(set(every)), False)


def test_many_are_estimated_and_said_to_be() -> None:
    count = DuplicateCount(most_kept=4000)
    draw = np.random.default_rng(0)
    contents = draw.integers(0, 50_000, 100_000)
    for part in np.array_split(contents, 17):
        count.add(hashes(*part.tolist()))
    told = count.result()
    assert told.is_estimated
    assert told.rows == pytest.approx(len(contents) - len(np.unique(contents)), rel=0.1)
    assert told.sampled_share < 0.1


def test_counts_of_two_files_are_those_of_both() -> None:
    one, two = DuplicateCount(), DuplicateCount()
    one.add(hashes(*range(1000)))
    two.add(hashes(*range(500, 1500)))
    again = DuplicateCount.from_array(one.to_array(5000))
    again.merge([DuplicateCount.from_array(two.to_array(5000))])
    assert (again.result().rows, again.result().is_estimated) == (500, False)


def test_a_count_that_was_written_down_short_estimates() -> None:
    count = DuplicateCount()
    count.add(hashes(*range(20_000), *range(10_000)))
    short = count.to_array(2000)
    assert len(short) <= 2001
    told = DuplicateCount.from_array(short).result()
    assert told.is_estimated
    assert told.rows == pytest.approx(10_000, rel=0.2)
