"""The promise of the stream: from every position, all that follows is equal; and ranks share each step's rows exactly.

What is compared is everything a batch holds: ids, masks, boundaries, sources, rows, holes, counts and positions.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.data.ahead import read_ahead
from core.data.pipeline import open_stream, plan_stream
from core.data.spec import Batch, Position, RowRef, StreamSpec
from tests.kinds_of_streams import SETTINGS, Setting, epochs_with_short_last_steps
from tests.streams import told

each_setting = pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.__name__)


def read(spec: StreamSpec, position: Position | None = None) -> list[Batch]:
    with open_stream(spec) as stream:
        return list(stream.batches(position))


def all_told(batches: list[Batch]) -> list[tuple[Any, ...]]:
    return [told(batch) for batch in batches]


@each_setting
@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_from_every_position_all_that_follows_is_equal(setting: Setting, ranks: int, tmp_path: Path) -> None:
    spec = replace(setting(tmp_path), rank=ranks - 1, ranks=ranks)
    whole = read(spec)
    assert len(whole) == plan_stream(spec).total_steps > 1
    expected = all_told(whole)
    for done, batch in enumerate(whole, start=1):
        position = Position.from_json(batch.position.to_json())
        assert position.step == done
        assert all_told(read(spec, position)) == expected[done:]


@each_setting
def test_the_start_is_a_position_too(setting: Setting, tmp_path: Path) -> None:
    spec = setting(tmp_path)
    with open_stream(spec) as stream:
        start = stream.position_after(0)
    assert all_told(read(spec, start)) == all_told(read(spec, Position())) == all_told(read(spec))


@each_setting
def test_read_ahead_goes_on_from_a_position(setting: Setting, tmp_path: Path) -> None:
    spec = setting(tmp_path)
    whole = read(spec)
    for batch in (whole[0], whole[-2]):
        with read_ahead(spec, batch.position) as ahead:
            assert all_told(list(ahead)) == all_told(whole[batch.step:])


@each_setting
@pytest.mark.parametrize("ranks", [2, 3, 5])
def test_ranks_share_the_rows_of_each_step(setting: Setting, ranks: int, tmp_path: Path) -> None:
    spec = setting(tmp_path)
    shares = [read(replace(spec, rank=rank, ranks=ranks)) for rank in range(ranks)]
    for step, whole in enumerate(read(spec)):
        batches = [share[step] for share in shares]
        assert Counter(ref for batch in batches for ref in batch.rows) == Counter(whole.rows)
        assert all(batch.holes == whole.holes for batch in batches)
        assert {batch.trained_tokens for batch in batches} == {whole.trained_tokens}
        assert {batch.position for batch in batches} == {whole.position}
        assert {batch.digest for batch in batches} == {whole.digest}
        assert sorted(slot for batch in batches for slot in batch.slots) == list(whole.slots)


@pytest.mark.parametrize("before", [1, 2, 3, 5])
@pytest.mark.parametrize("after", [1, 2, 3, 5])
def test_no_row_is_lost_or_repeated_when_the_number_of_ranks_changes(before: int, after: int, tmp_path: Path) -> None:
    spec = epochs_with_short_last_steps(tmp_path)
    rows: list[RowRef] = []
    position = Position()
    for ranks, steps in ((before, 2), (after, 1)):
        shares = [read(replace(spec, rank=rank, ranks=ranks), position)[:steps] for rank in range(ranks)]
        rows += [ref for share in shares for batch in share for ref in batch.rows]
        position = shares[0][-1].position
    assert sorted(ref.row for ref in rows) == list(range(12))


@each_setting
def test_the_layout_inside_a_step_changes_no_row_and_no_token(setting: Setting, tmp_path: Path) -> None:
    spec = setting(tmp_path)
    assert spec.fingerprint() == replace(spec, micro_batch_tokens=1).fingerprint()
    layouts = [read(replace(spec, micro_batch_tokens=tokens)) for tokens in (4096, 1)]
    for wide, narrow in zip(*layouts, strict=True):
        assert (wide.rows, wide.position, wide.trained_tokens) == (narrow.rows, narrow.position, narrow.trained_tokens)
        ids = [[int(number) for each in batch.micro_batches for number in each.ids] for batch in (wide, narrow)]
        assert ids[0] == ids[1]


@each_setting
def test_a_position_is_small_enough_to_read_aloud(setting: Setting, tmp_path: Path) -> None:
    for batch in read(setting(tmp_path)):
        assert len(str(batch.position.to_json())) < 200
