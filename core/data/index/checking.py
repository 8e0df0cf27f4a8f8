"""Every row of a file, checked and hashed: blocks come in, hashes and the numbers of faulty rows go out.

While no format is known, each row is asked for it; from the first row that has one on, the cheap test of that format
passes the ordinary rows and only the others take the way that explains.
"""

from __future__ import annotations

from collections import Counter

import orjson
import xxhash

from core.data.index.faults import RowFault
from core.data.index.lines import MAX_ROW_BYTES, Block
from core.data.index.report import Fault
from core.data.index.rules import Layout, find_format, is_ordinary, parse_json, parse_row, too_long, unknown_format
from core.data.spec import RowFormat

FAULTS_SHOWN = 100


class RowChecker:
    """Counts rows and faults over the blocks of one file."""

    def __init__(self, row_format: RowFormat | None, layout: Layout) -> None:
        self.format: RowFormat | None = "text" if layout == "lines" else row_format
        self.layout: Layout = layout
        self.rows = 0
        self.faulty = 0
        self.faults: list[Fault] = []
        self.fault_counts: Counter[str] = Counter()

    def check(self, block: Block) -> tuple[list[int], list[int]]:
        """Give the 16-bit hash of each row of the block, and the numbers of its faulty rows."""
        if block.is_too_long:
            self._note(int(block.lines[0]), too_long(int(block.ends[0] - block.starts[0])))
            self.rows += 1
            return [0], [self.rows - 1]
        hashes, doubtful = self._hash_and_sift(block)
        faulty = [self.rows + i for i in doubtful if self._is_faulty(block, i)]
        self.rows += len(hashes)
        return hashes, faulty

    def finish(self) -> None:
        """Note a fault of the file as a whole, when it has one."""
        if not self.rows:
            self._tell(Fault(0, "empty_file", "the file has no rows; write one JSON object a line, and upload it again"))
        elif self.rows == self.faulty:
            self._tell(Fault(0, "no_good_row", f"none of the file's {self.rows:,} rows can be trained on; correct them"))

    def _hash_and_sift(self, block: Block) -> tuple[list[int], list[int]]:
        """Give the hashes, and the places in the block of the rows that are not plainly ordinary."""
        loads, digest, buffer, base = orjson.loads, xxhash.xxh3_64_intdigest, block.buffer, block.base
        hashes: list[int] = []
        doubtful: list[int] = []
        is_sifted = self.layout == "jsonl" and self.format is not None
        fits = is_ordinary(self.format) if is_sifted and self.format else _never
        for start, end in zip((block.starts - base).tolist(), (block.ends - base).tolist(), strict=True):
            raw = bytes(buffer[start:end])
            hashes.append(digest(raw) & 0xFFFF)
            try:
                if is_sifted and end - start <= MAX_ROW_BYTES and fits(loads(raw)):
                    continue
            except (orjson.JSONDecodeError, MemoryError):
                pass
            doubtful.append(len(hashes) - 1)
        return hashes, doubtful

    def _is_faulty(self, block: Block, place: int) -> bool:
        raw = bytes(block.buffer[block.starts[place] - block.base : block.ends[place] - block.base])
        try:
            self._walk_through(raw)
        except RowFault as fault:
            self._note(int(block.lines[place]), fault)
            return True
        return False

    def _walk_through(self, raw: bytes) -> None:
        if self.format is None:
            self.format = find_format(parse_json(raw))
        if self.format is None:
            raise unknown_format()
        parse_row(raw, self.format, self.layout)

    def _note(self, line: int, fault: RowFault) -> None:
        self.faulty += 1
        self._tell(Fault(line + 1, fault.code, f"line {line + 1:,}: {fault.message}"))

    def _tell(self, fault: Fault) -> None:
        self.fault_counts[fault.code] += 1
        if len(self.faults) < FAULTS_SHOWN:
            self.faults.append(fault)


def _never(_row: object) -> bool:
    return False
