"""Rows of a step that lie where the asking process does not look: Parquet, and files in places."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from core.data.index import build_index
from core.data.pipeline import open_stream
from core.data.spec import Places, ShardSpec, SourceSpec, StreamSpec
from core.errors import NotFound
from core.lineage.reading import StepView, show_step
from tests.remote import TOKEN, WebServer, a_web_server
from tests.streams import chat_rows, stream_spec

LIMIT_SECONDS = 60.0


def parquet_source(folder: Path) -> SourceSpec:
    path = folder / "rows.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(chat_rows(12)), path, row_group_size=4)
    report = build_index(path, folder / "index")
    shard = ShardSpec(str(path), str(folder / "index"), report.sha256, kind=report.kind, name=path.name,
                      bytes=report.file_bytes)
    return SourceSpec("rows", (shard,), "chat", report.sha256, layout="blocks")


def in_web(source: SourceSpec, web: WebServer) -> SourceSpec:
    """The same source where its file lies behind a web server."""
    (shard,) = source.shards
    web.files[shard.name] = Path(shard.path).read_bytes()
    return replace(source, shards=(replace(shard, path=shard.name, place="web"),))


def shown(spec: StreamSpec, places: Places, trained_on: StreamSpec) -> StepView:
    """What is told of the second step, where its rows were trained on from another stream."""
    with open_stream(trained_on) as stream:
        batch = next(stream.batches(stream.due(1).position))
    losses = np.ones(batch.slot_count, "<f4").tobytes()
    return show_step(spec, 2, digest=f"{batch.digest:016x}", losses=losses, after=None, limit=20, places=places,
                     timeout_seconds=LIMIT_SECONDS)


def test_rows_of_parquet_are_shown_and_proved(tmp_path: Path) -> None:
    spec = stream_spec(tmp_path, parquet_source(tmp_path))

    view = shown(spec, Places(), spec)

    assert view.verified
    assert {row.file for row in view.rows} == {"rows.parquet"}
    assert all(row.content and row.is_trained for row in view.rows)


def test_rows_in_a_place_are_shown_and_proved_until_the_file_changes(tmp_path: Path) -> None:
    here = parquet_source(tmp_path)
    with a_web_server({}, token=TOKEN) as web:
        there = stream_spec(tmp_path, in_web(here, web))
        places = Places({"web": web.place()})
        assert shown(there, places, stream_spec(tmp_path, here)).verified
        web.files["rows.parquet"] += b"more"
        with pytest.raises(NotFound, match="changed after it was registered"):
            shown(there, places, stream_spec(tmp_path, here))
