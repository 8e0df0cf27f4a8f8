from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from core.data.spec import Hole, RowRef
from core.errors import RunInterrupted, RunRejected
from core.specs.run import LoraSpec, OptimizerSpec
from tests.tiny_model import tiny_base
from tests.worker.making import batch, batches, micro, run_spec, tiny, train
from worker.reports import Alive, Finished, Line, PhaseChanged, Sampled, Saved, StepDone, Stopped
from worker.training.sampling import Sampler

PROMPTS = {"sample_prompts": ["What is the name?", "Hello"], "sample_max_tokens": 5}


def saves(heard: list[Line]) -> list[tuple[int, str]]:
    return [(line.step, line.checkpoint) for line in heard if isinstance(line, Saved)]


def test_loss_falls_on_rows_seen_again(tmp_path: Path) -> None:
    heard: list[Line] = []
    spec = run_spec(tmp_path, lora=LoraSpec(r=8, alpha=16), total_steps=12, epoch_ends=[12],
                    optimizer=OptimizerSpec(learning_rate=1e-2))
    train(spec, report=heard.append, stream=lambda after: (
        batch(step, micro([20, 30], seed=1), total_steps=12) for step in range(after + 1, 13)))
    found = [line.train_loss for line in heard if isinstance(line, StepDone)]
    assert found[-1] < found[0] - 0.2


def test_checkpoints_are_listed_where_they_are_due_and_final_at_the_end(tmp_path: Path) -> None:
    heard: list[Line] = []
    train(run_spec(tmp_path, checkpoint_every_steps=2), report=heard.append)
    assert saves(heard) == [(2, "listed"), (3, "listed"), (4, "listed"), (6, "final")]
    assert {path.name for path in Path(tmp_path, "checkpoints").iterdir()} == {
        f"step-0000000{step}" for step in (2, 3, 4, 6)}


def test_two_recovery_points_are_kept(tmp_path: Path) -> None:
    heard: list[Line] = []
    train(run_spec(tmp_path, recovery_every_seconds=0, epoch_ends=[6]), report=wait_for_saves(heard))
    assert saves(heard) == [(1, "recovery"), (2, "recovery"), (3, "recovery"), (4, "recovery"), (5, "recovery"),
                            (6, "final")]
    assert sorted(path.name for path in Path(tmp_path, "checkpoints").iterdir()) == [
        "step-00000004-recovery", "step-00000005-recovery", "step-00000006"]


def test_steps_are_reported_in_order_with_their_figures(tmp_path: Path) -> None:
    heard: list[Line] = []
    train(run_spec(tmp_path), report=heard.append)
    steps = [line for line in heard if isinstance(line, StepDone)]
    assert [line.step for line in steps] == [1, 2, 3, 4, 5, 6]
    first = steps[0]
    assert (first.examples, first.tokens, first.trained_tokens) == (5, 47, 25)
    assert set(first.source_losses) == {"river", "mill"}
    assert heard[-1] == Finished(6, 6 * 47)


def test_source_losses_add_up_to_the_loss(tmp_path: Path) -> None:
    heard: list[Line] = []
    train(run_spec(tmp_path), report=heard.append)
    first = next(line for line in heard if isinstance(line, StepDone))
    trained = {"river": 5 + 3 + 6, "mill": 7 + 4}
    assert sum(first.source_losses[name] * count for name, count in trained.items()) == pytest.approx(first.train_loss * 25)


def test_evaluation_is_told_at_epoch_ends_and_where_asked(tmp_path: Path) -> None:
    heard: list[Line] = []
    train(run_spec(tmp_path, eval_every_steps=4), report=heard.append, validation=[batch(1, micro([9]))])
    assert [line.step for line in heard if isinstance(line, StepDone) and line.full_valid_loss] == [3, 4, 6]
    assert all(line.valid_loss == line.full_valid_loss for line in heard if isinstance(line, StepDone))
    assert all(line.source_valid_losses == {"river": pytest.approx(line.valid_loss)} for line in heard
               if isinstance(line, StepDone) and line.valid_loss)
    assert sum(isinstance(line, Alive) for line in heard) == 3
    assert next(line for line in heard if isinstance(line, Saved)).metrics["full_valid_loss"] > 0


def test_validation_without_a_trained_token_has_no_figure(tmp_path: Path) -> None:
    heard: list[Line] = []
    train(run_spec(tmp_path), report=heard.append, validation=[batch(1)])
    assert not any(line.full_valid_loss for line in heard if isinstance(line, StepDone))


def with_hole(after: int):
    """One row at fault, due in each pass over the data."""
    for each in batches(after):
        yield dataclasses.replace(each, holes=(Hole(RowRef(1, 7), 8, "no answer"),)) if each.step in (2, 5) else each


def test_a_row_that_is_missed_is_told_once_with_source_and_line(tmp_path: Path) -> None:
    heard: list[Line] = []
    train(run_spec(tmp_path), report=heard.append, stream=with_hole)
    steps = [line for line in heard if isinstance(line, StepDone)]
    assert [(line.step, line.skipped) for line in steps if line.skipped] == [
        (2, [{"source": "mill", "file": "mill", "line": 8, "reason": "no answer"}])]
    assert [line.source_skipped.get("mill", 0) for line in steps] == [0, 1, 1, 1, 1, 1]


def test_what_was_skipped_is_counted_on_after_a_resume(tmp_path: Path) -> None:
    heard: list[Line] = []
    train(run_spec(tmp_path), report=heard.append, stream=with_hole, is_stopping=lambda: saves(heard) != [])
    saved = next(line for line in heard if isinstance(line, Saved))
    assert saved.seen["skipped"] == [0, 1]
    heard.clear()
    train(run_spec(tmp_path, resume_from=saved.folder), report=heard.append, stream=with_hole)
    steps = [line for line in heard if isinstance(line, StepDone)]
    assert {line.source_skipped["mill"] for line in steps} == {1}
    assert not any(line.skipped for line in steps)


def test_a_run_that_trained_on_nothing_is_no_success_and_says_why(tmp_path: Path) -> None:
    heard: list[Line] = []
    long = Hole(RowRef(0, 4), 5, "nothing in its first 128 tokens is trained on", cause="overlong", is_first=True)
    empty = batch(1, holes=(long,), slot_count=1, overlong={"drop": 1}, overlong_first={"drop": 1})
    with pytest.raises(RunRejected, match=r"not one token .* 6 too long; raise options.max_length") as caught:
        train(run_spec(tmp_path), report=heard.append, stream=lambda after: (
            dataclasses.replace(empty, step=step) for step in range(after + 1, 7)))
    assert caught.value.param == "options.max_length"
    assert [line.step for line in heard if isinstance(line, StepDone)] == [1, 2, 3, 4, 5, 6]
    assert (6, "final") not in saves(heard)


def test_a_loss_that_is_no_number_is_the_users_and_saves_nothing(tmp_path: Path) -> None:
    heard: list[Line] = []
    spec = run_spec(tmp_path, optimizer=OptimizerSpec(learning_rate=1e30, max_grad_norm=1e6))
    with pytest.raises(RunRejected, match="step 2 is not a finite number; lower learning_rate_multiplier") as caught:
        train(spec, report=heard.append)
    assert caught.value.code == "loss_not_finite"
    assert saves(heard) == []


def test_a_stream_that_ends_early_interrupts_the_run(tmp_path: Path) -> None:
    with pytest.raises(RunInterrupted, match="after step 2 of 6"):
        train(run_spec(tmp_path), report=lambda line: None, stream=lambda after: iter(list(batches(after))[:2]))


def test_a_stop_ends_a_run_whose_stream_broke(tmp_path: Path) -> None:
    """The stop ends the read-ahead process: what its reader then raises is no failure."""
    stopping = [False]

    def broken(after: int):
        yield from list(batches(after))[:2]
        stopping[0] = True
        raise RunInterrupted("read-ahead is gone")

    heard: list[Line] = []
    train(run_spec(tmp_path), report=heard.append, stream=broken, is_stopping=lambda: stopping[0])
    assert heard[-1] == Stopped(2)
    assert saves(heard) == [(2, "recovery")]


def test_a_stop_ends_a_run_that_awaits_a_held_out_batch(tmp_path: Path) -> None:
    stopping = [False]
    heard: list[Line] = []

    class Broken:
        def __iter__(self):
            stopping[0] = True
            raise RunInterrupted("reading ahead was stopped")
            yield

    spec = run_spec(tmp_path, eval_every_steps=2)
    train(spec, report=heard.append, validation=Broken(), is_stopping=lambda: stopping[0])  # pyright: ignore[reportArgumentType]
    assert heard[-1] == Stopped(2)


def test_samples_stand_before_the_first_step_and_after_the_last(tmp_path: Path) -> None:
    heard: list[Line] = []
    train(run_spec(tmp_path, **PROMPTS), report=heard.append)
    assert [line.step for line in heard if isinstance(line, Sampled)] == [0, 6]
    phases = [line.phase for line in heard if isinstance(line, PhaseChanged)]
    assert phases == ["sampling", "waiting_for_data", "training", "sampling", "saving"]


def test_a_resumed_run_takes_no_samples_before(tmp_path: Path) -> None:
    heard: list[Line] = []
    train(run_spec(tmp_path, **PROMPTS), report=heard.append, is_stopping=lambda: saves(heard) != [])
    saved = next(line for line in heard if isinstance(line, Saved))
    heard.clear()
    train(run_spec(tmp_path, resume_from=saved.folder, **PROMPTS), report=heard.append)
    assert [line.step for line in heard if isinstance(line, Sampled)] == [6]


def test_sampling_is_interrupted_at_a_token(tmp_path: Path) -> None:
    looks: list[int] = []

    def is_stopping() -> bool:
        looks.append(1)
        return len(looks) > 2

    heard: list[Line] = []
    train(run_spec(tmp_path, **PROMPTS), report=heard.append, is_stopping=is_stopping)
    assert heard[-1] == Stopped(0)
    assert len(looks) == 3
    assert saves(heard) == []


def test_a_run_restored_after_its_last_step_only_finishes(tmp_path: Path) -> None:
    heard: list[Line] = []
    train(run_spec(tmp_path), report=heard.append)
    last = [line for line in heard if isinstance(line, Saved)][-1]
    heard.clear()
    train(run_spec(tmp_path, resume_from=last.folder), report=heard.append, stream=lambda after: iter(()))
    assert heard[-1] == Finished(6, 0)
    assert saves(heard) == []


def test_samples_change_nothing_in_the_run(tmp_path: Path) -> None:
    runs: list[list[Line]] = [[], []]
    for number, more in enumerate(({}, PROMPTS)):
        train(run_spec(tmp_path / str(number), **more), report=runs[number].append)
    plain, sampled = ([line.train_loss for line in run if isinstance(line, StepDone)] for run in runs)
    assert plain == sampled


def test_prompts_answered_together_are_answered_as_alone() -> None:
    prompts = ["What is the name of this place?", "Hi", "Every model learns from examples"]
    model = tiny()
    together = Sampler(tiny_base(), prompts, 6).answer(model, lambda: None)
    alone = [Sampler(tiny_base(), [prompt], 6).answer(model, lambda: None)[0] for prompt in prompts]
    assert together == alone
    assert [sample["prompt"] for sample in together] == prompts
    assert model.causal.training


def test_an_answer_ends_at_the_end_of_the_turn() -> None:
    model = tiny()
    sampler = Sampler(tiny_base(), ["Hello"], 6)
    first = sampler.answer(model, lambda: None)[0]["answer"]
    model.causal.generation_config.eos_token_id = [
        int(model.causal(input_ids=torch.tensor([sampler._encode("Hello")])).logits[0, -1].argmax())]
    assert first != ""
    assert sampler.answer(model, lambda: None)[0]["answer"] == ""


def wait_for_saves(heard: list[Line]) -> Callable[[Line], None]:
    """Let each save end before the next step is reported, as on a device that is slower than its disk."""
    def report(line: Line) -> None:
        if isinstance(line, StepDone):
            for thread in threading.enumerate():
                if thread.name == "checkpoint-writer":
                    thread.join()
        heard.append(line)
    return report


def test_a_long_step_says_that_it_lives(tmp_path: Path) -> None:
    now = [0.0]

    def slow_pass(part: object) -> None:
        now[0] += 12

    heard: list[Line] = []
    train(run_spec(tmp_path), report=heard.append, before_micro_batch=slow_pass, clock=lambda: now[0])
    first = heard.index(next(line for line in heard if isinstance(line, StepDone)))
    assert any(isinstance(line, Alive) for line in heard[:first])
