"""One remote file as bytes: any range comes out of blocks, which are fetched once and kept.

    read      the open blocks, else the cache on disk, else the place; several missing blocks at once
    expect    what will be read soon is fetched meanwhile

Every answer of the place is compared with the size and the tag that were registered, so no row of a changed file is given out.
"""

from __future__ import annotations

import io
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, Self

from core.data.shards.cache import BLOCK_BYTES, BlockCache, key_of
from core.data.shards.patience import Patience, insist
from core.data.shards.store import Stat, Store
from core.errors import DataError

FETCHED_AT_ONCE = 4
OPEN_BLOCKS = 192
"""Two windows of the block order and what lies at their seams; each holds a descriptor."""
MEMORY_BLOCKS = 32
"""Of those at most, where there is no cache on disk to hold them."""
READ_ON_BLOCKS = 4
"""Blocks fetched ahead of one who reads from front to back."""


class Block(Protocol):
    def read(self, start: int, end: int) -> bytes: ...

    def close(self) -> None: ...


class MemoryBlock:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, start: int, end: int) -> bytes:
        return self._data[start:end]

    def close(self) -> None:
        pass


@dataclass
class Figures:
    """What reading from places has cost so far."""

    fetched_blocks: int = 0
    fetched_bytes: int = 0
    cached_blocks: int = 0
    """Opened from the disk instead of fetched."""
    wait_seconds: float = 0.0
    """How long readers stood still for it."""


class Blocks:
    """The blocks that this process holds open, over all files. Safe to use from several threads."""

    def __init__(self, cache: BlockCache | None, *, patience: Patience, sleep: Callable[[float], object]) -> None:
        self.figures = Figures()
        self.patience, self.sleep = patience, sleep
        self._cache = cache
        self._open: OrderedDict[tuple[str, int], Block] = OrderedDict()
        self._coming: dict[tuple[str, int], Future[Block]] = {}
        self._lock = threading.Lock()
        self._fetchers = ThreadPoolExecutor(FETCHED_AT_ONCE, thread_name_prefix="fetch")

    def get(self, key: str, number: int, fetch: Callable[[], bytes]) -> Block:
        started = time.perf_counter()
        found = self._take(key, number, fetch)
        if not isinstance(found, Future):
            return found
        try:
            return found.result()
        finally:
            self.figures.wait_seconds += time.perf_counter() - started

    def expect(self, key: str, number: int, fetch: Callable[[], bytes]) -> None:
        self._take(key, number, fetch)

    def close(self) -> None:
        self._fetchers.shutdown(wait=True, cancel_futures=True)
        for block in self._open.values():
            block.close()
        self._open.clear()

    def _take(self, key: str, number: int, fetch: Callable[[], bytes]) -> Block | Future[Block]:
        """The block if it is open, else what becomes it; nothing is fetched twice at a time."""
        at = key, number
        with self._lock:
            if at in self._open:
                self._open.move_to_end(at)
                return self._open[at]
            if at not in self._coming:
                self._coming[at] = self._fetchers.submit(self._bring, at, fetch)
            return self._coming[at]

    def _bring(self, at: tuple[str, int], fetch: Callable[[], bytes]) -> Block:
        try:
            block = self._found(at) or self._fetched(at, fetch)
            with self._lock:
                self._open[at] = block
                self._let_go()
            return block
        finally:
            with self._lock:
                del self._coming[at]

    def _found(self, at: tuple[str, int]) -> Block | None:
        block = self._cache.get(*at) if self._cache else None
        self.figures.cached_blocks += block is not None
        return block

    def _fetched(self, at: tuple[str, int], fetch: Callable[[], bytes]) -> Block:
        data = fetch()
        self.figures.fetched_blocks += 1
        self.figures.fetched_bytes += len(data)
        return (self._cache.put(*at, data) if self._cache else None) or MemoryBlock(data)

    def _let_go(self) -> None:
        """Drop those unused for longest; one that is being read lives until then."""
        in_memory = [at for at, block in self._open.items() if isinstance(block, MemoryBlock)]
        for at in in_memory[:-MEMORY_BLOCKS]:
            del self._open[at]
        while len(self._open) > OPEN_BLOCKS:
            self._open.popitem(last=False)


class RemoteShard:
    """A registered file in a place; opening it asks the place nothing."""

    def __init__(self, store: Store, path: str, stat: Stat, blocks: Blocks, *, place: str, address: str, digest: str = "",
                 name: str = "") -> None:
        self.name = name or path
        self.stat = stat
        self._store, self._path, self._blocks, self._place = store, path, blocks, place
        self._key = key_of(address, path, stat.size, stat.tag or digest)

    def read(self, start: int, end: int) -> bytes:
        """Give the bytes from `start` up to `end`; raise DataError for a file that is shorter, changed or gone, RunInterrupted
        for a place that stays out of reach."""
        if end > self.stat.size:
            raise DataError(f"shard {self.name!r} has {self.stat.size:,} bytes, and bytes {start:,} to {end:,} were asked for; "
                            "register it again", code="shard_changed")
        if start >= end:
            return b""
        first, last = start // BLOCK_BYTES, (end - 1) // BLOCK_BYTES
        if first != last:
            self.expect([(start, end)])
        parts = [self._part(number, start, end) for number in range(first, last + 1)]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def expect(self, spans: Iterable[tuple[int, int]]) -> None:
        """Begin to fetch the blocks of ranges that will be read soon; faults are told when they are."""
        for start, end in spans:
            for number in range(start // BLOCK_BYTES, -(-min(end, self.stat.size) // BLOCK_BYTES)):
                self._blocks.expect(self._key, number, lambda number=number: self._fetch(number))

    def close(self) -> None:
        """Its blocks stay with the process, its place is closed by whoever opened it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    def _part(self, number: int, start: int, end: int) -> bytes:
        block = self._blocks.get(self._key, number, lambda: self._fetch(number))
        before = number * BLOCK_BYTES
        return block.read(max(start - before, 0), min(end - before, BLOCK_BYTES))

    def _fetch(self, number: int) -> bytes:
        start, end = number * BLOCK_BYTES, min((number + 1) * BLOCK_BYTES, self.stat.size)
        what = f"{self._path!r} in place {self._place!r} (bytes {start:,} to {end:,})"
        return insist(lambda: self._store.read(self._path, start, end, self.stat), what=what, place=self._place,
                      patience=self._blocks.patience, sleep=self._blocks.sleep, is_known_to_open=True)


class RemoteFile(io.RawIOBase):
    """A remote file read from front to back, the next blocks fetched meanwhile."""

    def __init__(self, shard: RemoteShard) -> None:
        self.name = shard.name
        self._shard = shard
        self._at = 0

    @property
    def stat(self) -> Stat:
        return self._shard.stat

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.stat.size}[whence]
        return self._at

    def readinto(self, buffer: memoryview | bytearray) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Fill the buffer up to the end of its block, so that no read waits for more than one."""
        end = min(self._at + len(buffer), (self._at // BLOCK_BYTES + 1) * BLOCK_BYTES, self.stat.size)
        if end <= self._at:
            return 0
        self._shard.expect([(self._at, end + READ_ON_BLOCKS * BLOCK_BYTES)])
        data = self._shard.read(self._at, end)
        buffer[:len(data)] = data
        self._at = end
        return len(data)
