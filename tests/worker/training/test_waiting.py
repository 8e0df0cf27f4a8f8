"""A device that waits for data is told of once a stretch, with the loader's slowest stage and what helps."""

from __future__ import annotations

from core.data.spec import Loading
from worker.reports import DataWaiting
from worker.training.waiting import LEAST_STEPS, DataWatch

TOKENISING = Loading(reading=0.01, tokenising=0.2)


def told(watch: DataWatch, steps: int, *, wait: float, loading: Loading = TOKENISING, step: float = 0.5) -> list[DataWaiting]:
    found = [watch.note(n, step_seconds=step, wait_seconds=wait, loading=loading, examples=4) for n in range(steps)]
    return [each for each in found if each]


def test_a_stretch_of_waiting_is_told_once_with_its_cause() -> None:
    (report,) = told(DataWatch(), 100, wait=0.1)
    assert (report.cause, report.steps, round(report.share, 2)) == ("tokenising", LEAST_STEPS, 0.2)
    assert "HEADRACE_THREADS" in report.remedy


def test_a_tenth_is_borne_in_silence_and_so_is_the_start() -> None:
    assert not told(DataWatch(), 100, wait=0.04)
    watch = DataWatch()
    assert watch.note(1, step_seconds=60, wait_seconds=59, loading=TOKENISING, examples=4) is None
    assert not told(watch, 100, wait=0.0)


def test_a_second_stretch_is_told_again_after_the_first_has_ended() -> None:
    watch = DataWatch()
    assert len(told(watch, 50, wait=0.1)) == 1
    assert not told(watch, 50, wait=0.0)
    assert len(told(watch, 50, wait=0.1)) == 1


def test_short_steps_are_looked_at_over_two_seconds() -> None:
    assert not told(DataWatch(), 150, wait=0.005, step=0.01)
    (report,) = told(DataWatch(), 250, wait=0.005, step=0.01)
    assert report.steps >= 200


def test_reading_from_a_place_is_the_network() -> None:
    (report,) = told(DataWatch(), 50, wait=0.3, loading=Loading(reading=0.4, tokenising=0.1, place="archive"))
    assert (report.cause, report.place) == ("network", "archive")
    assert "HEADRACE_CACHE_BYTES" in report.remedy
    assert "layout" not in report.remedy


def test_rows_that_the_fast_tokenizer_refuses_are_named() -> None:
    (report,) = told(DataWatch(), 50, wait=0.3, loading=Loading(tokenising=0.4, by_reference=3))
    assert "reference tokenizer" in report.remedy
