"""A stream whose rows lie in places: the same rows as from a local file, with the same order at every resume."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from core.data.ahead import read_ahead
from core.data.pipeline import open_stream
from core.data.shards import OpenPlaces
from core.data.spec import Place, Places, SourceSpec, StreamSpec, layout_for
from core.errors import DataError
from tests.remote import SECRET, TOKEN, WebServer, a_bucket, a_web_server
from tests.streams import chat_rows, stream_spec, told, write_shards


@pytest.fixture
def local(tmp_path: Path) -> SourceSpec:
    return replace(write_shards(tmp_path, "rows", [chat_rows(30), chat_rows(13)]), layout="blocks", block_rows=2)


@pytest.fixture
def web(local: SourceSpec) -> Iterator[WebServer]:
    with a_web_server({shard.name: Path(shard.path).read_bytes() for shard in local.shards}, token=TOKEN) as server:
        yield server


def moved(source: SourceSpec, place: Place) -> SourceSpec:
    """The same source with its files in a place."""
    with OpenPlaces(Places({place.name: place})) as places:
        stats = [places.stat(place.name, shard.name) for shard in source.shards]
    return replace(source, shards=tuple(
        replace(shard, place=place.name, path=shard.name, bytes=stat.size, tag=stat.tag)
        for shard, stat in zip(source.shards, stats, strict=True)))


def read(spec: StreamSpec, places: Places | None = None) -> list:
    with open_stream(spec, places) as stream:
        return [told(batch) for batch in stream.batches()]


def test_rows_from_the_web_are_those_of_the_local_files(local: SourceSpec, web: WebServer, tmp_path: Path) -> None:
    place = web.place()
    here, there = (stream_spec(tmp_path, source, epochs=2) for source in (local, moved(local, place)))
    assert there.fingerprint() == here.fingerprint()
    assert there.place_names == {"web"}
    web.fail("drop", "500")
    assert read(there, Places({"web": place})) == read(here)


def test_the_read_ahead_process_is_told_its_places_on_standard_input_alone(local: SourceSpec, web: WebServer, tmp_path: Path
                                                                           ) -> None:
    place = web.place()
    spec = stream_spec(tmp_path, moved(local, place), epochs=20, batch_size=1)
    with read_ahead(spec, None, byte_budget=1, places=Places({"web": place})) as ahead:
        assert next(ahead).step == 1
        process = Path(f"/proc/{ahead.pid}")
        assert TOKEN.encode() not in (process / "environ").read_bytes() + (process / "cmdline").read_bytes()


def test_rows_from_a_bucket_are_those_of_the_local_files(local: SourceSpec, tmp_path: Path) -> None:
    with a_bucket() as bucket:
        for shard in local.shards:
            bucket.put(shard.name, Path(shard.path).read_bytes())
        place = bucket.place()
        spec = stream_spec(tmp_path, moved(local, place), epochs=2)
        places = Places({"lake": place}, str(tmp_path / "cache"), 1 << 28)
        with read_ahead(spec, None, places=places) as ahead:
            found = [told(batch) for batch in ahead]
    assert found == read(stream_spec(tmp_path, local, epochs=2))
    assert SECRET not in str(spec.to_json())


def test_rows_of_a_folder_that_is_a_place_are_read_where_they_lie(local: SourceSpec, tmp_path: Path) -> None:
    place = Place("shared", f"file://{tmp_path}")
    spec = stream_spec(tmp_path, moved(local, place))
    assert read(spec, Places({"shared": place})) == read(stream_spec(tmp_path, local))


def test_a_stream_without_its_places_says_which_it_misses(local: SourceSpec, web: WebServer, tmp_path: Path) -> None:
    spec = stream_spec(tmp_path, moved(local, web.place()))
    with pytest.raises(DataError, match="place 'web' is not one that the operator names now"):
        read(spec)


def test_files_in_places_are_read_in_blocks_and_local_lines_are_not(local: SourceSpec, web: WebServer) -> None:
    assert layout_for(local.shards) == "rows"
    assert layout_for(moved(local, web.place()).shards) == "blocks"
    assert layout_for([replace(local.shards[0], kind="parquet")]) == "blocks"


def test_local_rows_bring_no_library_for_places_along() -> None:
    names = ("s3fs", "fsspec", "aiobotocore", "aiohttp", "httpx", "huggingface_hub", "asyncio", "core.data.shards")
    program = f"import sys, core.data.ahead.__main__; print([name for name in {names} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip() == "[]"
