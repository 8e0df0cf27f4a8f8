from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.data.shards.faults import Missing
from core.data.shards.patience import Patience
from core.data.spec import Place
from core.errors import StorageAway, Unavailable
from core.storage import bucket as buckets
from core.storage import manifest
from core.storage.artifacts import Artifacts
from core.storage.bucket import Bucket
from core.storage.manifest import FolderDamaged
from core.storage.shared import IDLE_SECONDS, SharedArtifacts
from tests import remote
from tests.servers import free_port
from tests.waiting import wait_for

KEY = "jobs/j/runs/000001-r/checkpoints/step-1"


@pytest.fixture(scope="module")
def store() -> Iterator[remote.Bucket]:
    with remote.a_bucket() as store:
        yield store


def a_host(store: remote.Bucket, folder: Path, prefix: str, **told: Any) -> SharedArtifacts:
    return SharedArtifacts(folder, Bucket(store.place(prefix=prefix)), **{"copies_bytes": 1 << 20, **told})


def a_checkpoint(host: Artifacts, key: str = KEY, content: bytes = b"weights") -> str:
    folder = host.path(key)
    folder.mkdir(parents=True)
    (folder / "adapter").write_bytes(content)
    (folder / "state").write_bytes(b"{}")
    return manifest.seal(folder).digest


def test_a_large_file_goes_up_in_parts_and_comes_down_the_same(store: remote.Bucket, tmp_path: Path) -> None:
    host, content = a_host(store, tmp_path, "parts"), os.urandom(buckets.PART_BYTES + 12345)
    aside = host.new_temporary()
    aside.write_bytes(content)
    host.publish(aside, "files/large")
    size, parts = host.stream("files/large") or (0, iter(()))
    assert (size, b"".join(parts)) == (len(content), content)


class Forgetful(Bucket):
    """A bucket of a store that takes the parts of an upload, and then knows nothing of it."""

    class Store:
        def call(self, call: Callable[[Any, Any], Any]) -> Any:
            return call(self, lambda path: {})

        def create_multipart_upload(self, **_: Any) -> dict[str, str]:
            return {"UploadId": "u"}

        def upload_part(self, **_: Any) -> dict[str, str]:
            return {"ETag": "e"}

        def complete_multipart_upload(self, **_: Any) -> None:
            raise Missing("HTTP 404 NoSuchUpload")

        def abort_multipart_upload(self, **_: Any) -> None: ...

        def stat(self, path: str) -> None:
            raise Missing("HTTP 404")

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._store = self.Store()  # pyright: ignore[reportAttributeAccessIssue]


def test_an_upload_that_the_store_forgot_is_told_as_one_to_be_made_again(tmp_path: Path) -> None:
    file = tmp_path / "large"
    file.write_bytes(bytes(buckets.PART_BYTES))
    with pytest.raises(StorageAway, match="has lost the parts of files/large"):
        Forgetful(Place("p", "s3://bucket")).put_file("files/large", file)


@pytest.mark.parametrize("size", [0, 1, buckets.PART_BYTES * buckets.MOST_PARTS, 200 << 30, 5 << 40])
def test_no_file_goes_up_in_more_parts_than_a_store_takes(size: int) -> None:
    part_bytes = buckets.part_bytes_of(size)
    assert part_bytes >= buckets.PART_BYTES
    assert -(-size // part_bytes) <= buckets.MOST_PARTS


def test_a_folder_whose_manifest_is_not_up_is_not_there(store: remote.Bucket, tmp_path: Path) -> None:
    here, there = (a_host(store, tmp_path / name, "torn") for name in "ab")
    digest = a_checkpoint(here)
    stop = threading.Event()

    def after_one() -> bool:
        was, _ = stop.is_set(), stop.set()
        return was

    with pytest.raises(InterruptedError):
        here.upload(here.path(KEY), KEY, must_stop=after_one)
    with pytest.raises(FolderDamaged, match="no manifest"):
        there.whole(KEY, digest)
    here.upload(here.path(KEY), KEY)
    assert (there.whole(KEY, digest) / "adapter").read_bytes() == b"weights"


def test_a_fetch_that_is_left_between_two_pieces_leaves_nothing_behind(store: remote.Bucket, tmp_path: Path) -> None:
    here, there = (a_host(store, tmp_path / name, "left") for name in "ab")
    a_checkpoint(here)
    here.upload(here.path(KEY), KEY)
    pieces = iter([None])

    with pytest.raises(StopIteration):
        there.watched(lambda: next(pieces)).fetch(KEY)
    assert [path for path in there.root.rglob("*") if path.is_file()] == []
    assert (there.fetch(KEY) / "adapter").read_bytes() == b"weights"


def test_a_byte_that_changed_before_the_upload_is_noticed(store: remote.Bucket, tmp_path: Path) -> None:
    host = a_host(store, tmp_path, "changed")
    a_checkpoint(host)
    (host.path(KEY) / "adapter").write_bytes(b"weightz")
    with pytest.raises(FolderDamaged, match="changed after it was written"):
        host.upload(host.path(KEY), KEY)


def test_a_damaged_copy_is_fetched_again_and_a_damaged_original_is_told(store: remote.Bucket, tmp_path: Path) -> None:
    here, there = (a_host(store, tmp_path / name, "damage") for name in "ab")
    digest = a_checkpoint(here)
    here.upload(here.path(KEY), KEY)
    (there.whole(KEY, digest) / "adapter").write_bytes(b"w")
    assert (there.whole(KEY, digest) / "adapter").read_bytes() == b"weights"
    store.put(f"{KEY}/adapter", b"weighty", prefix="damage")
    there.drop_copy(KEY)
    with pytest.raises(FolderDamaged, match="its manifest says"):
        there.whole(KEY, digest)
    store.delete(f"{KEY}/adapter", prefix="damage")
    with pytest.raises(FolderDamaged, match="missing in the storage"):
        there.whole(KEY, digest)


def test_a_store_that_does_not_answer_is_away_and_says_nothing_of_what_it_holds(tmp_path: Path) -> None:
    waits: list[float] = []
    place = Place("p", "s3://bucket", {"endpoint_url": f"http://127.0.0.1:{free_port()}", "key": "k", "secret": "s"})
    patience = Patience(tries=3, first_wait_seconds=1.0, jitter=lambda: 0.0)
    host = SharedArtifacts(tmp_path, Bucket(place, patience=patience, sleep=waits.append), copies_bytes=0)
    for ask in (lambda: host.whole(KEY, "d"), lambda: host.stream("files/f"), lambda: host.delete("files/f")):
        with pytest.raises(StorageAway, match="does not answer"):
            ask()
    assert waits == [1.0, 2.0] * 3


def test_a_bucket_that_is_not_there_is_told_and_no_secret_is(store: remote.Bucket) -> None:
    place = Place("p", "s3://no-such-bucket", store.place().options)
    bucket = Bucket(place, sleep=lambda _: None)
    for ask in (lambda: bucket.put("a", b"1"), lambda: next(bucket.iter_paths("a")), lambda: bucket.delete("a")):
        with pytest.raises(StorageAway, match="there is no bucket") as caught:
            ask()
        assert remote.SECRET not in str(caught.value)


def test_copies_beyond_their_budget_go_but_for_those_used_lately_or_nowhere_else(store: remote.Bucket, tmp_path: Path) -> None:
    host = a_host(store, tmp_path, "tidy", copies_bytes=1000)
    weeks = 14 * 24 * 3600
    for name, is_up, idle in (("old", True, IDLE_SECONDS * 2), ("older", True, IDLE_SECONDS * 3), ("fresh", True, 0),
                              ("only", False, IDLE_SECONDS * 2), ("lost", False, weeks)):
        key = f"jobs/j/runs/000001-r/checkpoints/{name}"
        a_checkpoint(host, key, b"x" * 600)
        if is_up:
            host.upload(host.path(key), key)
        used_at = time.time() - idle
        os.utime(host.path(key), (used_at, used_at))
    host.tidy()
    assert sorted(path.name for path in host.path("jobs/j/runs/000001-r/checkpoints").iterdir()) == ["fresh", "only"]


def test_a_copy_that_is_used_outlives_the_budget_in_the_eyes_of_all_processes(store: remote.Bucket, tmp_path: Path) -> None:
    here, upkeep, run = (a_host(store, tmp_path / name, "used", copies_bytes=0, touch_seconds=0.01) for name in ("a", "b", "b"))
    a_checkpoint(here, "indexes/used")
    here.upload(here.path("indexes/used"), "indexes/used")
    long_ago = time.time() - IDLE_SECONDS * 2
    with run.using():
        copy = run.fetch("indexes/used")
        os.utime(copy, (long_ago, long_ago))
        wait_for(lambda: copy.stat().st_mtime > long_ago + 1)
        upkeep.tidy()
        assert copy.is_dir()
    os.utime(copy, (long_ago, long_ago))
    upkeep.tidy()
    assert not copy.exists()


def test_a_host_without_room_for_a_copy_says_so_before_it_fetches(store: remote.Bucket, tmp_path: Path) -> None:
    here, there = (a_host(store, tmp_path / name, "room", min_free_bytes=free) for name, free in (("a", 0), ("b", 1 << 60)))
    digest = a_checkpoint(here)
    here.upload(here.path(KEY), KEY)
    for ask in (lambda: there.fetch(KEY), lambda: there.whole(KEY, digest)):
        with pytest.raises(Unavailable) as caught:
            ask()
        assert caught.value.code == "insufficient_storage"
    assert not there.path(KEY).exists()


def test_a_host_that_cannot_keep_a_copy_calls_nothing_damaged(store: remote.Bucket, tmp_path: Path) -> None:
    here, there = (a_host(store, tmp_path / name, "in-the-way") for name in "ab")
    digest = a_checkpoint(here)
    here.upload(here.path(KEY), KEY)
    there.root.mkdir()
    (there.root / "jobs").write_bytes(b"in the way")
    for ask in (lambda: there.fetch(KEY), lambda: there.whole(KEY, digest)):
        with pytest.raises(Unavailable) as caught:
            ask()
        assert caught.value.code == "host_fault"


def test_whoever_fetches_keeps_the_copies_within_their_budget(store: remote.Bucket, tmp_path: Path) -> None:
    here, there = (a_host(store, tmp_path / name, "fetching", copies_bytes=500, tidy_seconds=0) for name in "ab")
    for name in ("first", "second"):
        a_checkpoint(here, f"indexes/{name}", b"x" * 600)
        here.upload(here.path(f"indexes/{name}"), f"indexes/{name}")
    long_ago = time.time() - IDLE_SECONDS * 2
    os.utime(there.fetch("indexes/first"), (long_ago, long_ago))
    there.fetch("indexes/second")
    assert [path.name for path in there.path("indexes").iterdir()] == ["second"]


def test_a_models_folder_is_shared_once_and_left_as_it_is(store: remote.Bucket, tmp_path: Path) -> None:
    here, there = (a_host(store, tmp_path / name, "models") for name in "ab")
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "config.json").write_bytes(b"{}")
    for _ in range(2):
        here.share(folder, "models/d1")
    assert [path.name for path in folder.iterdir()] == ["config.json"]
    assert (there.fetch("models/d1") / "config.json").read_bytes() == b"{}"
