from __future__ import annotations

from typing import Any

import pytest

from core.data.spec import MixtureEntry
from core.estimates.data import drawn_rows, tokens_of


def lengths(**changes: Any) -> dict[str, Any]:
    return {"mean": 100.0, "mean_cut": 60.0, "mean_kept": 40.0, "max": 900, "is_estimated": False, "measured": 10, **changes}


def test_a_single_source_is_drawn_as_often_as_it_is_passed_over() -> None:
    assert drawn_rows([MixtureEntry(1, (1.0,))], rows=[10], epochs=3, batch_size=4, total_steps=8) == [30.0]


def test_a_mixture_draws_its_shares_and_a_schedule_changes_them() -> None:
    log = [MixtureEntry(1, (3.0, 1.0)), MixtureEntry(11, (1.0, 1.0))]
    assert drawn_rows(log, rows=[50, 50], epochs=1, batch_size=4, total_steps=20) == [30.0 + 20.0, 10.0 + 20.0]


@pytest.mark.parametrize(("overlong", "total"), [("truncate", 600), ("keep_last_turns", 600), ("split", 1000), ("drop", 400)])
def test_rows_that_are_too_long_count_as_the_job_treats_them(overlong: Any, total: int) -> None:
    found = tokens_of([10.0], [lengths()], overlong=overlong, max_length=128)
    assert (found.total, found.longest, found.is_sampled) == (total, 128, False)


def test_one_sampled_source_makes_the_tokens_sampled() -> None:
    found = tokens_of([1.0, 2.0], [lengths(), lengths(mean_cut=5.0, max=20, is_estimated=True)], overlong="truncate",
                      max_length=2048)
    assert (found.total, found.longest, found.is_sampled, found.measured_rows) == (70, 900, True, 20)
