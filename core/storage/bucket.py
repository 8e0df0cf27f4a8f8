"""A bucket as a store of objects: written whole, read whole or by ranges, listed and removed.

What it can read and list it has from the places' own reader of buckets (`core/data/shards/s3.py`); here is what writes. Every
body goes with its MD5, so a store that got other bytes refuses them. A call that breaks is tried again with growing waits; a
store that stays away raises StorageAway, which says nothing of what it holds.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from core.data.shards.faults import Broken, Changed, Missing, Refused, StoreFault
from core.data.shards.patience import Patience
from core.data.shards.s3 import At, S3Store
from core.data.shards.store import Stat
from core.data.spec import Place
from core.errors import StorageAway

T = TypeVar("T")

PART_BYTES = 16 << 20
"""Larger files go up in parts of this size, or of a larger one where more than MOST_PARTS would come of it; memory holds one of
them."""
MOST_PARTS = 10_000
"""Of one upload, by the protocol."""
READ_BYTES = 4 << 20
PATIENCE = Patience(tries=4, first_wait_seconds=0.4, most_wait_seconds=3.0)
"""A few seconds: whoever can wait longer asks again."""


class NoSuchObject(Exception):
    """The store answers, and has nothing of this name."""


class Bucket:
    """Safe to use from several threads."""

    def __init__(self, place: Place, *, patience: Patience = PATIENCE, sleep: Callable[[float], object] = time.sleep) -> None:
        self._store, self._url = S3Store(place), place.url
        self._patience, self._sleep = patience, sleep

    def stat(self, path: str) -> Stat:
        return self._insist(lambda: self._store.stat(path))

    def read(self, path: str) -> bytes:
        return b"".join(self.iter_bytes(path, self.stat(path)))

    def read_end(self, path: str, most_bytes: int) -> bytes:
        """The last bytes of an object, which may be written anew meanwhile; nothing where there is none."""
        while True:
            try:
                stat = self.stat(path)
                return b"".join(self.iter_bytes(path, stat, start=max(0, stat.size - most_bytes)))
            except NoSuchObject:
                return b""
            except StorageAway as away:
                if not isinstance(away.__cause__, Changed):
                    raise

    def iter_bytes(self, path: str, stat: Stat, *, start: int = 0) -> Iterator[bytes]:
        """The object as it was when `stat` was taken, piece by piece."""
        for at in range(start, stat.size, READ_BYTES):
            end = min(at + READ_BYTES, stat.size)
            yield self._insist(lambda at=at, end=end: self._store.read(path, at, end, stat))

    def put(self, path: str, data: bytes) -> None:
        """Write an object, whole or not at all."""
        self._change(lambda s3, at: s3.put_object(**at(path), Body=data, ContentMD5=_md5(data)))

    def put_file(self, path: str, file: Path, *, must_stop: Callable[[], bool] = lambda: False) -> str:
        """Write a file as an object and give the SHA-256 of what was sent; raise InterruptedError when it must stop."""
        digest = hashlib.sha256()
        with file.open("rb") as opened:
            part_bytes = part_bytes_of(os.fstat(opened.fileno()).st_size)
            data = opened.read(part_bytes)
            if len(data) < part_bytes:
                digest.update(data)
                self.put(path, data)
                return digest.hexdigest()
            upload = self._begin(path)
            try:
                parts: list[dict[str, Any]] = []
                while data:
                    if must_stop():
                        raise InterruptedError(f"the upload of {path} was stopped")
                    digest.update(data)
                    parts.append(self._put_part(path, upload, len(parts) + 1, data))
                    data = opened.read(part_bytes)
                self._end(path, upload, parts)
            except BaseException:
                self._give_up(path, upload)
                raise
        return digest.hexdigest()

    def iter_paths(self, folder: str) -> Iterator[str]:
        """All objects below a folder in the order of their names, however many: a page is asked for when it is needed."""
        return (path for path, _ in self.iter_written(folder))

    def iter_written(self, folder: str) -> Iterator[tuple[str, datetime]]:
        """The same, with the time at which each was written, by the store's clock."""
        token = None
        while True:
            try:
                listed, token = self._insist(lambda token=token: self._store.list_page(folder, token))
            except NoSuchObject as error:
                raise self._no_bucket(error) from error
            yield from listed
            if token is None:
                return

    def delete(self, path: str) -> None:
        """Remove an object; one that is not there is no fault."""
        self._change(lambda s3, at: s3.delete_object(**at(path)))

    def close(self) -> None:
        self._store.close()

    def _begin(self, path: str) -> str:
        return self._change(lambda s3, at: s3.create_multipart_upload(**at(path)))["UploadId"]

    def _put_part(self, path: str, upload: str, number: int, data: bytes) -> dict[str, Any]:
        told = self._change(lambda s3, at: s3.upload_part(
            **at(path), UploadId=upload, PartNumber=number, Body=data, ContentMD5=_md5(data)))
        return {"PartNumber": number, "ETag": told["ETag"]}

    def _end(self, path: str, upload: str, parts: list[dict[str, Any]]) -> None:
        try:
            self._insist(lambda: self._store.call(lambda s3, at: s3.complete_multipart_upload(
                **at(path), UploadId=upload, MultipartUpload={"Parts": parts})))
        except NoSuchObject as error:
            self._see_ended(path, error)

    def _see_ended(self, path: str, error: NoSuchObject) -> None:
        """Look whether an upload that the store does not know was ended already, and the answer was lost."""
        try:
            self.stat(path)
        except NoSuchObject:
            raise StorageAway(f"the storage {self._url} has lost the parts of {path} ({error}); they are sent again; see that "
                              "no rule of the bucket ends uploads within a day", retry_after_seconds=10) from error

    def _give_up(self, path: str, upload: str) -> None:
        with contextlib.suppress(StoreFault):  # the bucket's own rule for unfinished uploads clears it away
            self._store.call(lambda s3, at: s3.abort_multipart_upload(**at(path), UploadId=upload))

    def _change(self, call: Callable[[Any, At], Awaitable[Any]]) -> Any:
        """Make a call that changes something: only a bucket can be missing for it."""
        try:
            return self._insist(lambda: self._store.call(call))
        except NoSuchObject as error:
            raise self._no_bucket(error) from error

    def _no_bucket(self, error: NoSuchObject) -> StorageAway:
        return StorageAway(f"the storage answers that there is no bucket for {self._url} ({error}); make it, or correct "
                           "HEADRACE_STORAGE_URL", retry_after_seconds=30)

    def _insist(self, call: Callable[[], T]) -> T:
        for tried in range(1, self._patience.tries + 1):
            try:
                return call()
            except Missing as fault:
                raise NoSuchObject(str(fault)) from fault
            except Broken as fault:
                if tried == self._patience.tries:
                    raise StorageAway(f"the storage {self._url} does not answer ({fault}); it is tried again; see that it runs "
                                      "and that this host reaches it", retry_after_seconds=10) from fault
                self._sleep(self._patience.wait_seconds(tried))
            except Refused as fault:
                raise StorageAway(f"the storage {self._url} does not let us in ({fault}); see that HEADRACE_STORAGE_KEY and "
                                  "its secret hold and may read, write, list and delete", retry_after_seconds=30) from fault
            except StoreFault as fault:
                raise StorageAway(f"the storage {self._url} cannot be used as it is: {fault}; see what stands there",
                                  retry_after_seconds=30) from fault
        raise AssertionError("a patience has at least one try")


def part_bytes_of(size: int) -> int:
    """The size of the parts that a file goes up in."""
    return max(PART_BYTES, -(-size // MOST_PARTS))


def _md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
