from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from core.data.held_out import held_out_rows, joined_by
from core.data.pipeline import open_stream, plan_stream
from core.data.spec import MixtureEntry, StreamSpec
from core.errors import DataError
from tests.streams import chat_rows, stream_spec, write_source


def joining(folder: Path) -> StreamSpec:
    """A source alone, one that joins at step 5, and one that was added and is never drawn from."""
    sources = [write_source(folder, name, chat_rows(size)) for name, size in zip("abc", (40, 30, 20), strict=True)]
    log = [MixtureEntry(1, (1.0,)), MixtureEntry(5, (0.5, 0.5)), MixtureEntry(9, (0.0, 1.0))]
    return stream_spec(folder, *sources, mixture=log, batch_size=4, epochs=3, validation_fraction=0.3)


def contents(spec: StreamSpec) -> dict[str, set[int]]:
    with open_stream(spec) as stream:
        refs = [ref for batch in stream.batches() for ref in batch.rows]
    return {source.name: {ref.row for ref in refs if ref.source == number} for number, source in enumerate(spec.sources)}


def test_a_source_is_evaluated_on_from_the_step_on_from_which_it_is_drawn(tmp_path: Path) -> None:
    spec = joining(tmp_path)
    assert [joined_by(spec, step) for step in (0, 4, 5, 9)] == [[0], [0], [0, 1], [0, 1]]
    assert [source.name for source in held_out_rows(spec, 4).sources] == ["a"]
    assert [source.name for source in held_out_rows(spec, 5).sources] == ["a", "b"]


def test_no_row_that_is_evaluated_on_is_ever_trained_on_also_of_a_source_that_joined(tmp_path: Path) -> None:
    spec = joining(tmp_path)
    trained, held_out = contents(spec), contents(held_out_rows(spec, 5))
    assert held_out["b"]
    assert trained["b"]
    assert all(not rows & trained[name] for name, rows in held_out.items())
    assert held_out["a"] == contents(held_out_rows(spec, 0))["a"]
    assert held_out["b"] | trained["b"] == set(range(30))


def test_a_source_too_small_to_hold_out_a_row_hinders_nothing_while_another_has_some(tmp_path: Path) -> None:
    spec = joining(tmp_path)
    small = replace(spec, sources=(spec.sources[0], write_source(tmp_path, "small", chat_rows(1))), mixture=spec.mixture[:2],
                    validation_fraction=0.3)
    told = held_out_rows(small, 5)
    assert plan_stream(told).rows in ((plan_stream(held_out_rows(spec, 0)).rows[0], n) for n in (0, 1))
    with pytest.raises(DataError, match=r"no row of 'small' is on the validation side of a split of 0\.0001"):
        plan_stream(replace(told, sources=small.sources[1:], mixture=(MixtureEntry(1, (1.0,)),), validation_fraction=0.0001))
