"""The longest rows go through the model before step 1: the budget holds, is halved, or the run ends at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from core.data.packing import made_up_step
from core.data.pipeline import open_stream
from core.data.spec import MicroBatch, StreamSpec
from core.errors import OutOfMemory
from core.specs.run import LoraSpec
from tests.streams import parquet_source, stream_spec
from tests.worker import runs
from tests.worker.making import micro, run_spec, train
from tests.worker.training.pairs import RANKS, together
from tests.worker.training.test_memory import too_small_for
from worker.ranks import Member
from worker.reports import Finished, Line, MemoryProbed, MemoryRecovered, PhaseChanged, Saved, StepDone
from worker.run import longest_step
from worker.training.group import Group
from worker.training.probe import Probing

CALM = LoraSpec(r=4, alpha=8)
LONGEST = Probing(lambda: [micro([14, 12, 9, 9], seed=1)], 64)


def probed(folder: Path, *, before: Callable[[MicroBatch], None] = lambda part: None, probing: Probing | None = LONGEST,
           **changes: object) -> list[Line]:
    heard: list[Line] = []
    train(run_spec(folder, **changes), report=heard.append, before_micro_batch=before, probing=probing)
    assert isinstance(heard[-1], Finished)
    return heard


def told(heard: list[Line]) -> list[MemoryProbed]:
    return [line for line in heard if isinstance(line, MemoryProbed)]


def adapter(heard: list[Line]) -> bytes:
    last = [line for line in heard if isinstance(line, Saved)][-1]
    return (Path(last.folder) / "adapter_model.safetensors").read_bytes()


def test_a_budget_that_fits_is_confirmed_before_the_first_step(tmp_path: Path) -> None:
    heard = probed(tmp_path)
    (probe,) = told(heard)
    assert (probe.tokens, probe.limit_tokens, probe.asked_tokens, probe.halvings) == (44, 64, 64, 0)
    kinds = [type(line) for line in heard]
    assert kinds.index(MemoryProbed) < kinds.index(StepDone)
    assert PhaseChanged("probing") in heard


def test_a_budget_that_is_too_large_is_halved_and_no_step_runs_out_of_memory(tmp_path: Path) -> None:
    heard = probed(tmp_path, before=too_small_for(22))
    (probe,) = told(heard)
    assert (probe.tokens, probe.limit_tokens, probe.halvings) == (18, 22, 1)
    assert not any(isinstance(line, MemoryRecovered) for line in heard)


def test_a_run_that_probed_makes_the_same_bytes(tmp_path: Path) -> None:
    """With dropout: what the probe drew from the random state is put back."""
    assert adapter(probed(tmp_path / "one")) == adapter(probed(tmp_path / "other", probing=None))


def test_one_row_that_does_not_fit_ends_the_run_before_its_first_step(tmp_path: Path) -> None:
    heard: list[Line] = []
    with pytest.raises(OutOfMemory, match="an example of 14 tokens does not fit"):
        train(run_spec(tmp_path), report=heard.append, before_micro_batch=too_small_for(13), probing=LONGEST)
    assert not any(isinstance(line, StepDone) for line in heard)


def test_a_run_that_goes_on_keeps_the_result_and_probes_no_more(tmp_path: Path) -> None:
    def rows() -> list[MicroBatch]:
        raise AssertionError("probed again")

    heard: list[Line] = []
    train(run_spec(tmp_path), report=heard.append, before_micro_batch=too_small_for(22), probing=LONGEST,
          is_stopping=lambda: any(isinstance(line, StepDone) for line in heard))
    saved = next(line for line in heard if isinstance(line, Saved))
    again = probed(tmp_path, before=too_small_for(22), probing=Probing(rows, 64), resume_from=saved.folder)
    assert not any(isinstance(line, MemoryRecovered) for line in again)
    assert not told(probed(tmp_path / "noted", probing=Probing(rows, 64), limit_tokens=22))


def test_ranks_take_the_least_that_one_of_them_found(tmp_path: Path) -> None:
    heard: list[list[Line]] = [[] for _ in range(RANKS)]

    def run(group: Group) -> None:
        before = too_small_for(22) if group.rank else lambda part: None
        train(run_spec(tmp_path / str(group.rank), lora=CALM), report=heard[group.rank].append, group=group, probing=LONGEST,
              before_micro_batch=before)

    together(run)
    assert [[probe.limit_tokens for probe in told(lines)] for lines in heard] == [[22], [22]]


def test_the_step_that_is_probed_has_the_longest_rows(tmp_path: Path) -> None:
    rows = runs.chat_rows(40)
    rows[17]["messages"][1]["content"] *= 3
    rows[31]["messages"][1]["content"] *= 2
    spec = runs.run_spec(tmp_path, rows=rows, validation_fraction=0.0, stream={"batch_size": 4})
    stream = StreamSpec.from_json(spec.stream)
    found = longest_step(stream, Member(0, 2))
    lengths = [int(n) for part in found for n in torch.diff(torch.tensor(part.boundaries))]
    with open_stream(stream) as opened:
        known = sorted((int(n) for batch in opened.batches() for part in batch.micro_batches
                        for n in torch.diff(torch.tensor(part.boundaries))), reverse=True)
    assert lengths == [known[0], known[2]]  # two epochs: each length comes twice


def test_rows_of_parquet_have_no_length_and_are_stood_in_for_by_the_longest_that_may_be(tmp_path: Path) -> None:
    stream = stream_spec(tmp_path, parquet_source(tmp_path), max_length=50)
    assert [len(part.ids) for part in longest_step(stream, Member(0, 2))] == [50, 50]


def test_rows_in_places_are_stood_in_for_by_the_longest_that_may_be() -> None:
    parts = made_up_step(3, length=50, budget_tokens=100)
    assert [len(part.ids) for part in parts] == [100, 50]
    assert not parts[0].loss_mask[0]
