"""Positions asked for one by one, in runs or from all over give the same rows."""

from __future__ import annotations

import numpy as np

from core.data.order import RowOrder
from core.data.order.order import STRETCH


def order(rows: int = 300, **more: object) -> RowOrder:
    return RowOrder(rows, np.array([3, 7, 11]), seed=5, source=0, is_shuffled=True, **more)  # pyright: ignore[reportArgumentType]


def test_rows_are_the_same_however_their_positions_are_asked_for() -> None:
    positions = np.arange(3 * STRETCH + 40)
    at_once = order().rows(positions)
    by_sixteen = np.concatenate([order().rows(positions[k:k + 16]) for k in range(0, len(positions), 16)])
    assert at_once.tolist() == by_sixteen.tolist() == [int(order().rows(np.array([k]))[0]) for k in positions]


def test_positions_need_no_order() -> None:
    positions = np.array([STRETCH + 1, 5, STRETCH - 1, STRETCH, 0])
    assert order().rows(positions).tolist() == [int(order().rows(np.array([k]))[0]) for k in positions]
