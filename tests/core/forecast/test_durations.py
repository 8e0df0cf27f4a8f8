from __future__ import annotations

import pytest

from core.forecast.durations import Speed, by_itself, by_speed, plan_bytes

SPEED = Speed(tokens_per_second=50.0, tokens_per_byte=0.25, load_seconds=8.0, runs=3)
PLAN = {"rows": 100, "n_epochs": 2, "batch_size": 8, "total_steps": 26, "row_bytes": 400.0}


def test_a_plan_reads_each_row_once_a_pass():
    assert plan_bytes(PLAN) == 200 * 400
    assert plan_bytes({**PLAN, "total_steps": 10}) == 80 * 400


@pytest.mark.parametrize("plan", [None, {}, {**PLAN, "row_bytes": None}, {**PLAN, "total_steps": None}])
def test_a_plan_that_does_not_tell_gives_no_time(plan):
    assert by_speed(plan, SPEED) is None


def test_a_job_that_never_ran_takes_its_tokens_at_the_measured_speed():
    assert by_speed(PLAN, SPEED) == pytest.approx(8 + 200 * 400 * 0.25 / 50)
    assert by_speed(PLAN, None) is None


def test_a_job_that_ran_goes_on_at_its_own_pace():
    assert by_itself(30.0, SPEED) == 38.0
    assert by_itself(30.0, None) == 30.0
    assert by_itself(None, SPEED) is None
