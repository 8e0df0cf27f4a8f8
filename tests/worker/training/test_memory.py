from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from core.data.spec import MicroBatch
from core.errors import OutOfMemory
from core.specs.run import LoraSpec
from tests.worker.making import batch, micro, run_spec, tiny, train
from worker.held_out import HeldOut
from worker.reports import Finished, Line, MemoryRecovered, Saved, StepDone
from worker.training.evaluation import evaluate
from worker.training.memory import fit, halve, one_by_one, smaller_limit
from worker.training.step import Layout

NO_DROPOUT = LoraSpec(r=4, alpha=8)


def too_small_for(tokens: int):
    """A device on which more than so many tokens do not fit."""
    def before(part: MicroBatch) -> None:
        if len(part.ids) > tokens:
            raise torch.OutOfMemoryError(f"{len(part.ids)} tokens")
    return before


def test_halves_hold_the_same_examples_in_the_same_order() -> None:
    whole = micro([5, 9, 2, 8], sources=[0, 1, 0, 1])
    first, second = halve(whole)
    assert (list(first.boundaries), list(second.boundaries)) == ([0, 5, 14], [0, 2, 10])
    assert np.array_equal(np.concatenate([first.ids, second.ids]), whole.ids)
    assert np.array_equal(np.concatenate([first.loss_mask, second.loss_mask]), whole.loss_mask)
    assert (list(first.sources), list(second.sources)) == ([0, 1], [0, 1])


def test_fitting_leaves_a_long_example_whole() -> None:
    assert [len(part.ids) for part in fit([micro([4, 30, 5])], 10)] == [4, 30, 5]
    assert fit(given := (micro([4, 30, 5]),), None) == given
    assert len(one_by_one([micro([4, 3]), micro([2])])) == 3


def test_the_next_limit_splits_the_longest_that_can_be_split() -> None:
    assert smaller_limit([micro([40]), micro([6, 8])]) == 7


def test_one_example_that_does_not_fit_is_told_with_its_length() -> None:
    with pytest.raises(OutOfMemory, match=r"40 tokens.*max_length"):
        smaller_limit([micro([40]), micro([6])])


def test_a_step_that_ran_out_of_memory_is_repeated_with_the_same_rows(tmp_path: Path) -> None:
    calm: list[Line] = []
    train(run_spec(tmp_path / "calm", lora=NO_DROPOUT), report=calm.append)
    heard: list[Line] = []
    train(run_spec(tmp_path / "tight", lora=NO_DROPOUT), report=heard.append, before_micro_batch=too_small_for(15))
    assert isinstance(heard[-1], Finished)
    assert [line for line in heard if isinstance(line, MemoryRecovered)] == [MemoryRecovered(1, 4, 12)]
    pairs = zip(*([line for line in run if isinstance(line, StepDone)] for run in (calm, heard)), strict=True)
    assert all(abs(one.train_loss - other.train_loss) < 1e-5 for one, other in pairs)


def test_the_limit_found_survives_a_resume(tmp_path: Path) -> None:
    heard: list[Line] = []
    train(run_spec(tmp_path, lora=NO_DROPOUT), report=heard.append, before_micro_batch=too_small_for(15),
          is_stopping=lambda: any(isinstance(line, StepDone) for line in heard))
    saved = next(line for line in heard if isinstance(line, Saved))
    heard.clear()
    train(run_spec(tmp_path, lora=NO_DROPOUT, resume_from=saved.folder), report=heard.append,
          before_micro_batch=too_small_for(15))
    assert isinstance(heard[-1], Finished)
    assert not any(isinstance(line, MemoryRecovered) for line in heard)


def test_random_draws_start_over_with_the_repeated_step(tmp_path: Path) -> None:
    """A failure on the last micro-batch, after dropout was drawn for the others, leaves the figures of a smaller layout."""
    def run(folder: Path, fails: bool) -> list[float]:
        heard: list[Line] = []
        calls: list[int] = []

        def before(part: MicroBatch) -> None:
            calls.append(len(part.ids))
            if fails and len(calls) == 2:
                raise MemoryError
        train(run_spec(folder), report=heard.append, before_micro_batch=before if fails else too_small_for(15))
        return [line.train_loss for line in heard if isinstance(line, StepDone)]

    assert run(tmp_path / "late", fails=True) == run(tmp_path / "early", fails=False)


def test_an_evaluation_that_ran_out_of_memory_is_repeated_too(tmp_path: Path) -> None:

    def held_out() -> HeldOut:
        return HeldOut(("river",), iter([batch(1, micro([9, 14, 5]))]))

    model = tiny()
    calm = evaluate(held_out(), model, Layout(), before_each=lambda part: None, on_batch=lambda done: None)
    tight = evaluate(held_out(), model, Layout(), before_each=too_small_for(15), on_batch=lambda done: None)
    assert tight.losses == pytest.approx(calm.losses, abs=1e-5)
