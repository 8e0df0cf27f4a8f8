"""The promise of steering: a change holds from its step on, leaves every step before it alone, and replays exactly."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from core.data.ahead import read_ahead
from core.data.pipeline import open_stream, plan_stream
from core.data.proof import step_digest
from core.data.rows import RowReader
from core.data.spec import Batch, MixtureEntry, Position, RowRef, StreamSpec
from tests.streams import chat_rows, stream_spec, told, write_source


def two_sources(folder: Path, *more: MixtureEntry) -> StreamSpec:
    sources = [write_source(folder, "a", chat_rows(13)), write_source(folder, "b", chat_rows(9))]
    return stream_spec(folder, *sources, mixture=[MixtureEntry(1, (0.8, 0.2)), *more], batch_size=4, epochs=3)


def read(spec: StreamSpec, position: Position | None = None) -> list[Batch]:
    with open_stream(spec) as stream:
        return list(stream.batches(position))


def with_entry(spec: StreamSpec, entry: MixtureEntry) -> StreamSpec:
    return replace(spec, mixture=(*spec.mixture, entry))



CHANGES = (MixtureEntry(5, (0.1, 0.9)), MixtureEntry(5, (0.0, 1.0)), MixtureEntry(5, (0.8, 0.2), (RowRef(0, 2), RowRef(1, 4))),
           MixtureEntry(5, (0.8, 0.2), lifted=(RowRef(0, 2),)))


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_on_the_way_is_the_run_whose_log_had_it_from_the_start(change: MixtureEntry, tmp_path: Path) -> None:
    before = two_sources(tmp_path)
    steered = with_entry(before, change)
    done = read(before)[: change.from_step - 1]
    with read_ahead(steered, done[-1].position) as ahead:
        went = [*done, *ahead]
    assert [told(batch) for batch in went] == [told(batch) for batch in read(steered)]
    assert len(went) == plan_stream(before).total_steps


@pytest.mark.parametrize("change", CHANGES)
def test_no_step_before_a_change_is_touched_and_its_digest_says_so(change: MixtureEntry, tmp_path: Path) -> None:
    before = two_sources(tmp_path)
    after = with_entry(before, change)
    earlier = change.from_step - 1
    assert [told(b) for b in read(before)[:earlier]] == [told(b) for b in read(after)[:earlier]]
    assert before.mixture_digest(earlier) == after.mixture_digest(earlier)
    assert before.mixture_digest(change.from_step) != after.mixture_digest(change.from_step)
    assert before.fingerprint() == after.fingerprint()


def test_a_quarantined_row_leaves_a_hole_and_nothing_moves(tmp_path: Path) -> None:
    spec = two_sources(tmp_path)
    plain = read(spec)
    row = plain[7].rows[1]
    steered = read(with_entry(spec, MixtureEntry(5, (0.8, 0.2), (row,))))
    for with_it, without in zip(plain, steered, strict=True):
        assert with_it.position.drawn == without.position.drawn
        is_out = with_it.step >= 5
        assert [ref for ref in with_it.rows if not (is_out and ref == row)] == list(without.rows)
        assert [hole.ref for hole in without.holes] == [ref for ref in with_it.rows if is_out and ref == row]
    assert plain[0].digest == steered[0].digest
    assert plain[7].digest != steered[7].digest


def test_a_row_whose_quarantine_is_lifted_comes_again_where_it_is_due(tmp_path: Path) -> None:
    spec = two_sources(tmp_path)
    plain = read(spec)
    row = next(ref for ref in plain[3].rows if ref.source == 1)
    log = (MixtureEntry(2, (0.8, 0.2), (row,)), MixtureEntry(6, (0.8, 0.2), lifted=(row,)))
    steered = read(replace(spec, mixture=(*spec.mixture, *log)))
    missed = [batch.step for batch in steered for hole in batch.holes if hole.ref == row]
    assert missed == [batch.step for batch in plain if row in batch.rows and 2 <= batch.step < 6]
    assert [batch.rows for batch in steered[5:]] == [batch.rows for batch in plain[5:]]
    assert any(row in batch.rows for batch in steered[5:])


def test_a_source_that_joins_leaves_the_one_that_was_alone_where_it_stood(tmp_path: Path) -> None:
    a, b = write_source(tmp_path, "a", chat_rows(13)), write_source(tmp_path, "b", chat_rows(9))
    alone = stream_spec(tmp_path, a, batch_size=4, epochs=3)
    joined = replace(alone, sources=(a, b), mixture=(MixtureEntry(1, (1.0,)), MixtureEntry(6, (1.0, 1.0))))
    first, then = read(alone), read(joined)
    assert [(x.rows, x.digest) for x in first[:5]] == [(x.rows, x.digest) for x in then[:5]]
    assert [told(x) for x in read(joined, first[4].position)] == [told(x) for x in then[5:]]
    assert plan_stream(joined).total_steps == len(first) == len(then)
    seen = [ref.row for batch in then for ref in batch.rows if ref.source == 0]
    assert sorted(seen[:13]) == list(range(13))


def test_a_row_out_of_a_single_source_keeps_the_passes_as_they_were(tmp_path: Path) -> None:
    a = write_source(tmp_path, "a", chat_rows(13))
    alone = stream_spec(tmp_path, a, batch_size=4, epochs=2)
    steered = with_entry(alone, MixtureEntry(3, (2.0,), (RowRef(0, 1),)))
    assert [b.slot_count for b in read(steered)] == [b.slot_count for b in read(alone)] == [4, 4, 4, 1] * 2


def test_a_step_is_proved_by_reading_its_rows_again(tmp_path: Path) -> None:
    spec = two_sources(tmp_path, MixtureEntry(3, (0.5, 0.5), (RowRef(0, 2),)))
    with open_stream(spec) as stream, RowReader(spec.sources) as reader:
        for batch in stream.batches():
            due = stream.due(batch.step)
            trained = [ref for slot, ref in enumerate(due.rows) if slot in batch.slots]
            assert trained == list(batch.rows)
            assert step_digest((ref, reader.read(ref).digest) for ref in trained) == batch.digest


def test_a_row_that_changed_breaks_the_proof(tmp_path: Path) -> None:
    raw = [xxhash.xxh3_64_intdigest(text) for text in (b"one", b"two", b"owt")]
    refs = [RowRef(0, 0), RowRef(0, 1)]
    digest = step_digest(zip(refs, raw[:2], strict=True))
    assert digest != step_digest(zip(refs, (raw[0], raw[2]), strict=True))
    assert digest != step_digest(zip(refs[::-1], raw[:2], strict=True))
    assert digest != step_digest(zip((RowRef(1, 0), RowRef(0, 1)), raw[:2], strict=True))


@settings(max_examples=25, deadline=None)
@given(changes=st.lists(st.tuples(st.integers(0, 3), st.lists(st.integers(0, 5), min_size=2, max_size=2).filter(any),
                                  st.lists(st.integers(0, 8), max_size=2), st.lists(st.integers(0, 8), max_size=2)),
                        min_size=1, max_size=4), at=st.data())
def test_any_log_replays_from_any_step(changes, at, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("log")
    step, log = 1, [MixtureEntry(1, (0.8, 0.2))]
    for later, weights, rows, lifted in changes:
        step += later
        out, again = (tuple(RowRef(1, row) for row in some) for some in (rows, lifted))
        log.append(MixtureEntry(step, tuple(map(float, weights)), out, again))
    spec = replace(two_sources(folder), mixture=tuple(log))
    whole = read(spec)
    done = at.draw(st.integers(1, len(whole)))
    assert [told(b) for b in read(spec, whole[done - 1].position)] == [told(b) for b in whole[done:]]
