"""Register a file: `python -m core.data.register PATH INDEX_PATH [--name NAME] [--shape SHAPE] [--columns JSON] …`.

With `--place NAME` the path lies in a place, and Places as JSON are the first line of standard input.
Writes the index and tells on standard output, one JSON object a line: `{"bytes_done": …, "bytes": …}` about four times a
second, and last `{"report": …}` (exit code 0; of a file in a place with `bytes` and `tag`, which name the content that was
read) or `{"error": {"code": …, "message": …}}` (exit code 3). It runs as a process of its own with a limit on its memory, so
that no file, however hostile, takes the machine's.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

import orjson

from core.data.index import build_index, index_file
from core.data.index.opening import MOST_TEXT_BYTES
from core.data.shapes import ASKED
from core.data.sources import open_places
from core.data.spec import Places
from core.errors import DataError, HeadraceError

MEMORY_BYTES = 1536 << 20
"""Of address space: what numpy maps at its start, and room for the worst row that is still read."""
TOLD_EVERY_SECONDS = 0.25
REFUSED = 3


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m core.data.register", description="Index a file of rows.")
    parser.add_argument("path")
    parser.add_argument("index_path", type=Path)
    parser.add_argument("--shape", choices=ASKED, default=None, help="found by the first rows when not given")
    parser.add_argument("--columns", type=orjson.loads, default=None, help="JSON: which field each part is read from")
    parser.add_argument("--name", default=None, help="what people call the file; its ending may tell what it is")
    parser.add_argument("--frames", type=Path, default=None, help="where rows go that cannot be read from the file itself")
    parser.add_argument("--sha256", default=None, help="digest of the file, when it is known already")
    parser.add_argument("--place", default=None, help="place that the path lies in; Places as JSON on standard input")
    parser.add_argument("--most-text-bytes", type=int, default=MOST_TEXT_BYTES, help="what a compressed file may unpack to")
    asked = parser.parse_args(arguments)
    _limit_memory()
    try:
        told = _register(asked)
    except (HeadraceError, OSError, MemoryError) as error:
        _tell({"error": _described(error)})
        return REFUSED
    _tell(told)
    return 0


def _register(asked: argparse.Namespace) -> dict[str, Any]:
    """Do the pass; give its report and, of a file in a place, what was read."""
    asked_of_rows = {"frames_path": asked.frames, "shape": asked.shape, "columns": asked.columns, "sha256": asked.sha256,
                     "most_text_bytes": asked.most_text_bytes}
    if asked.place is None:
        report = build_index(Path(asked.path), asked.index_path, name=asked.name, on_progress=_Progress(Path(asked.path)),
                             **asked_of_rows)
        return {"report": report.to_json()}
    with open_places(Places.from_json(orjson.loads(sys.stdin.buffer.readline()))) as places:
        stat = places.stat(asked.place, asked.path)
        progress = _Progress(stat.size)
        path = places.local_path(asked.place, asked.path)
        if path is not None:
            report = build_index(Path(path), asked.index_path, name=asked.name or asked.path, on_progress=progress,
                                 **asked_of_rows)
        else:
            file = places.open_for_reading(asked.place, asked.path)
            stat = file.stat
            report = index_file(file, asked.index_path, name=asked.name or asked.path, on_progress=progress, **asked_of_rows)
        return {"report": report.to_json(), "bytes": stat.size, "tag": stat.tag}


class _Progress:
    """Tells how far the pass is, but not more often than somebody can look."""

    def __init__(self, whole: Path | int) -> None:
        self._bytes = whole if isinstance(whole, int) else whole.stat().st_size if whole.exists() else 0
        self._told_at = 0.0

    def __call__(self, bytes_done: int) -> None:
        now = time.monotonic()
        if now - self._told_at >= TOLD_EVERY_SECONDS:
            self._told_at = now
            _tell({"bytes_done": bytes_done, "bytes": self._bytes})


def _limit_memory() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(MEMORY_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def _described(error: HeadraceError | OSError | MemoryError) -> dict[str, Any]:
    if isinstance(error, HeadraceError):
        return {"code": error.code, "message": error.message}
    if isinstance(error, MemoryError):
        return {
            "code": DataError.code,
            "message": f"checking the file needs more than {MEMORY_BYTES >> 20} MiB; split its largest rows",
        }
    reason = os.strerror(error.errno or 0)
    return {"code": "storage_error", "message": f"the index cannot be written ({reason}); free space, then try again"}


def _tell(told: dict[str, Any]) -> None:
    sys.stdout.buffer.write(orjson.dumps(told, option=orjson.OPT_APPEND_NEWLINE))
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main())
