"""Loading that ranks and processes share: what each rank gets is what it would have made for itself, whoever made it.

The loaders are threads that do what the processes do (tests/loaders.py), so that many are tried; tests/core/data/test_ahead.py
tries the processes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from socket import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.data.ahead.asked import Asked
from core.data.ahead.depth import Depth
from core.data.pipeline import open_stream, plan_stream
from core.data.spec import Batch, MixtureEntry, Position, RowRef, StreamSpec
from core.errors import DataError
from tests.kinds_of_streams import SETTINGS, holes_and_cuts, mixture_until_all_are_done
from tests.loaders import LoaderThread, read_together
from tests.streams import chat_rows, stream_spec, told, write_source

RANKS, PROCESSES = (1, 2, 3, 5), (1, 2, 3)

ranks_of = st.sampled_from(RANKS)
processes_of = st.sampled_from(PROCESSES)


def read(spec: StreamSpec, position: Position | None = None) -> list[Batch]:
    with open_stream(spec) as stream:
        return list(stream.batches(position))


@dataclass(frozen=True)
class Known:
    """Streams, and what one rank and one process make of them."""

    specs: tuple[StreamSpec, ...]

    @cache  # noqa: B019 - lives as long as the module's tests
    def whole(self, number: int) -> list[Batch]:
        return read(self.specs[number])

    @cache  # noqa: B019
    def share(self, number: int, rank: int, ranks: int) -> list[Batch]:
        return read(replace(self.specs[number], rank=rank, ranks=ranks))


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Known:
    return Known(tuple(setting(tmp_path_factory.mktemp(setting.__name__)) for setting in SETTINGS))


def joined(batches: Sequence[Batch]) -> list[tuple[int, RowRef, list[int], list[bool]]]:
    """The examples of a step over all ranks, in the order in which they are drawn."""
    found = [(slot, k, ref, *example) for batch in batches
             for k, (slot, ref, example) in enumerate(zip(batch.slots, batch.rows, examples(batch), strict=True))]
    return [(slot, *rest) for slot, _, *rest in sorted(found, key=lambda each: each[:2])]  # pyright: ignore[reportReturnType]


def examples(batch: Batch) -> list[tuple[list[int], list[bool]]]:
    return [(micro.ids[start:end].tolist(), micro.loss_mask[start:end].tolist()) for micro in batch.micro_batches
            for start, end in zip(micro.boundaries, micro.boundaries[1:], strict=False)]


@settings(max_examples=40, deadline=None)
@given(number=st.sampled_from(range(len(SETTINGS))), ranks=ranks_of, processes=processes_of, at=st.data())
def test_the_shares_are_the_steps_from_any_position_whoever_makes_them(number: int, ranks: int, processes: int, at, known: Known
                                                                       ) -> None:
    whole = known.whole(number)
    done = at.draw(st.integers(0, len(whole)), label="steps done")
    position = whole[done - 1].position if done else None
    went = list(read_together(known.specs[number], position, ranks=ranks, processes=processes))
    assert len(went) == len(whole) - done
    for batches, expected in zip(went, whole[done:], strict=True):
        assert joined(batches) == joined([expected])
        assert {hole for batch in batches for hole in batch.holes} == set(expected.holes)
    for rank in range(ranks):
        assert [told(batches[rank]) for batches in went] == [told(b) for b in known.share(number, rank, ranks)[done:]]


@settings(max_examples=15, deadline=None)
@given(number=st.sampled_from(range(len(SETTINGS))), parts=st.lists(st.tuples(ranks_of, processes_of, st.integers(0, 4)),
                                                                    min_size=2, max_size=4))
def test_no_row_is_lost_or_repeated_when_ranks_and_processes_change(number: int, parts: list[tuple[int, int, int]], known: Known
                                                                    ) -> None:
    whole, went, position = known.whole(number), [], None
    for ranks, processes, steps in parts:
        stream = read_together(known.specs[number], position, ranks=ranks, processes=processes)
        for batches, _ in zip(stream, range(steps), strict=False):
            went.append(joined(batches))
            position = batches[0].position
        stream.close()
    assert went == [joined([batch]) for batch in whole[:len(went)]]


@settings(max_examples=15, deadline=None)
@given(step=st.integers(1, 8), weights=st.tuples(st.integers(1, 5), st.integers(0, 5)),
       rows=st.lists(st.integers(0, 8), max_size=3), before=st.tuples(ranks_of, processes_of),
       after=st.tuples(ranks_of, processes_of))
def test_a_change_of_the_mixture_is_read_on_by_all(step: int, weights: tuple[int, int], rows: list[int], before, after,
                                                   known: Known) -> None:
    spec = known.specs[SETTINGS.index(mixture_until_all_are_done)]
    entry = MixtureEntry(step + 1, tuple(map(float, weights)), tuple(RowRef(1, row) for row in rows))
    steered = replace(spec, mixture=(*spec.mixture, entry))
    step = min(step, plan_stream(spec).total_steps - 1)
    first = read_together(spec, ranks=before[0], processes=before[1])
    went = [batches for batches, _ in zip(first, range(step), strict=False)]
    first.close()
    went += read_together(steered, went[-1][0].position, ranks=after[0], processes=after[1])
    assert list(map(joined, went)) == [joined([batch]) for batch in read(steered)]


def refusing(folder: Path, most: int) -> StreamSpec:
    """Twelve rows in steps of two; rows 3, 6 and 9 are refused while they are read."""
    rows = chat_rows(12)
    for number in (3, 6, 9):
        rows[number] = {"messages": [{"role": "user", "content": "\ufdd0"}, {"role": "assistant", "content": "yes"}]}
    source = write_source(folder, "holes", rows)
    return stream_spec(folder, source, batch_size=2, on_bad_row="skip", max_bad_rows=most, is_shuffled=False)


@pytest.mark.parametrize("processes", PROCESSES)
@pytest.mark.parametrize("ranks", [1, 3])
def test_the_limit_of_bad_rows_counts_over_all_processes(ranks: int, processes: int, tmp_path: Path) -> None:
    assert len(list(read_together(refusing(tmp_path, 3), ranks=ranks, processes=processes))) == 6
    limited = read_together(refusing(tmp_path, 2), ranks=ranks, processes=processes)
    assert [next(limited)[0].step for _ in range(4)] == [1, 2, 3, 4]
    with pytest.raises(DataError, match=r"more rows than the 2 .* line 10 of source 'holes'") as caught:
        next(limited)
    assert caught.value.code == "too_many_bad_rows"


@pytest.mark.parametrize("processes", PROCESSES)
def test_a_row_at_fault_stops_the_stream_at_its_step(processes: int, tmp_path: Path) -> None:
    spec = replace(refusing(tmp_path, 0), on_bad_row="fail", max_bad_rows=None)
    stream = read_together(spec, ranks=2, processes=processes)
    assert next(stream)[0].step == 1
    with pytest.raises(DataError, match="line 4 of source 'holes' cannot be trained on"):
        next(stream)


@pytest.mark.parametrize("processes", PROCESSES)
def test_the_smallest_budget_gives_every_batch(processes: int, tmp_path: Path) -> None:
    spec = holes_and_cuts(tmp_path)
    went = list(read_together(spec, ranks=3, processes=processes, byte_budget=1))
    assert [batches[0].step for batches in went] == list(range(1, plan_stream(spec).total_steps + 1))


class Needy(Depth):
    """Says after six steps that three processes are needed, to start within two more."""

    load_seconds = 0.3  # pyright: ignore[reportAssignmentType]

    @property
    def processes(self) -> int:
        return 3 if self._loads > 6 else 1


@pytest.mark.parametrize("ranks", [1, 3])
def test_the_steps_go_over_to_several_processes_and_nothing_moves(ranks: int, tmp_path: Path) -> None:
    spec, loaders = warned_of(stream_spec(tmp_path, epochs=9, batch_size=2)), []

    def start(asked: Asked, channels: Sequence[socket]) -> LoaderThread:
        loaders.append(LoaderThread(asked, channels, depth=Needy(), most=2))
        return loaders[-1]

    went = list(read_together(spec, ranks=ranks, processes=0, start=start))
    assert list(map(joined, went)) == [joined([batch]) for batch in read(spec)]
    assert [len(loader.started) for loader in loaders] == [2]
    assert [len(batches[0].warnings) for batches in went] == [1, *[0] * (len(went) - 1)]


@pytest.mark.parametrize("processes", PROCESSES)
def test_what_is_to_be_told_of_a_stream_is_told_with_the_first_step_alone(processes: int, tmp_path: Path) -> None:
    went = list(read_together(warned_of(stream_spec(tmp_path)), ranks=2, processes=processes))
    assert [[len(batch.warnings) for batch in batches] for batches in went] == [[1, 1], [0, 0], [0, 0]]


def warned_of(spec: StreamSpec) -> StreamSpec:
    """The stream, of which it is known that the reference tokenizer must serve."""
    open_stream(spec).close()
    (kept,) = Path(spec.sources[0].shards[0].index_path).glob("agreement-*.json")
    kept.write_text(json.dumps({"reason": "tried out", "normal_form": None}))
    return spec
