from __future__ import annotations

import pytest

from worker.outcome import Ending, decide
from worker.reports import Failed, Finished, Line, Stopped

FINISHED, STOPPED = Finished(step=6, trained_tokens=60), Stopped(step=3)


def kind(*, ending: Ending | None = None, last: Line | None = None, exit_code: int = 0) -> str:
    return decide(ending=ending, last=last, exit_code=exit_code, last_lines="").kind


def a_failure(failure) -> Failed:
    return Failed(failure, "code", "words")


def test_a_child_that_finished_succeeded() -> None:
    assert kind(last=FINISHED) == "succeeded"


def test_a_cancel_wins_over_whatever_the_child_said() -> None:
    assert {kind(ending="cancel", last=last) for last in (None, FINISHED, STOPPED, a_failure("user"))} == {"cancelled"}


@pytest.mark.parametrize("ending, expected", [("pause", "paused"), ("preempt", "preempted"), ("shutdown", "handed_back")])
def test_a_child_that_was_asked_to_let_go_did(ending: Ending, expected: str) -> None:
    assert kind(ending=ending, last=STOPPED) == expected
    assert kind(ending=ending, exit_code=-9) == expected
    assert kind(ending=ending, last=a_failure("infrastructure"), exit_code=1) == expected


@pytest.mark.parametrize("ending", ["pause", "preempt", "shutdown", "stalled", "overtime"])
def test_a_run_that_had_finished_before_it_heard_is_finished(ending: Ending) -> None:
    assert kind(ending=ending, last=FINISHED) == "succeeded"


@pytest.mark.parametrize("last", [None, STOPPED, a_failure("infrastructure")])
def test_a_run_out_of_its_time_is_not_tried_again_whatever_its_child_said(last: Line | None) -> None:
    outcome = decide(ending="overtime", last=last, exit_code=1, last_lines="", max_run_seconds=60)
    assert (outcome.kind, outcome.failure, (outcome.error or {})["code"]) == ("failed", "user", "run_time_exceeded")


@pytest.mark.parametrize("failure", ["user", "memory", "infrastructure"])
def test_a_failure_keeps_whose_fault_it_is(failure) -> None:
    outcome = decide(ending=None, last=a_failure(failure), exit_code=1, last_lines="")
    assert (outcome.kind, outcome.failure) == ("failed", failure)


def test_a_child_without_a_last_word_was_interrupted_and_its_log_is_the_cause() -> None:
    outcome = decide(ending=None, last=None, exit_code=-11, last_lines="Segmentation fault")
    assert outcome.kind == "interrupted"
    assert "SIGSEGV" in (outcome.error or {})["message"]
    assert "Segmentation fault" in (outcome.error or {})["message"]


def test_a_child_that_stopped_unasked_was_interrupted() -> None:
    assert kind(last=STOPPED) == "interrupted"
