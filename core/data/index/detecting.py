"""What a file is: its first bytes and its name come in, a `FileKind` goes out.

The content decides wherever it can tell: a compressed stream, Parquet and a list of JSON objects show themselves. Only what
is plain text without a brace in front is told by the name's ending.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from core.errors import DataError, shown

Packing = Literal["gz", "bz2", "xz", "zst"]
Content = Literal["jsonl", "text", "csv", "tsv", "array", "parquet"]

HEAD_BYTES = 1 << 16
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_PACKINGS: dict[bytes, Packing] = {
    b"\x1f\x8b": "gz", b"BZh": "bz2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zst",
}
_REFUSED = {
    b"PK\x03\x04": "a ZIP archive; unpack it and register the files inside",
    b"ARROW1": "an Arrow file; write it as Parquet",
    b"\xff\xff\xff\xff": "an Arrow stream; write it as Parquet",
    b"Obj\x01": "an Avro file; write it as Parquet or JSON Lines",
    b"ORC": "an ORC file; write it as Parquet",
    b"\x80\x04\x95": "a Python pickle, which is never opened; write it as JSON Lines",
    b"\x89HDF": "an HDF5 file; write it as Parquet or JSON Lines",
    b"%PDF": "a PDF; write its text to a .txt or .jsonl file",
    b"SQLite format 3\x00": "an SQLite database; write its rows as JSON Lines",
    b"\xff\xfe": "text in UTF-16; convert it to UTF-8",
    b"\xfe\xff": "text in UTF-16; convert it to UTF-8",
}
_LIST_OF_OBJECTS = re.compile(rb"\[\s*\{")
_ENDINGS: dict[str, Content] = {"txt": "text", "csv": "csv", "tsv": "tsv", "tab": "tsv"}


@dataclass(frozen=True)
class FileKind:
    content: Content
    packing: Packing | None = None

    @property
    def is_stored_as_it_is(self) -> bool:
        """Whether rows are read from the file itself; if not, they are turned into frames once."""
        return self.packing is None and self.content != "array"

    def __str__(self) -> str:
        """The ending that such a file usually has, without its first dot."""
        ending = {"text": "txt", "array": "json"}.get(self.content, self.content)
        return f"{ending}.{self.packing}" if self.packing else ending


def detect_packing(head: bytes) -> Packing | None:
    """Tell a compressed stream by its first bytes."""
    return next((packing for magic, packing in _PACKINGS.items() if head.startswith(magic)), None)


def detect_content(head: bytes, name: str, *, is_text_asked: bool = False) -> Content:
    """Tell what stands in a file that is not compressed; raise DataError for what no rows can be read from."""
    if head.startswith(b"PAR1"):
        return "parquet"
    for magic, what in _REFUSED.items():
        if head.startswith(magic):
            raise DataError(f"{shown(name)} is {what}, and register that", code="unsupported_file")
    text = head.removeprefix(BYTE_ORDER_MARK).lstrip()
    by_name = _ENDINGS.get(_ending(name))
    if by_name in ("csv", "tsv"):
        return by_name
    if text.startswith(b"{"):
        return "jsonl"
    if _LIST_OF_OBJECTS.match(text) or (_ending(name) == "json" and text.startswith(b"[")):
        return "array"
    return "text" if is_text_asked else by_name or "jsonl"


def _ending(name: str) -> str:
    """The last ending that says what the content is, in lower case."""
    parts = name.lower().split(".")
    while len(parts) > 1 and parts[-1] in ("gz", "bz2", "xz", "zst", "zstd"):
        parts.pop()
    return parts[-1] if len(parts) > 1 else ""
