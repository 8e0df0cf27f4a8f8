"""Blocks of remote files on the local disk, within a budget of bytes, shared by all processes of a host.

    FOLDER/ab/KEY-NUMBER        the block's bytes, then 8 bytes of xxh3 over them

A key stands for one content of one file (see `key_of`), so a block is never wrong, only absent. It is written aside and
renamed; one that a power cut tore is noticed by its digest and fetched again. A block's time of change says when it was last
opened: when a process has written a sixty-fourth of the budget it looks at all of them and, beyond seven eighths of the budget,
removes those unused for longest; whoever still reads one keeps it by its descriptor. A full disk costs speed, no run.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import xxhash

BLOCK_BYTES = 1 << 20
MIN_FREE_BYTES = 512 << 20
"""Left on the disk for everybody else, whatever the budget says."""
_ASIDE_SECONDS = 600.0
"""A block that has been written for so long has lost its writer."""
_DIGEST_BYTES = 8


class CachedBlock:
    """One block, open: readable as long as it is held, also after it was removed."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def read(self, start: int, end: int) -> bytes:
        return os.pread(self._descriptor, end - start, start)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __del__(self) -> None:
        self.close()


class BlockCache:
    """Safe to use from several threads and processes. `get` and `put` never raise for what the disk does."""

    def __init__(self, folder: Path, budget_bytes: int, *, min_free_bytes: int = MIN_FREE_BYTES) -> None:
        self._folder, self._budget, self._min_free = folder, budget_bytes, min_free_bytes
        self._lock = threading.Lock()
        self._written = budget_bytes  # the first block that is put has the folder looked through

    def get(self, key: str, number: int) -> CachedBlock | None:
        """Open a block that is there and whole."""
        path = self._path(key, number)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        if _is_whole(descriptor):
            with suppress(OSError):
                os.utime(path)
            return CachedBlock(descriptor)
        os.close(descriptor)
        path.unlink(missing_ok=True)
        return None

    def put(self, key: str, number: int, data: bytes) -> CachedBlock | None:
        """Keep a block and open it; None where the disk has no room for it."""
        path = self._path(key, number)
        aside = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
        try:
            if not self._has_room(len(data) + _DIGEST_BYTES):
                return None
            path.parent.mkdir(exist_ok=True)
            aside.write_bytes(data + _digest(data))
            descriptor = os.open(aside, os.O_RDONLY | os.O_CLOEXEC)
            os.replace(aside, path)
        except OSError:
            with suppress(OSError):
                aside.unlink(missing_ok=True)
            return None
        return CachedBlock(descriptor)

    def _path(self, key: str, number: int) -> Path:
        return self._folder / key[:2] / f"{key}-{number}"

    def _has_room(self, size: int) -> bool:
        """Count what is about to be written, and remove old blocks when it is time to look."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._lock:
            self._written += size
            is_time = self._written >= self._budget // 64 or self._free_bytes() < self._min_free + size
        if is_time and not self._sweep(size):
            return False
        return size <= self._budget * 7 // 8 and self._free_bytes() >= self._min_free + size

    def _free_bytes(self) -> int:
        told = os.statvfs(self._folder)
        return told.f_bavail * told.f_frsize

    def _sweep(self, coming: int) -> bool:
        """Keep within seven eighths, so that what others write before they look in turn is within the budget too.

        False while another one does: until it is done nobody knows how much there is."""
        with _sweeping(self._folder) as is_ours:
            if not is_ours:
                return False
            with self._lock:
                self._written = 0
            blocks = sorted(self._blocks())
            held = sum(size for _, size, _ in blocks)
            budget = min(self._budget, max(held + self._free_bytes() - self._min_free, 0))
            limit = budget * 7 // 8 - coming
            goal = held if held <= limit else min(limit, budget * 3 // 4)
            for _, size, path in blocks:
                if held <= goal:
                    break
                path.unlink(missing_ok=True)
                held -= size
            return True

    def _blocks(self) -> Iterator[tuple[float, int, Path]]:
        """When each was last used, its bytes and its path; what was left half written is removed."""
        for folder in filter(os.DirEntry.is_dir, os.scandir(self._folder)):
            for entry in os.scandir(folder.path):
                with suppress(OSError):
                    told = entry.stat(follow_symlinks=False)
                    if entry.name.startswith(".") and time.time() - told.st_mtime > _ASIDE_SECONDS:
                        os.unlink(entry.path)
                    else:
                        yield told.st_mtime, told.st_size, Path(entry.path)


def key_of(*parts: object) -> str:
    """Name one content of one file: its address, size and tag."""
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:32]


def _digest(data: bytes | memoryview) -> bytes:
    return xxhash.xxh3_64_digest(data)


def _is_whole(descriptor: int) -> bool:
    content = os.pread(descriptor, BLOCK_BYTES + _DIGEST_BYTES + 1, 0)
    return len(content) >= _DIGEST_BYTES and _digest(memoryview(content)[:-_DIGEST_BYTES]) == content[-_DIGEST_BYTES:]


@contextmanager
def _sweeping(folder: Path) -> Iterator[bool]:
    """Let one at a time remove blocks; the others need not wait for it."""
    lock = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(lock)
