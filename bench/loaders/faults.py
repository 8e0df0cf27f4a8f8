"""Six files that stop loaders, given to each: are the good rows delivered, is the fault told with file and line, what memory?

    python bench/loaders/faults.py [--environments DIR] [--tokenizer DIR] [--peers headrace huggingface mosaic llamafactory]

Each file has 2,000 chat rows, and a fault at line 1,001 or at its end. A loader prepares (if it does) and reads one pass. The
rows of ../results.json that come of it carry `fault:` in their case:

    rows_lost              good rows that were not delivered
    fault_named            1 when what the loader told names the file and the line (how far it could be read, for a cut archive)
    private_memory_bytes   the most memory beyond imports, registering or reading, for the file with one immense row
"""

from __future__ import annotations

import argparse
import functools
import gzip
import shutil
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "bench" / "loaders" / "peers")]

from side_by_side import PEERS, WORK, Peer, Place, system_of  # noqa: E402
from watching import Seen  # noqa: E402

from bench.generate import iter_rows  # noqa: E402
from bench.loaders.results import keep, row  # noqa: E402

ROWS, AT = 2000, 1000
IMMENSE_BYTES = 24_000_000
_FOLDER = WORK / "faults"


def main() -> None:
    parser = argparse.ArgumentParser(description="Give each loader the files that stop loaders.")
    parser.add_argument("--environments", type=Path, default=WORK / "environments")
    parser.add_argument("--tokenizer", type=Path, default=WORK / "smollm2")
    parser.add_argument("--peers", nargs="+", choices=list(PEERS), default=[name for name in PEERS if name != "everything"])
    parser.add_argument("--faults", nargs="+", choices=list(FAULTS), default=list(FAULTS))
    asked = parser.parse_args()
    try:
        for name in asked.peers:
            for fault in asked.faults:
                file, good = _made(fault)
                place = Place(asked.environments, asked.tokenizer, file, f"fault: {fault}")
                keep(_outcome(PEERS[name], place, good))
                shutil.rmtree(place.work(PEERS[name]), ignore_errors=True)
    finally:
        shutil.rmtree(_FOLDER, ignore_errors=True)


def _outcome(peer: Peer, place: Place, good: int) -> Iterator[dict[str, Any]]:
    seen = [place.run(peer, "prepare")] if peer.has_preparation else []
    if not seen or seen[0].status == 0:
        seen.append(place.run(peer, "read"))
    system = system_of(seen[0])
    yield row(system, "rows_lost", place.case, max(0, good - _delivered(seen)), "rows", runs=1)
    if good < ROWS:
        yield row(system, "fault_named", place.case, _is_named(seen, place.file), "yes or no", runs=1)
    if "24 MB" in place.case:
        most = max(each.peak["pss_bytes"] - each["imported"]["pss_bytes"] for each in seen)
        yield row(system, "private_memory_bytes", place.case, most, "bytes", runs=1)
    for each in seen:
        print("   ", each.status, each.events.get("prepared", {}).get("faults"), each.last_words[-300:], flush=True)


def _delivered(seen: list[Seen]) -> int:
    events = seen[-1].events
    return sum(events[name]["rows"] for name in ("first_batch", "read") if name in events)


def _is_named(seen: list[Seen], file: Path) -> bool:
    """Whether file and line stand in one sentence of what was told."""
    told = [str(fault) for each in seen for fault in each.events.get("prepared", {}).get("faults", ())]
    told += [each.last_words for each in seen]
    places = {str(AT + 1), f"{AT + 1:,}", str(ROWS), f"{ROWS:,}"}
    if file.suffix == ".gz":
        places |= {str(_cut_at().bytes), f"{_cut_at().bytes:,}"}
    return any(file.name in one and any(place in one for place in places) for one in told)


def _made(fault: str) -> tuple[Path, int]:
    """Write a file with a fault; give it, and how many good rows it has."""
    _FOLDER.mkdir(parents=True, exist_ok=True)
    lines = [orjson.dumps(each, option=orjson.OPT_APPEND_NEWLINE) for each in islice(iter_rows(), ROWS)]
    name, content, good = FAULTS[fault](lines)
    path = _FOLDER / name
    path.write_bytes(content)
    return path, good


def _malformed(lines: list[bytes]) -> tuple[str, bytes, int]:
    lines[AT] = b'{"messages": [{"role": "user", "content": "cut\n'
    return "malformed.jsonl", b"".join(lines), ROWS - 1


def _wrong_type(lines: list[bytes]) -> tuple[str, bytes, int]:
    lines[AT] = b'{"messages": "a text where a list is due"}\n'
    return "wrong-type.jsonl", b"".join(lines), ROWS - 1


def _cut_line(lines: list[bytes]) -> tuple[str, bytes, int]:
    lines[-1] = lines[-1][:40]
    return "cut-line.jsonl", b"".join(lines), ROWS - 1


def _archive(lines: list[bytes]) -> tuple[str, bytes, int]:
    return "whole.jsonl.gz", gzip.compress(b"".join(lines), 1), ROWS


def _cut_archive(lines: list[bytes]) -> tuple[str, bytes, int]:
    """Cut in the middle: the rows that lie wholly before the cut are good."""
    packed = gzip.compress(b"".join(lines), 1)
    return "cut.jsonl.gz", packed[:len(packed) // 2], _cut_at().rows


def _immense(lines: list[bytes]) -> tuple[str, bytes, int]:
    """Whether the row itself is cut to the length or left out is the loader's choice; the others are due."""
    words = b"the level of the water falls and rises " * (IMMENSE_BYTES // 39)
    lines[AT] = b'{"messages":[{"role":"user","content":"' + words + b'"},{"role":"assistant","content":"It does."}]}\n'
    return "immense.jsonl", b"".join(lines), ROWS - 1


FAULTS = {
    "malformed line in the middle": _malformed, "wrong type in messages": _wrong_type, "cut last line": _cut_line,
    "whole .gz": _archive, "cut .gz": _cut_archive, "one row of 24 MB": _immense,
}


@dataclass(frozen=True)
class Cut:
    rows: int
    """Rows that lie wholly before the cut."""
    bytes: int
    """Text that can be unpacked."""


@functools.cache
def _cut_at() -> Cut:
    lines = [orjson.dumps(each, option=orjson.OPT_APPEND_NEWLINE) for each in islice(iter_rows(), ROWS)]
    packed = gzip.compress(b"".join(lines), 1)
    text = zlib.decompressobj(31).decompress(packed[:len(packed) // 2])
    return Cut(text.count(b"\n"), len(text))


if __name__ == "__main__":
    main()
