"""How an index lies on disk, and how it is written so that a kill at any moment leaves the old one or the new one.

    INDEX_PATH/index.json          version, names and sizes of the arrays, the report
    INDEX_PATH/offsets-TAG.bin     uint64 a row: where it starts (low 48 bits), bytes from its end to the next row (high 16)
    INDEX_PATH/hashes-TAG.bin      uint16 a row: low bits of the xxh3 of its bytes
    INDEX_PATH/blanks-TAG.bin      uint16 a row: blank lines before it; empty when the file has none
    INDEX_PATH/gaps-TAG.bin        three int64 for each row whose gap or blank lines need more than 16 bits: row, gap, blanks
    INDEX_PATH/faulty-TAG.bin      int64 a faulty row, in order: its number
    INDEX_PATH/contents-TAG.bin    uint64: how many zero bits a hash must end in to be kept, then such hashes (few): by them
                                   duplicates are counted over several files

All little-endian: 10.5 bytes a row, 12.5 with blank lines. Each build writes arrays under a tag of its own and then replaces
`index.json`, which alone says which arrays count; the others are cleared away by the next build. Two builds of one index
exclude each other by a lock on the folder, which the kernel lets go with the process.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import orjson

from core.errors import Conflict

VERSION = 2
HEADER = "index.json"
OFFSET_BITS = 48
SATURATED = (1 << 16) - 1
"""A gap or a count of blank lines that stands in `gaps` because it needs more than 16 bits."""
KINDS = {"offsets": "<u8", "hashes": "<u2", "blanks": "<u2", "gaps": "<i8", "faulty": "<i8", "contents": "<u8"}
LEAST_CONTENTS, MOST_CONTENTS = 1 << 10, 1 << 16
"""Hashes kept in `contents`: at most one for 16 rows, between these."""


class IndexWriter:
    """Appends arrays to the files of a new index; `publish` makes them the index."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        tag = secrets.token_hex(8)
        self._names = {kind: f"{kind}-{tag}.bin" for kind in KINDS}
        self._files = {kind: (folder / name).open("wb") for kind, name in self._names.items()}

    def append(self, kind: str, values: np.ndarray | list[int]) -> None:
        self._files[kind].write(np.asarray(values).astype(KINDS[kind]).tobytes())

    def publish(self, told: dict[str, Any]) -> None:
        """Bring all to the disk, then replace the header."""
        arrays = {}
        for kind, file in self._files.items():
            arrays[kind] = {"name": self._names[kind], "bytes": file.tell()}
            _bring_to_disk(file)
        header = self._folder / f".{HEADER}-{secrets.token_hex(8)}"
        with header.open("wb") as file:
            file.write(orjson.dumps({"version": VERSION, "arrays": arrays, **told}))
            _bring_to_disk(file)
        header.replace(self._folder / HEADER)
        _sync_folder(self._folder)
        self._clear_away(set(self._names.values()) | {HEADER})

    def discard(self) -> None:
        """Remove what was appended, so that a build which failed leaves nothing on the disk."""
        for kind, file in self._files.items():
            with suppress(OSError):
                file.close()
            (self._folder / self._names[kind]).unlink(missing_ok=True)

    def _clear_away(self, kept: set[str]) -> None:
        for path in self._folder.iterdir():
            if path.name not in kept:
                path.unlink(missing_ok=True)


@contextmanager
def writing_index(folder: Path) -> Iterator[IndexWriter]:
    """Open a writer on an index folder, which is made when absent; raise Conflict while another process builds there."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _take(lock)
        writer = IndexWriter(folder)
        try:
            yield writer
        except BaseException:
            writer.discard()
            raise
    finally:
        os.close(lock)


def _take(lock: int) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Conflict("this index is being built by another process; wait until it is done") from None


def _bring_to_disk(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
    file.close()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
