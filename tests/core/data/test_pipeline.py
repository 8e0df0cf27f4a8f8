"""Plans and streams: how many steps there are, which rows each holds, and what becomes of rows that cannot be used."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from core.data.pipeline import open_stream, plan_stream
from core.data.spec import Batch, MixtureEntry, Position, StreamSpec
from core.errors import DataError
from tests.streams import chat_row, chat_rows, stream_spec, write_shards, write_source


def read(spec: StreamSpec, position: Position | None = None) -> list[Batch]:
    with open_stream(spec) as stream:
        return list(stream.batches(position))


def rows_of(batches: list[Batch]) -> list[tuple[int, int]]:
    return [(ref.source, ref.row) for batch in batches for ref in batch.rows]


def two_sources(folder: Path, *, sizes: tuple[int, int] = (12, 4), **told: Any) -> StreamSpec:
    sources = [write_source(folder, name, chat_rows(size)) for name, size in zip("ab", sizes, strict=True)]
    return stream_spec(folder, *sources, mixture=[MixtureEntry(1, (0.5, 0.5))], **told)


def test_an_epochs_last_step_is_short(tmp_path: Path) -> None:
    spec = stream_spec(tmp_path, batch_size=5, epochs=3)
    plan = plan_stream(spec)
    assert (plan.rows, plan.total_steps, plan.epoch_ends) == ((12,), 9, (3, 6, 9))
    batches = read(spec)
    assert [len(batch.rows) for batch in batches] == [5, 5, 2] * 3
    assert [batch.epoch for batch in batches][2::3] == [1.0, 2.0, 3.0]


def test_each_epoch_holds_every_row_once_in_an_order_of_its_own(tmp_path: Path) -> None:
    epochs = [rows_of(read(stream_spec(tmp_path, batch_size=5, epochs=3))[k:k + 3]) for k in (0, 3, 6)]
    assert all(sorted(epoch) == [(0, row) for row in range(12)] for epoch in epochs)
    assert epochs[0] != epochs[1]


def test_rows_stand_as_in_the_file_where_no_shuffle_is_asked_for(tmp_path: Path) -> None:
    assert rows_of(read(stream_spec(tmp_path, is_shuffled=False))) == [(0, row) for row in range(12)]


def test_trained_tokens_are_those_of_the_whole_step(tmp_path: Path) -> None:
    whole = read(stream_spec(tmp_path))
    assert [batch.trained_tokens for batch in whole] == [
        sum(int(each.loss_mask.sum()) for each in batch.micro_batches) for batch in whole]
    for rank in range(3):
        share = read(stream_spec(tmp_path, rank=rank, ranks=3))
        assert [batch.trained_tokens for batch in share] == [batch.trained_tokens for batch in whole]


def test_all_waits_until_every_source_has_had_its_passes(tmp_path: Path) -> None:
    spec = two_sources(tmp_path, exhaustion="all")
    drawn = Counter(source for source, _ in rows_of(read(spec)))
    assert drawn == {0: 12, 1: 11}
    assert plan_stream(spec).total_steps == 6


def test_first_stops_with_the_first_source_that_has_had_its_passes(tmp_path: Path) -> None:
    drawn = Counter(source for source, _ in rows_of(read(two_sources(tmp_path, exhaustion="first"))))
    assert drawn == {0: 4, 1: 4}


def test_repeat_draws_as_many_rows_as_there_are(tmp_path: Path) -> None:
    spec = two_sources(tmp_path, exhaustion="repeat", epochs=2, batch_size=5)
    batches = read(spec)
    assert sum(len(batch.rows) for batch in batches) == 32
    assert [len(batch.rows) for batch in batches] == [5, 5, 5, 5, 5, 5, 2]
    assert plan_stream(spec).epoch_ends == (4, 7)
    assert batches[-1].epoch == 2.0


def test_a_source_that_begins_again_does_so_in_another_order(tmp_path: Path) -> None:
    rows = [row for source, row in rows_of(read(two_sources(tmp_path, exhaustion="all"))) if source == 1]
    assert sorted(rows[:4]) == sorted(rows[4:8]) == [0, 1, 2, 3]


def test_a_change_of_weights_leaves_the_number_of_steps_alone(tmp_path: Path) -> None:
    spec = two_sources(tmp_path)
    changed = replace(spec, mixture=(*spec.mixture, MixtureEntry(3, (0.9, 0.1))))
    assert plan_stream(changed) == plan_stream(spec)
    before, after = read(spec), read(changed)
    assert [batch.rows for batch in before[:2]] == [batch.rows for batch in after[:2]]
    assert [batch.position.mixture_entry for batch in after] == [0, 0, 1, 1, 1, 1]
    assert sum(after[-1].position.drawn) == sum(before[-1].position.drawn)


def test_both_sides_of_a_split_are_the_whole(tmp_path: Path) -> None:
    source = write_source(tmp_path, "many", chat_rows(60))
    sides = [rows_of(read(stream_spec(tmp_path, source, validation_fraction=0.3, part=part)))
             for part in ("train", "validation")]
    assert sorted(sides[0] + sides[1]) == [(0, row) for row in range(60)]
    assert all(sides)


def test_validation_rows_of_several_sources_count_once_each(tmp_path: Path) -> None:
    spec = two_sources(tmp_path, sizes=(60, 40), validation_fraction=0.3, part="validation", is_shuffled=False, batch_size=7)
    rows = rows_of(read(spec))
    assert rows == sorted(set(rows))
    assert len(rows) == sum(plan_stream(spec).rows)
    assert {source for source, _ in rows} == {0, 1}


def test_rows_known_to_be_faulty_are_left_out_beforehand(tmp_path: Path) -> None:
    source = write_source(tmp_path, "torn", [*chat_rows(5), '{"messages":', *chat_rows(4)])
    spec = stream_spec(tmp_path, source, on_bad_row="skip")
    assert plan_stream(spec).rows == (9,)
    assert not any(batch.holes for batch in read(spec))
    assert (0, 5) not in rows_of(read(spec))


def refused_row() -> dict[str, Any]:
    """A row that registration takes and streaming does not."""
    return {"messages": [{"role": "user", "content": "\ufdd0"}, {"role": "assistant", "content": "yes"}]}


def test_a_row_found_unusable_leaves_a_hole_and_nothing_moves(tmp_path: Path) -> None:
    rows = chat_rows(12)
    good = read(stream_spec(tmp_path, write_source(tmp_path, "good", rows), on_bad_row="skip"))
    rows[6] = refused_row()
    bad = read(stream_spec(tmp_path, write_source(tmp_path, "bad", rows), on_bad_row="skip"))
    (hole,) = [hole for batch in bad for hole in batch.holes]
    assert (hole.ref.row, hole.line) == (6, 7)
    assert "U+FDD0" in hole.reason
    assert [[ref for ref in batch.rows if ref.row != 6] for batch in good] == [list(batch.rows) for batch in bad]
    assert [batch.position for batch in good] == [batch.position for batch in bad]


def test_a_row_found_unusable_stops_the_stream_with_file_and_line(tmp_path: Path) -> None:
    source = write_source(tmp_path, "bad", [*chat_rows(6), refused_row()])
    with pytest.raises(DataError, match=r"line 7 of source 'bad' cannot be trained on: .*U\+FDD0.*'skip'"):
        read(stream_spec(tmp_path, source))


def test_a_row_that_changed_after_it_was_registered_stops_the_stream(tmp_path: Path) -> None:
    source = write_source(tmp_path, "changed", [chat_row(1), chat_row(2)])
    path = Path(source.shards[0].path)
    path.write_text(path.read_text().replace("question 2", "question 3"))
    with pytest.raises(DataError, match=r"line 2 of source 'changed' .* changed after"):
        read(stream_spec(tmp_path, source))


def test_overlong_rows_are_dropped_without_stopping_the_stream(tmp_path: Path) -> None:
    source = write_source(tmp_path, "long", [*chat_rows(3), chat_row(10 ** 200)])
    batches = read(stream_spec(tmp_path, source, max_length=64, overlong="drop", on_bad_row="fail"))
    (hole,) = [hole for batch in batches for hole in batch.holes]
    assert hole.reason.startswith("it has more than 64 tokens")


def test_overlong_rows_are_cut_and_counted(tmp_path: Path) -> None:
    rows = [chat_row(1), chat_row(2)]
    rows[1]["messages"][1]["content"] = "word " * 200
    batches = read(stream_spec(tmp_path, write_source(tmp_path, "long", rows), max_length=64))
    assert sum(batch.truncated for batch in batches) == 1
    assert max(len(each.ids) for batch in batches for each in batch.micro_batches) <= 64


def test_a_step_of_holes_alone_is_an_empty_batch(tmp_path: Path) -> None:
    batches = read(stream_spec(tmp_path, write_source(tmp_path, "bad", [refused_row()] * 2), on_bad_row="skip"))
    assert [(batch.micro_batches, batch.trained_tokens, len(batch.holes)) for batch in batches] == [((), 0, 2)]


def test_rows_of_different_formats_mix(tmp_path: Path) -> None:
    sources = (write_source(tmp_path, "chat", chat_rows(4)),
               write_source(tmp_path, "text", [{"text": f"text {k}"} for k in range(4)], row_format="text"),
               write_source(tmp_path, "pairs", [{"prompt": "a", "completion": f"{k}"} for k in range(4)],
                            row_format="prompt_completion"))
    batches = read(stream_spec(tmp_path, *sources))
    assert Counter(source for source, _ in rows_of(batches)) == {0: 4, 1: 4, 2: 4}
    assert all(batch.micro_batches for batch in batches)


def test_a_position_of_another_stream_is_refused(tmp_path: Path) -> None:
    with open_stream(stream_spec(tmp_path)) as stream:
        with pytest.raises(DataError, match="has drawn \\[7\\] rows"):
            stream.batches(Position(2, (7,), 0))
        with pytest.raises(DataError, match="is at step 99 of a stream of 3 steps"):
            stream.batches(Position(99, (396,), 0))


def test_a_source_without_a_good_row_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="source 'none' has no good row"):
        plan_stream(stream_spec(tmp_path, write_source(tmp_path, "none", ["{"]), on_bad_row="skip"))


def test_a_plan_is_made_without_a_tokenizer(tmp_path: Path) -> None:
    program = ("import json, sys\nfrom core.data.pipeline import plan_stream\nfrom core.data.spec import StreamSpec\n"
               "plan_stream(StreamSpec.from_json(json.load(sys.stdin)))\n"
               "print([name for name in ('tokenizers', 'jinja2') if name in sys.modules])")
    asked = json.dumps(stream_spec(tmp_path).to_json())
    ended = subprocess.run([sys.executable, "-c", program], input=asked, capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"


def test_the_digest_of_the_mixture_holds_the_shards_by_their_digests_alone(tmp_path: Path):
    spec = stream_spec(tmp_path, write_shards(tmp_path, "parts", [chat_rows(2), chat_rows(3)]))
    (source,) = spec.sources
    moved = tuple(replace(shard, path="/elsewhere", index_path="", place="there", name="x") for shard in source.shards)
    assert replace(spec, sources=(replace(source, shards=moved),)).mixture_digest(1) == spec.mixture_digest(1)
    turned = replace(source, shards=source.shards[::-1])
    assert replace(spec, sources=(turned,)).mixture_digest(1) != spec.mixture_digest(1)
    assert StreamSpec.from_json(orjson.loads(orjson.dumps(spec.to_json()))) == spec
