"""What `watch` says of events, and how it reckons the time left."""

from __future__ import annotations

from typing import Any

import pytest

from cli.watch import Pace, describe_message, describe_step, show_events


def metrics(step: int, **more: Any) -> dict[str, Any]:
    data = {"step": step, "total_steps": 10, "train_loss": 2.5, "tokens_per_second": 200.0, **more}
    return {"type": "metrics", "level": "info", "message": f"Step {step}", "data": data}


def test_the_time_left_follows_the_pace_of_the_last_steps() -> None:
    pace = Pace()
    for step, at in ((1, 10.0), (2, 12.0), (3, 14.0)):
        pace.note(step, at)

    assert pace.seconds_left(10) == pytest.approx(14.0)


def test_one_step_says_nothing_of_the_pace() -> None:
    pace = Pace()
    pace.note(1, 10.0)

    assert pace.seconds_left(10) is None


def test_a_restored_run_begins_its_pace_anew() -> None:
    pace = Pace()
    for step, at in ((1, 10.0), (8, 20.0), (5, 100.0), (6, 101.0)):
        pace.note(step, at)

    assert pace.seconds_left(10) == pytest.approx(4.0)


def test_a_step_is_told_with_its_loss_speed_and_held_out_loss() -> None:
    told = describe_step(metrics(3, full_valid_loss=2.25)["data"], 75.0)

    assert told == "step 3/10  loss 2.500  held-out loss 2.250  200 tokens/s  1 min 15 s left"


def test_answers_are_told_below_their_prompts() -> None:
    event = {"type": "message", "message": "Sampled", "data": {"code": "sample.generated", "step": 0,
                                                               "samples": [{"prompt": "Why?", "answer": "So."}]}}

    assert describe_message(event) == "answers before training:\n  Why?\n    → So."


def test_without_a_terminal_messages_and_the_marked_steps_are_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    message = {"type": "message", "level": "info", "message": "[odd] text", "data": {"code": "job.queued"}}

    show_events([message, *(metrics(step) for step in range(1, 11))])

    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "[odd] text"
    assert [line.split("  ")[0] for line in lines[1:]] == ["step 1/10", "step 10/10"]


def test_json_gives_each_event_on_a_line(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    show_events([metrics(1), metrics(2)], as_json=True)

    assert [b'"step":1' in capfdbinary.readouterr().out.splitlines()[0]] == [True]
