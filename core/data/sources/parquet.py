"""Parquet as rows of JSON: in one pass from its start, or one row by its number.

pyarrow is imported where a Parquet file is there, and nowhere else. A row is read by decoding the row group that holds it, so
only files of small groups are read in place (`GROUP_BYTES`); the others are turned into frames once. The groups decoded last
are kept, up to `KEPT_BYTES`: rows that lie together cost one decoding for all.

Values become JSON as `to_pylist` and orjson have them: times in ISO 8601, decimals and binary text as strings, a map as a list
of pairs, numbers that are not finite as null.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Self

import numpy as np
import orjson

from core.data.sources.readable import Readable
from core.errors import DataError

GROUP_BYTES = 4 << 20
"""A row group of more, by its footer, is too costly to be decoded for one row."""
KEPT_BYTES = 64 << 20
_ROWS_AT_ONCE = 256


class ParquetFile:
    """The footer of a file, and its rows; raises DataError for what cannot be read."""

    def __init__(self, name: str, file: Any) -> None:
        self.name = name
        with _telling(name):
            os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # its own takes 1 GiB of address space at once
            import pyarrow
            import pyarrow.parquet

            pyarrow.set_cpu_count(1)
            self._file = pyarrow.parquet.ParquetFile(file, pre_buffer=False, memory_map=False)
            _check_schema(name, self._file.schema_arrow, pyarrow)
        groups = [self._file.metadata.row_group(number) for number in range(self._file.metadata.num_row_groups)]
        self.group_rows = tuple(group.num_rows for group in groups)
        self.group_bytes = tuple(group.total_byte_size for group in groups)

    @property
    def has_small_groups(self) -> bool:
        return max(self.group_bytes, default=0) <= GROUP_BYTES

    def lines(self) -> Iterator[bytes]:
        """Give all rows in order, each as one line of JSON."""
        with _telling(self.name):
            for batch in self._file.iter_batches(_ROWS_AT_ONCE, use_threads=False):
                for row in batch.to_pylist():
                    yield dumped(row) + b"\n"

    def group(self, number: int) -> Any:
        """Decode one row group: a pyarrow Table."""
        with _telling(self.name):
            return self._file.read_row_group(number, use_threads=False)

    def close(self) -> None:
        self._file.close()


class ParquetLines(Readable):
    """A file's rows as JSON Lines, to be read once."""

    def __init__(self, file: ParquetFile) -> None:
        self._lines = file.lines()
        self._left = memoryview(b"")

    def readinto(self, buffer: memoryview, /) -> int:
        if not len(self._left):
            self._left = memoryview(next(self._lines, b""))
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count


class ParquetRows:
    """Rows by number, each as JSON; safe to read from several threads."""

    def __init__(self, name: str, file: Any, *, kept_bytes: int = KEPT_BYTES) -> None:
        self.name = name
        self._file = ParquetFile(name, file)
        self._most_bytes = kept_bytes
        self._ends = np.cumsum(self._file.group_rows, dtype=np.int64)
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, Any] = OrderedDict()
        self._kept_bytes = 0

    def row(self, number: int) -> bytes:
        """Give one row; raise DataError for one that the file does not have."""
        group = int(np.searchsorted(self._ends, number, side="right"))
        if group == len(self._ends):
            raise DataError(f"shard {self.name!r} has {int(self._ends[-1]) if group else 0:,} rows, and row {number + 1:,} was "
                            "asked for; it changed after it was registered: restore it or register it again")
        with self._lock:
            table = self._kept.get(group)
            if table is None:
                table = self._keep(group)
            self._kept.move_to_end(group)
        first = int(self._ends[group - 1]) if group else 0
        (row,) = table.slice(number - first, 1).to_pylist()
        return dumped(row)

    def close(self) -> None:
        self._kept.clear()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    def _keep(self, group: int) -> Any:
        table = self._kept[group] = self._file.group(group)
        self._kept_bytes += table.nbytes
        while self._kept_bytes > self._most_bytes and len(self._kept) > 1:
            _, oldest = self._kept.popitem(last=False)
            self._kept_bytes -= oldest.nbytes
        return table


def dumped(row: dict[str, Any]) -> bytes:
    """Write a row as JSON, always in the same way."""
    return orjson.dumps(row, default=_plain, option=orjson.OPT_NON_STR_KEYS)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, Decimal):
        return str(value)
    return str(value)


def _check_schema(name: str, schema: Any, pyarrow: Any) -> None:
    """Raise DataError for a column of a type that no row of text can hold."""
    for field in schema:
        if pyarrow.types.is_union(field.type) or isinstance(field.type, pyarrow.BaseExtensionType):
            raise DataError(f"column {field.name[:40]!a} of {name!r} has type {str(field.type)[:60]}; write it as text, "
                            "numbers, lists or structs", code="unsupported_file")
    if len(set(schema.names)) != len(schema.names):
        raise DataError(f"{name!r} has two columns of one name; give every column a name of its own", code="unsupported_file")


class _telling:
    """Turns what pyarrow raises into words about the file."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _trace: object) -> None:
        if kind is None or error is None or isinstance(error, DataError | MemoryError | GeneratorExit):
            return
        if isinstance(error, ImportError):
            raise DataError(f"{self._name!r} is a Parquet file and pyarrow is not installed here; ask the operator to add it",
                            code="unsupported_file") from error
        import pyarrow

        if isinstance(error, pyarrow.ArrowMemoryError):
            raise MemoryError from error
        if isinstance(error, pyarrow.ArrowException | OSError | ValueError):
            reason = str(error).partition("\n")[0][:160]
            raise DataError(f"{self._name!r} cannot be read as Parquet ({reason}); write it again, or as JSON Lines",
                            code="broken_file") from error
