from __future__ import annotations

import pytest

from core.jobs.estimate import Rates
from core.jobs.resolve import auto_batch_size, auto_epochs


def test_rates_follow_the_steps():
    rates = Rates()
    for _ in range(50):
        rates = rates.with_step(seconds=2.0, tokens=300, waited_seconds=0.5)
    assert rates.tokens_per_second == pytest.approx(150)
    assert rates.data_wait_share == pytest.approx(0.25)
    assert rates.eta_seconds(10) == pytest.approx(20)


def test_slow_first_step_fades():
    rates = Rates().with_step(seconds=60.0, tokens=100, waited_seconds=0)
    for _ in range(60):
        rates = rates.with_step(seconds=1.0, tokens=100, waited_seconds=0)
    assert rates.eta_seconds(1) == pytest.approx(1.1, abs=0.05)


def test_nothing_is_said_before_the_first_step():
    assert (Rates().tokens_per_second, Rates().eta_seconds(5), Rates().data_wait_share) == (None, None, None)


@pytest.mark.parametrize("rows, batch, epochs", [(1, 1, 3), (24, 1, 3), (50, 2, 3), (400, 16, 3), (4_999, 16, 3),
                                                 (5_000, 16, 1)])
def test_auto_choices_grow_with_the_rows(rows: int, batch: int, epochs: int):
    assert (auto_batch_size(rows), auto_epochs(rows)) == (batch, epochs)
