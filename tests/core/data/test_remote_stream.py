"""A stream whose rows lie in places: the same rows as from a local file, with the same order at every resume."""

from __future__ import annotations

import gzip
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import orjson
import pyarrow
import pyarrow.parquet
import pytest

from core.data.ahead import read_ahead
from core.data.index import build_index
from core.data.pipeline import open_stream
from core.data.register import REFUSED
from core.data.shards import OpenPlaces
from core.data.spec import Place, Places, ShardSpec, SourceSpec, StreamSpec, layout_for
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


def test_a_file_in_a_place_is_registered_where_it_lies(local: SourceSpec, web: WebServer, tmp_path: Path) -> None:
    place = web.place()
    web.fail("drop", "503")
    told = register("rows-0.jsonl", place, tmp_path / "remote.index")
    assert told["report"]["sha256"] == local.shards[0].digest
    with OpenPlaces(Places({"web": place})) as places:
        stat = places.stat("web", "rows-0.jsonl")
    assert (told["bytes"], told["tag"]) == (stat.size, stat.tag)


@pytest.mark.parametrize("name", ["rows.parquet", "rows.jsonl.gz", "rows.csv"])
def test_each_kind_of_file_streams_from_a_place_as_from_a_disk(name: str, web: WebServer, tmp_path: Path) -> None:
    path = write_kind(tmp_path / name)
    web.files[name] = path.read_bytes()
    here = indexed(tmp_path, name, ShardSpec(str(path), "", "", name=name), register_locally(path, tmp_path / "here"), "here")
    report = register(name, web.place(), tmp_path / "there", "--frames", str(tmp_path / "there.zst"))
    remote = ShardSpec(name, "", "", place="web", name=name, bytes=report["bytes"], tag=report["tag"])
    there = indexed(tmp_path, name, remote, report, "there")
    assert read(stream_spec(tmp_path, there), Places({"web": web.place()})) == read(stream_spec(tmp_path, here))


def test_a_bucket_is_registered_within_the_limit_on_memory(tmp_path: Path) -> None:
    with a_bucket() as bucket:
        bucket.put("big.jsonl", b"".join(orjson.dumps(row) + b"\n" for row in chat_rows(200)) * 500)
        told = register("big.jsonl", bucket.place(), tmp_path / "index")
    assert told["report"]["rows"] == 100_000


def test_a_place_that_does_not_answer_is_no_fault_of_the_file(tmp_path: Path) -> None:
    told = register("gone.jsonl", Place("shared", f"file://{tmp_path}"), tmp_path / "index", status=REFUSED)
    assert told["error"]["code"] == "shard_missing"
    assert "'gone.jsonl' in place 'shared' is not there" in told["error"]["message"]


def register(path: str, place: Place, index_path: Path, *more: str, status: int = 0) -> dict:
    """Register in a process of its own, as an upkeep worker does, and give the last line."""
    command = [sys.executable, "-m", "core.data.register", path, str(index_path), "--place", place.name, *more]
    done = subprocess.run(command, input=orjson.dumps(Places({place.name: place}).to_json()) + b"\n", capture_output=True,
                          timeout=120)
    assert done.returncode == status, done.stderr.decode()
    return orjson.loads(done.stdout.splitlines()[-1])


def register_locally(path: Path, index_path: Path) -> dict:
    return {"report": build_index(path, index_path, frames_path=index_path.with_suffix(".zst")).to_json()}


def indexed(folder: Path, name: str, shard: ShardSpec, told: dict, index: str) -> SourceSpec:
    """A source of one shard, as its report tells it."""
    report = told["report"]
    kind = report["kind"]
    shard = replace(shard, kind=kind, digest=report["sha256"], index_path=str(folder / index))
    if kind == "frames":
        shard = replace(shard, path=str(folder / f"{index}.zst"), place=None)
    return SourceSpec(name, (shard,), report["format"], report["sha256"], layout="blocks", block_rows=4)


def write_kind(path: Path) -> Path:
    """Prompts and completions in the kind of file that the name says."""
    rows = [{"prompt": f"question {n}", "completion": f"answer {n}"} for n in range(40)]
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=10)
    elif path.suffix == ".gz":
        path.write_bytes(gzip.compress(b"".join(orjson.dumps(row) + b"\n" for row in rows)))
    else:
        path.write_text("prompt,completion\n" + "".join(f"{row['prompt']},{row['completion']}\n" for row in rows))
    return path
