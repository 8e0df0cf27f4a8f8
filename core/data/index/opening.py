"""From a file as it came to the text that its rows stand in, read once from its start."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from core.data.index.arrays import ArrayLines
from core.data.index.decoding import Layout
from core.data.index.detecting import HEAD_BYTES, Content, FileKind, detect_content, detect_packing
from core.data.index.unpacking import Unpacked
from core.data.sources.readable import Readable, fill
from core.data.spec import ShardKind
from core.errors import DataError, shown

MOST_TEXT_BYTES = 1 << 40
"""What a compressed file may be unpacked to, unless whoever asks says less."""
_LAYOUTS: dict[Content, Layout] = {
    "jsonl": "jsonl", "array": "jsonl", "parquet": "jsonl", "text": "lines", "csv": "csv", "tsv": "tsv"}
_UNITS = {"array": "element", "parquet": "row"}


class Opened:
    """A file's text, what is known of it, and the frames that it is written to where rows cannot be read from the file."""

    def __init__(self, file: Any, kind: FileKind, text: Readable, hashed: Hashed, *, stored_as: ShardKind,
                 frames_path: Path | None, sha256: str | None) -> None:
        self.file_kind = kind
        self.kind: ShardKind = stored_as
        self.layout: Layout = _LAYOUTS[kind.content]
        self.unit = _UNITS.get(kind.content, "line")
        """What people count rows by, to find one in the file."""
        self.text = text
        self.file_bytes = _size(file)
        self._hashed = hashed
        self._known = sha256
        self._frames = None
        self._frames_path = frames_path
        if frames_path is not None:
            from core.data.sources.frames import FrameWriter

            self._frames = FrameWriter(frames_path)

    @property
    def on_chunk(self) -> Callable[[memoryview], object] | None:
        return self._frames.write if self._frames else None

    @property
    def bytes_read(self) -> int:
        return min(self._hashed.bytes, self.file_bytes)

    @property
    def sha256(self) -> str:
        """Of the file as it is; reads what the pass has left unread."""
        return self._known or self._hashed.digest()

    def finish(self) -> int | None:
        """Bring the frames to the disk and give their bytes; None where rows are read from the file itself."""
        if self._frames is None:
            return None
        size, self._frames, self._frames_path = self._frames.finish(), None, None
        return size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of everything; frames that were not finished are removed."""
        if self._frames is not None:
            self._frames.close()
        if self._frames_path is not None:
            self._frames_path.unlink(missing_ok=True)


class Hashed:
    """Counts and hashes what is read; with a digest that is known, counts alone."""

    def __init__(self, file: Any, *, is_known: bool) -> None:
        self._file = file
        self._digest = None if is_known else hashlib.sha256()
        self.bytes = 0

    def readinto(self, buffer: memoryview, /) -> int:
        count = self._file.readinto(buffer) or 0
        self.bytes += count
        if self._digest is not None:
            self._digest.update(buffer[:count])
        return count

    def digest(self) -> str:
        rest = memoryview(bytearray(1 << 20))
        while self.readinto(rest):
            pass
        assert self._digest is not None
        return self._digest.hexdigest()


def open_text(file: Any, name: str, *, frames_path: Path, is_text_asked: bool, sha256: str | None,
              most_text_bytes: int) -> Opened:
    """Tell what a file is and open its text; raise DataError for what no rows can be read from."""
    head = _head(file)
    packing = detect_packing(head)
    if packing is not None:
        file.seek(0)
        head = _start(Unpacked(file, packing, most_bytes=most_text_bytes))
    kind = FileKind(detect_content(head, name, is_text_asked=is_text_asked), packing)
    file.seek(0)
    hashed = Hashed(file, is_known=sha256 is not None)
    if kind.content == "parquet":
        if packing is not None:
            raise DataError(f"{shown(name)} is Parquet inside a {packing} stream; Parquet is compressed in itself: unpack it",
                            code="unsupported_file")
        return _open_parquet(file, name, kind, hashed, frames_path=frames_path, sha256=sha256)
    text: Readable = Unpacked(hashed, packing, most_bytes=most_text_bytes) if packing else hashed
    if kind.content == "array":
        text = ArrayLines(text)
    if not kind.is_stored_as_it_is:
        return Opened(file, kind, text, hashed, stored_as="frames", sha256=sha256, frames_path=frames_path)
    stored_as: ShardKind = kind.content if kind.content in ("csv", "tsv") else "lines"
    return Opened(file, kind, text, hashed, stored_as=stored_as, sha256=sha256, frames_path=None)


def _open_parquet(file: Any, name: str, kind: FileKind, hashed: Hashed, *, frames_path: Path, sha256: str | None) -> Opened:
    from core.data.sources.parquet import ParquetFile, ParquetLines

    known = sha256 or hashed.digest()
    file.seek(0)
    parquet = ParquetFile(name, file)
    is_small = parquet.has_small_groups
    return Opened(file, kind, ParquetLines(parquet), hashed, stored_as="parquet" if is_small else "frames", sha256=known,
                  frames_path=None if is_small else frames_path)


def _head(file: Any) -> bytes:
    file.seek(0)
    return _start(file)


def _start(file: Readable) -> bytes:
    buffer = memoryview(bytearray(HEAD_BYTES))
    return bytes(buffer[: fill(file, buffer)])


def _size(file: Any) -> int:
    at = file.tell()
    size = file.seek(0, 2)
    file.seek(at)
    return size
