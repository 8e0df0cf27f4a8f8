"""The promise of the sources: the same rows come out, in whatever kind of file they lay; and what is wrong is named.

A new kind of file joins `KINDS` in tests/core/data/files_on_disk.py.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from core.data.index import ShardIndex
from core.data.pipeline import open_stream
from core.data.rows import BadRow, RowReader
from core.data.spec import Row, RowRef, SourceSpec
from core.errors import DataError
from tests.core.data.files_on_disk import KINDS, jsonl, registered_file
from tests.streams import stream_spec, told

ODD = ["plain", 'a "quoted" word', "two\nlines", "a,comma\tand a tab", "\u2028 ü ☔ \\ /", "{[not json]}", " spaces ",
       "x" * 100_000]
PAIRS = [{"prompt": f"question {number}: {text}", "completion": f"{text} {number}"}
         for number, text in enumerate(ODD * 4)]

each_kind = pytest.mark.parametrize("kind", KINDS)


def rows_of(source: SourceSpec) -> list[Row | BadRow]:
    with RowReader([source]) as reader:
        return reader.read_many([RowRef(0, row) for row in range(reader.indexes[0].rows)])


@each_kind
def test_the_same_content_gives_the_same_rows(kind: str, tmp_path: Path):
    source = registered_file(tmp_path, f"rows.{kind}", KINDS[kind](PAIRS))
    assert [row.value if isinstance(row, Row) else row.message for row in rows_of(source)] == PAIRS


@each_kind
def test_the_same_content_gives_the_same_batches(kind: str, tmp_path: Path):
    rows = [{"prompt": f"question {number}", "completion": f"answer, {number}"} for number in range(23)]
    batches = []
    for folder, each in ((tmp_path / "plain", "jsonl"), (tmp_path / "other", kind)):
        folder.mkdir()
        source = registered_file(folder, f"rows.{each}", KINDS[each](rows))
        with open_stream(stream_spec(folder, source, epochs=2)) as stream:
            batches.append([told(replace(batch, digest=0)) for batch in stream.batches()])
    assert batches[0] == batches[1]


@each_kind
def test_the_kind_is_told_by_the_content_where_it_can_be(kind: str, tmp_path: Path):
    content = KINDS[kind](PAIRS)
    name = "rows" if not kind.startswith(("csv", "tsv")) else f"rows.{kind}"
    index = ShardIndex.open(registered_file(tmp_path, name, content).shards[0].index_path)
    assert index.report.file_kind == kind
    assert (index.report.file_bytes, index.report.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert (index.report.converted_bytes is not None) == (index.report.kind == "frames")


@each_kind
def test_a_digest_that_is_known_is_not_reckoned_again(kind: str, tmp_path: Path):
    source = registered_file(tmp_path, f"rows.{kind}", KINDS[kind](PAIRS), sha256="known")
    assert source.shards[0].digest == "known"
    assert len(rows_of(source)) == len(PAIRS)


@each_kind
def test_rows_that_cannot_be_used_are_named_by_file_and_place(kind: str, tmp_path: Path):
    rows = [*PAIRS[:3], {"prompt": "a question", "completion": ""}, PAIRS[3]]
    source = registered_file(tmp_path, f"rows.{kind}", KINDS[kind](rows))
    report = ShardIndex.open(source.shards[0].index_path).report
    assert (report.rows, report.faulty, [fault.code for fault in report.faults]) == (5, 1, ["nothing_to_train_on"])
    (bad,) = [row for row in rows_of(source) if isinstance(row, BadRow)]
    line = report.faults[0].line
    assert line == {"csv": 7, "tsv": 7}.get(kind.partition(".")[0], 4)
    assert bad.message.startswith(f"rows.{kind}, {report.unit} {line}: ")
    assert report.faults[0].message.startswith(f"{report.unit} {line}: ")


@each_kind
def test_a_change_behind_the_index_is_noticed(kind: str, tmp_path: Path):
    rows = [{"prompt": "a", "completion": "bbbbbbbb"}, {"prompt": "c", "completion": "dddddddd"}]
    changed = [rows[0], {"prompt": "c", "completion": "eeeeeeee"}]
    source = registered_file(tmp_path, f"rows.{kind}", KINDS[kind](rows))
    (tmp_path / "new").mkdir()
    other = registered_file(tmp_path / "new", f"rows.{kind}", KINDS[kind](changed))
    moved = replace(source, shards=(replace(source.shards[0], path=other.shards[0].path),))
    last = rows_of(moved)[1]
    assert isinstance(last, BadRow)
    assert last.code == "row_changed"


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "." in kind])
@pytest.mark.parametrize("share", [0.3, 0.95])
def test_a_stream_that_is_cut_is_named_and_leaves_nothing(kind: str, share: float, tmp_path: Path):
    content = KINDS[kind](PAIRS)
    with pytest.raises(DataError, match=r"cannot be read to its end: its \w+ stream is cut") as caught:
        registered_file(tmp_path, f"rows.{kind}", content[: int(len(content) * share)])
    assert caught.value.code == "broken_file"
    assert not (tmp_path / f"rows.{kind}.frames").exists()


def test_shards_of_every_kind_make_one_source(tmp_path: Path):
    parts = [registered_file(tmp_path, f"{number}.{kind}", KINDS[kind](PAIRS[number : number + 2]))
             for number, kind in enumerate(KINDS)]
    source = SourceSpec("all", tuple(part.shards[0] for part in parts), "prompt_completion", "")
    expected = [pair for number in range(len(KINDS)) for pair in PAIRS[number : number + 2]]
    assert [row.value if isinstance(row, Row) else row.message for row in rows_of(source)] == expected


def test_rows_are_hashed_alike_as_lines_and_in_frames(tmp_path: Path):
    """So the split holds the same rows out, compressed or not."""
    sources = [registered_file(tmp_path, f"rows.{kind}", KINDS[kind](PAIRS))
               for kind in ("jsonl", "jsonl.gz", "jsonl.zst", "parquet")]
    hashes = [ShardIndex.open(source.shards[0].index_path).hashes.tolist() for source in sources]
    assert all(each == hashes[0] for each in hashes)
    assert jsonl(PAIRS).count(b"\n") == len(hashes[0])
