"""Stopped or killed at any step, a run ends in the bytes and figures of one that never was."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from core.data.spec import MicroBatch
from tests.worker.making import batch, batches, micro, run_spec, train
from worker.reports import Finished, Line, Saved, StepDone, Stopped

VALIDATION = [batch(1, micro([11, 8], seed=77)), batch(2, micro([6], seed=78))]
FIGURES = ("train_loss", "train_mean_token_accuracy", "learning_rate", "grad_norm", "source_losses", "full_valid_loss",
           "full_valid_mean_token_accuracy")


class Killed(Exception):
    """Stands for the end of the process."""


def stop_after(micro_batches: int) -> tuple[Callable[[], bool], Callable[[MicroBatch], None]]:
    """A stop sign that shows once so many forward passes have begun."""
    seen: list[MicroBatch] = []
    return (lambda: len(seen) >= micro_batches), seen.append


def figures(heard: list[Line]) -> dict[int, tuple]:
    return {line.step: tuple(getattr(line, name) for name in FIGURES) for line in heard if isinstance(line, StepDone)}


def newest(heard: list[Line]) -> str | None:
    return next((line.folder for line in reversed(heard) if isinstance(line, Saved)), None)


def adapter(folder: str | None) -> bytes:
    assert folder is not None
    return (Path(folder) / "adapter_model.safetensors").read_bytes() + (Path(folder) / "adapter_config.json").read_bytes()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[Line]:
    heard: list[Line] = []
    train(run_spec(tmp_path_factory.mktemp("undisturbed")), report=heard.append, validation=VALIDATION)
    return heard


@pytest.mark.parametrize("micro_batches", range(12))
def test_a_stop_between_any_two_micro_batches_leaves_no_trace(micro_batches: int, tmp_path: Path,
                                                              undisturbed: list[Line]) -> None:
    heard: list[Line] = []
    is_stopping, before = stop_after(micro_batches)
    train(run_spec(tmp_path), report=heard.append, validation=VALIDATION, is_stopping=is_stopping, before_micro_batch=before)
    assert heard[-1] == Stopped(micro_batches // 2)
    train(run_spec(tmp_path, resume_from=newest(heard)), report=heard.append, validation=VALIDATION)
    assert isinstance(heard[-1], Finished)
    assert adapter(newest(heard)) == adapter(newest(undisturbed))
    assert figures(heard) == figures(undisturbed)


@pytest.mark.parametrize("step", range(1, 7))
def test_a_kill_at_any_step_leaves_no_trace(step: int, tmp_path: Path, undisturbed: list[Line]) -> None:
    heard: list[Line] = []

    def die(line: Line) -> None:
        heard.append(line)
        if isinstance(line, StepDone) and line.step == step:
            raise Killed

    with pytest.raises(Killed):
        train(run_spec(tmp_path, recovery_every_seconds=0), report=die, validation=VALIDATION)
    _let_writers_end()
    train(run_spec(tmp_path, resume_from=newest(heard)), report=heard.append, validation=VALIDATION)
    assert adapter(newest(heard)) == adapter(newest(undisturbed))
    assert figures(heard) == figures(undisturbed)


def test_a_step_stopped_in_its_evaluation_is_reported_once_and_whole(tmp_path: Path, undisturbed: list[Line]) -> None:
    heard: list[Line] = []
    is_evaluating = [False]

    def listen(line: Line) -> None:
        heard.append(line)
        is_evaluating[0] = getattr(line, "phase", None) == "evaluating"

    train(run_spec(tmp_path), report=listen, validation=VALIDATION, is_stopping=lambda: is_evaluating[0])
    assert heard[-1] == Stopped(3)
    assert list(figures(heard)) == [1, 2]
    train(run_spec(tmp_path, resume_from=newest(heard)), report=heard.append, validation=VALIDATION)
    assert figures(heard) == figures(undisturbed)
    assert [s.step for s in heard if isinstance(s, StepDone)] == [1, 2, 3, 4, 5, 6]
    assert [(s.step, s.checkpoint) for s in heard if isinstance(s, Saved)] == [(3, "recovery"), (3, "listed"), (6, "final")]


def test_another_seed_gives_another_adapter(tmp_path: Path, undisturbed: list[Line]) -> None:
    heard: list[Line] = []
    train(run_spec(tmp_path, seed=12), report=heard.append)
    assert adapter(newest(heard)) != adapter(newest(undisturbed))


def test_evaluating_changes_nothing_but_the_report(tmp_path: Path, undisturbed: list[Line]) -> None:
    heard: list[Line] = []
    train(run_spec(tmp_path), report=heard.append)
    assert adapter(newest(heard)) == adapter(newest(undisturbed))
    assert not any(line.full_valid_loss for line in heard if isinstance(line, StepDone))


def test_a_step_of_holes_counts_and_changes_nothing(tmp_path: Path) -> None:
    def with_holes(after: int):
        for each in batches(after):
            yield dataclasses.replace(each, micro_batches=(), rows=(), trained_tokens=0) if each.step == 2 else each

    heard: list[Line] = []
    train(run_spec(tmp_path), report=heard.append, stream=with_holes)
    first, second = [line for line in heard if isinstance(line, StepDone)][:2]
    assert (second.step, second.trained_tokens, second.train_loss) == (2, 0, first.train_loss)
    assert isinstance(heard[-1], Finished)


def _let_writers_end() -> None:
    """A real kill ends the writing thread too; here it would write beside the run that follows."""
    for thread in threading.enumerate():
        if thread.name == "checkpoint-writer":
            thread.join()


@pytest.mark.parametrize("micro_batches", [3, 8])
def test_a_stop_leaves_no_trace_in_bf16_either(micro_batches: int, tmp_path: Path) -> None:
    whole, heard = [], []
    train(run_spec(tmp_path / "whole", dtype="bf16"), report=whole.append)
    is_stopping, before = stop_after(micro_batches)
    train(run_spec(tmp_path / "again", dtype="bf16"), report=heard.append, is_stopping=is_stopping, before_micro_batch=before)
    train(run_spec(tmp_path / "again", dtype="bf16", resume_from=newest(heard)), report=heard.append)
    assert isinstance(heard[-1], Finished)
    assert (adapter(newest(heard)), figures(heard)) == (adapter(newest(whole)), figures(whole))
