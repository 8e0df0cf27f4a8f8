"""Sizes and durations as people read them."""

from __future__ import annotations

import pytest

from cli.output import duration, size


@pytest.mark.parametrize(
    "count, shown", [(0, "0 B"), (999, "999 B"), (54_100, "54.1 kB"), (8_192_000_000_000, "8192.0 GB"), (None, None)]
)
def test_sizes_have_the_unit_that_fits(count: int | None, shown: str | None) -> None:
    assert size(count) == shown


@pytest.mark.parametrize(
    "seconds, shown",
    [(None, "–"), (41.6, "42 s"), (59.6, "1 min 00 s"), (185, "3 min 05 s"), (7800, "2 h 10 min"), (536_400, "6 d 05 h")]
)
def test_durations_have_the_unit_that_fits(seconds: float | None, shown: str) -> None:
    assert duration(seconds) == shown
