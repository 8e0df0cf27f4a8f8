"""Register a file: `python -m core.data.register PATH INDEX_PATH [--name NAME] [--shape SHAPE] [--columns JSON] …`.

With `--place NAME` the path is one inside a place, which the first line of standard input opens: `Places` as JSON. The last
line then has, beside the report, `"stat": {"bytes": …, "tag": …}`: what the place says that the content is.

Writes the index and tells on standard output, one JSON object a line: `{"bytes_done": …, "bytes": …}` about four times a
second, and last `{"report": …}` (exit code 0) or `{"error": {"code": …, "message": …}}` (exit code 3). It runs as a
process of its own with a limit on its memory, so that no file, however hostile, takes the machine's.
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
    parser.add_argument("--place", default=None, help="the operator's place that the file lies in")
    parser.add_argument("--sha256", default=None, help="digest of the file, when it is known already")
    parser.add_argument("--most-text-bytes", type=int, default=MOST_TEXT_BYTES, help="what a compressed file may unpack to")
    asked = parser.parse_args(arguments)
    _limit_memory()
    try:
        told = _register_in_place(asked) if asked.place else _register(Path(asked.path), asked)
    except (HeadraceError, OSError, MemoryError) as error:
        _tell({"error": _described(error)})
        return REFUSED
    _tell(told)
    return 0


def _register(path: Path, asked: argparse.Namespace) -> dict[str, Any]:
    size = path.stat().st_size if path.exists() else 0
    report = build_index(path, asked.index_path, name=asked.name, **_wishes(asked), on_progress=_Progress(size))
    return {"report": report.to_json()}


def _register_in_place(asked: argparse.Namespace) -> dict[str, Any]:
    """Read the file where it lies, once from front to back."""
    places = Places.from_json(orjson.loads(sys.stdin.buffer.readline() or b'{"places": {}}'))
    with open_places(places) as opened:
        path = opened.local_path(asked.place, asked.path)
        if path is not None:
            return {**_register(Path(path), asked), "stat": {"bytes": Path(path).stat().st_size, "tag": ""}}
        with opened.open_for_reading(asked.place, asked.path) as file:
            report = index_file(file, asked.index_path, name=asked.name or asked.path.rpartition("/")[2], **_wishes(asked),
                                on_progress=_Progress(file.stat.size))
            return {"report": report.to_json(), "stat": {"bytes": file.stat.size, "tag": file.stat.tag}}


def _wishes(asked: argparse.Namespace) -> dict[str, Any]:
    return {"frames_path": asked.frames, "shape": asked.shape, "columns": asked.columns, "sha256": asked.sha256,
            "most_text_bytes": asked.most_text_bytes}


class _Progress:
    """Tells how far the pass is, but not more often than somebody can look."""

    def __init__(self, bytes: int) -> None:
        self._bytes = bytes
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
