"""Running out of memory anywhere in a run: the same rows, the same curve, and what was learned is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from core.data.spec import Batch, MicroBatch
from core.errors import OutOfMemory
from core.specs.run import LoraSpec
from tests.worker.making import batch, batches, micro, run_spec, train
from tests.worker.training.pairs import RANKS, together
from worker.reports import Finished, Line, MemoryRecovered, Saved, StepDone
from worker.run import failure
from worker.training.group import Group
from worker.training.memory import smaller_limit

CALM = LoraSpec(r=4, alpha=8)
Before = Callable[[MicroBatch], None]


def full_at(*passes: int) -> Before:
    """A device that runs out of memory at these forward passes, the first being 1, whatever comes."""
    seen: list[int] = []

    def before(part: MicroBatch) -> None:
        seen.append(len(part.ids))
        if len(seen) in passes and len(part.sources) > 1:
            raise torch.OutOfMemoryError(f"pass {len(seen)}")
    return before


def losses(heard: list[Line]) -> list[float]:
    return [line.train_loss for line in heard if isinstance(line, StepDone)]


def trained(folder: Path, *, before: Before = lambda part: None, validation: list[Batch] | None = None) -> list[Line]:
    heard: list[Line] = []
    train(run_spec(folder, lora=CALM), report=heard.append, before_micro_batch=before, validation=validation)
    assert isinstance(heard[-1], Finished)
    return heard


def apart(one: list[float], other: list[float]) -> float:
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("passes", [(1,), (2,), (5,), (1, 2), (3, 12), (2, 9, 15)])
def test_the_curve_is_that_of_an_undisturbed_run_wherever_memory_runs_out(passes: tuple[int, ...], tmp_path: Path) -> None:
    calm, tight = trained(tmp_path / "calm"), trained(tmp_path / "tight", before=full_at(*passes))
    recovered = [line for line in tight if isinstance(line, MemoryRecovered)]
    assert recovered
    assert [line.limit_tokens for line in recovered] == sorted({line.limit_tokens for line in recovered}, reverse=True)
    assert apart(losses(calm), losses(tight)) < 1e-5
    assert [line.step for line in tight if isinstance(line, StepDone)] == [1, 2, 3, 4, 5, 6]


def test_an_evaluation_that_runs_out_of_memory_changes_no_figure(tmp_path: Path) -> None:
    held_out = [batch(1, micro([9, 14, 5], seed=3)), batch(2, micro([8, 7], seed=4))]

    def full_in_evaluations(part: MicroBatch) -> None:
        if not torch.is_grad_enabled() and len(part.sources) > 2:
            raise torch.OutOfMemoryError("an evaluation")

    calm = trained(tmp_path / "calm", validation=held_out)
    tight = trained(tmp_path / "tight", validation=held_out, before=full_in_evaluations)
    found = [[line.full_valid_loss for line in heard if isinstance(line, StepDone) and line.full_valid_loss is not None]
             for heard in (calm, tight)]
    assert len(found[0]) == 2
    assert apart(*found) < 1e-5
    assert apart(losses(calm), losses(tight)) < 1e-5


def share(rank: int) -> Callable[[int], Iterator[Batch]]:
    """A rank's half of each step: its micro-batch of the two, in its slots; the tokens of the whole step."""
    def stream(after: int) -> Iterator[Batch]:
        for whole in batches(after):
            first, second = whole.micro_batches
            slots = (range(2), range(2, 5))[rank]
            yield replace(whole, micro_batches=((first, second)[rank],), slots=tuple(slots), rows=tuple(
                whole.rows[slot] for slot in slots))
    return stream


def of_two_ranks(folder: Path, before: Callable[[int], Before]) -> list[list[Line]]:
    heard: list[list[Line]] = [[] for _ in range(RANKS)]

    def run(group: Group) -> None:
        spec = run_spec(folder / f"rank-{group.rank}", lora=CALM)
        train(spec, report=heard[group.rank].append, group=group, stream=share(group.rank),
              before_micro_batch=before(group.rank))

    together(run)
    return heard


def test_one_rank_that_runs_out_of_memory_makes_all_of_them_smaller(tmp_path: Path) -> None:
    calm = of_two_ranks(tmp_path / "calm", lambda rank: lambda part: None)
    tight = of_two_ranks(tmp_path / "tight", lambda rank: full_at(2) if rank == 1 else lambda part: None)
    assert [any(isinstance(line, MemoryRecovered) for line in heard) for heard in tight] == [False, True]
    assert apart(losses(calm[0]), losses(tight[0])) < 1e-5
    assert apart(losses(calm[0]), losses(trained(tmp_path / "alone"))) < 1e-5


def test_a_limit_that_an_earlier_attempt_noted_is_kept_from_the_first_step_on(tmp_path: Path) -> None:
    heard: list[Line] = []
    passes: list[int] = []
    train(run_spec(tmp_path, lora=CALM, limit_tokens=12), report=heard.append,
          before_micro_batch=lambda part: passes.append(len(part.ids)))
    assert max(passes) <= 14  # a single example may be longer than the limit
    assert not any(isinstance(line, MemoryRecovered) for line in heard)


def test_what_an_evaluation_taught_survives_a_resume(tmp_path: Path) -> None:
    heard: list[Line] = []
    held_out = [batch(1, micro([9, 14, 5], seed=3))]

    def before(part: MicroBatch) -> None:
        if len(part.ids) > 23:
            raise torch.OutOfMemoryError("too long")

    def is_stopping() -> bool:
        return sum(isinstance(line, StepDone) for line in heard) >= 4

    train(run_spec(tmp_path, lora=CALM), report=heard.append, validation=held_out, before_micro_batch=before,
          is_stopping=is_stopping)
    saved = [line for line in heard if isinstance(line, Saved)][-1]
    heard.clear()
    train(run_spec(tmp_path, lora=CALM, resume_from=saved.folder), report=heard.append, validation=held_out,
          before_micro_batch=before)
    assert isinstance(heard[-1], Finished)
    assert not any(isinstance(line, MemoryRecovered) for line in heard)


def test_a_row_that_does_not_fit_alone_ends_the_run_for_memory_with_the_numbers(tmp_path: Path) -> None:
    def before(part: MicroBatch) -> None:
        if len(part.ids) > 13:
            raise torch.OutOfMemoryError("too long")

    with pytest.raises(OutOfMemory) as raised:
        train(run_spec(tmp_path, lora=CALM), report=lambda line: None, before_micro_batch=before)
    told = failure(raised.value)
    assert (told.failure, told.code, told.param) == ("memory", "out_of_memory", "options.max_length")
    assert told.message.startswith("an example of 14 tokens does not fit into the device's memory by itself (the run's process "
                                   "holds ")
    assert "GiB of the host's" in told.message
    assert told.message.endswith("lower options.max_length or lora.r, or use a larger device")


def test_a_limit_only_ever_falls() -> None:
    assert smaller_limit([micro([6, 8]), micro([3, 3])]) == 7
