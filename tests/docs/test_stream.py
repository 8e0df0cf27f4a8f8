"""The row that the page on the stream follows goes the way that the page says."""

from __future__ import annotations

import json
import re
from pathlib import Path

from core.data.index import ShardIndex, build_index
from core.data.pipeline.timetable import Timetable
from core.data.rows import open_index
from core.data.spec import MixtureEntry, SourceSpec, StreamSpec

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "stream.md").read_text()


def stream_of_the_page(folder: Path) -> StreamSpec:
    """The file of the page, registered, as a job of seed 7 reads it."""
    rows = ({"messages": [{"role": "user", "content": f"How high at gauge {k}?"},
                          {"role": "assistant", "content": f"{k} metres."}]} for k in range(1, 1001))
    file = folder / "river.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    build_index(file, folder / "index")
    source = SourceSpec.of_file("river", str(file), str(folder / "index"), "chat")
    return StreamSpec((source,), (MixtureEntry(1, (1.0,)),), seed=7, epochs=2, batch_size=4, max_length=2048,
                      micro_batch_tokens=4096, tokenizer_path="", tokenizer_digest="")


def test_the_step_of_the_page_has_the_rows_and_the_position_that_it_says(tmp_path: Path) -> None:
    spec = stream_of_the_page(tmp_path)

    due = Timetable(spec, [open_index(spec.sources[0])]).due(120)

    told = re.search(r"are rows ([\d, ]+)\s+(\d+) and (\d+)", PAGE)
    assert told
    assert [ref.row for ref in due.rows] == [int(number) for number in re.findall(r"\d+", told[0])]
    assert json.dumps(due.position.to_json()) in PAGE


def test_the_row_of_the_page_lies_where_it_says(tmp_path: Path) -> None:
    spec = stream_of_the_page(tmp_path)

    start, end = ShardIndex.open(spec.sources[0].shards[0].index_path).span(775)

    assert f"bytes {start:,} to {end:,}" in PAGE
    assert (tmp_path / "river.jsonl").read_text()[start:end] in PAGE
