"""Long listings, a handful at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Give the items in lists of `size`; the last may be shorter. No more than one list is taken ahead of whoever asks."""
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch
