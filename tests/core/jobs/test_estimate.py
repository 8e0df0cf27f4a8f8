from __future__ import annotations

import pytest

from core.jobs.estimate import Pace, Rates, advance, seconds_left
from core.jobs.models import Job
from core.jobs.resolve import auto_batch_size, auto_epochs
from tests.factories import a_step, later


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


def trained(job: Job, steps: range, *, every: float = 1.0, busy: float = 1.0, begins: float = 0.0) -> Job:
    """Report steps one by one, so many seconds apart, each busy for so long."""
    for step in steps:
        advance(job, [a_step(step, step_seconds=busy)], now=later(begins + every * (step - steps.start + 1)))
    return job


def a_run(run_id: str = "run_1") -> Job:
    return Job(id="ftjob-x", run_id=run_id, step=0, total_steps=100, processed_tokens=0, sources=[], progress=None)


def test_what_comes_between_steps_stretches_the_time_left():
    job = trained(a_run(), range(1, 51), every=1.5)
    assert job.progress is not None
    assert job.progress["eta_seconds"] == pytest.approx(75, rel=0.02)
    assert seconds_left(job) == pytest.approx(75, rel=0.02)
    assert job.progress["estimated_finish"] == pytest.approx(later(150).timestamp(), abs=2)


def test_an_evaluation_counts_once_and_fades():
    job = trained(a_run(), range(1, 21))
    advance(job, [a_step(21, step_seconds=1.0)], now=later(31))  # ten seconds of evaluation
    assert (job.progress or {})["eta_seconds"] == pytest.approx(79 * 31 / 21, rel=0.02)


def test_the_pace_of_a_new_run_begins_with_its_first_step():
    job = trained(a_run(), range(1, 11), every=3.0)
    job.run_id = "run_2"
    trained(job, range(11, 21), begins=1000.0)
    pace = Pace.of(job.progress)
    assert pace is not None
    assert (pace.run_id, pace.steps, pace.seconds, pace.stretch) == ("run_2", 10, pytest.approx(10), pytest.approx(1.0))


def test_a_job_without_a_step_has_no_time_left_to_tell():
    assert seconds_left(a_run()) is None


def test_an_end_beyond_all_calendars_is_told_by_nobody():
    job = trained(a_run(), range(1, 3), busy=1e12)
    assert seconds_left(job) is None
    assert (job.progress or {})["estimated_finish"] is None
