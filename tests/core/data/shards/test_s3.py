"""Files on a real S3 server: moto's, as a process on loopback."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

import pytest

from core.data.shards import OpenPlaces
from core.data.shards.cache import BLOCK_BYTES
from core.data.shards.patience import Patience
from core.data.spec import Place, Places, ShardSpec
from core.errors import DataError, RunInterrupted
from tests.remote import Bucket, a_bucket

ROWS = os.urandom(BLOCK_BYTES + 4321)


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    with a_bucket() as found:
        found.put("rows.jsonl", ROWS)
        for path in ("many/part-2.jsonl", "many/part-1.jsonl", "many/deep/part-3.jsonl", "many/.hidden.jsonl", "many/x.txt"):
            found.put(path, path.encode())
        found.put("secret.jsonl", b"of another team", prefix="other")
        yield found


def opened(place: Place, tries: int = 2) -> OpenPlaces:
    return OpenPlaces(Places({"lake": place}), patience=Patience(tries=tries), sleep=lambda seconds: None)


def registered(places: OpenPlaces, path: str = "rows.jsonl") -> ShardSpec:
    stat = places.stat("lake", path)
    return ShardSpec(path, "", "", place="lake", bytes=stat.size, tag=stat.tag)


def test_any_range_is_read_as_it_stands(bucket: Bucket) -> None:
    with opened(bucket.place()) as places:
        spec = registered(places)
        assert (spec.bytes, bool(spec.tag)) == (len(ROWS), True)
        shard = places.open_shard(spec)
        for start, end in [(0, 5), (BLOCK_BYTES - 3, BLOCK_BYTES + 3), (0, len(ROWS))]:
            assert shard.read(start, end) == ROWS[start:end]


def test_a_file_is_read_from_front_to_back(bucket: Bucket) -> None:
    with opened(bucket.place()) as places, places.open_for_reading("lake", "rows.jsonl") as file:
        assert file.read() == ROWS


@pytest.mark.parametrize(("pattern", "paths"), [
    ("many/*.jsonl", ["many/part-1.jsonl", "many/part-2.jsonl"]),
    ("many/**/*.jsonl", ["many/deep/part-3.jsonl", "many/part-1.jsonl", "many/part-2.jsonl"]),
    ("many/deep/", ["many/deep/part-3.jsonl"]),
    ("many/part-[2-9].jsonl", ["many/part-2.jsonl"]),
    ("*.jsonl", ["rows.jsonl"]),
])
def test_a_pattern_lists_its_files_in_order_and_none_of_other_prefixes(bucket: Bucket, pattern: str, paths: list[str]) -> None:
    with opened(bucket.place()) as places:
        assert places.list_paths("lake", pattern) == paths


def test_a_pattern_that_means_nothing_is_told(bucket: Bucket) -> None:
    with opened(bucket.place()) as places, pytest.raises(DataError, match=r"nothing in place 'lake' is named 'none/\*'"):
        places.list_paths("lake", "none/*")


def test_changed_content_is_noticed_by_its_etag(bucket: Bucket) -> None:
    bucket.put("changing.jsonl", b"one row\n" * 10)
    with opened(bucket.place()) as places:
        shard = places.open_shard(registered(places, "changing.jsonl"))
        bucket.put("changing.jsonl", b"two row\n" * 10)
        with pytest.raises(DataError, match=r"'changing.jsonl' in place 'lake' .* changed .*; register it again"):
            shard.read(0, 5)
        bucket.put("changing.jsonl", b"")
        with pytest.raises(DataError, match="changed"):
            shard.read(0, 5)
        bucket.delete("changing.jsonl")
        with pytest.raises(DataError, match="is not there"):
            shard.read(0, 5)


def test_a_bucket_or_a_file_that_is_not_there_is_told(bucket: Bucket) -> None:
    with opened(bucket.place()) as places, pytest.raises(DataError, match=r"'gone' in place 'lake' is not there"):
        places.stat("lake", "gone")
    with opened(replace(bucket.place(), url="s3://nowhere")) as places, pytest.raises(DataError, match="is not there"):
        places.list_paths("lake", "*")


def test_a_server_that_does_not_answer_interrupts_the_run(bucket: Bucket) -> None:
    with opened(bucket.place()) as places:
        spec = registered(places)
    options = {**bucket.place().options, "endpoint_url": "http://127.0.0.1:9"}
    with opened(replace(bucket.place(), options=options)) as places:
        with pytest.raises(RunInterrupted, match=r"rows.jsonl' in place 'lake' .* could not be read in 2 tries") as raised:
            places.open_shard(spec).read(0, 5)
        assert options["secret"] not in raised.value.message


def test_no_key_of_the_environment_is_used(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """A place without a key is read unsigned, and this bucket takes any key, but not none."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "y")
    unsigned = replace(bucket.place(), options={"endpoint_url": bucket.endpoint})
    with opened(unsigned) as places, pytest.raises(DataError, match="may not be read"):
        places.stat("lake", "rows.jsonl")
