"""The files that a pattern means: `python -m core.data.listing PLACE PATTERN`, Places as JSON on standard input.

Tells on standard output `{"files": [{"path": …, "bytes": …, "tag": …}]}`, sorted by path (exit code 0), or
`{"error": {"code": …, "message": …}}` (exit code 3). A process of its own, so that who asks imports no library of any place,
and may end it while a place keeps it waiting.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson

from core.data.sources import open_places
from core.data.spec import Places
from core.errors import DataError, HeadraceError

MOST_FILES = 4096
ASKED_AT_ONCE = 8
REFUSED = 3


def main(place: str, pattern: str) -> int:
    try:
        told = list_files(Places.from_json(orjson.loads(sys.stdin.buffer.readline())), place, pattern)
    except HeadraceError as error:
        _tell({"error": {"code": error.code, "message": error.message}})
        return REFUSED
    _tell({"files": told})
    return 0


def list_files(places: Places, place: str, pattern: str) -> list[dict[str, Any]]:
    """Look a pattern up, and each file that it means; raise DataError for none and for too many."""
    with open_places(places) as opened, ThreadPoolExecutor(ASKED_AT_ONCE) as pool:
        paths = opened.list_paths(place, pattern)
        if len(paths) > MOST_FILES:
            raise DataError(f"the pattern means {len(paths):,} files; at most {MOST_FILES:,} make one version; name fewer, or "
                            "join small files", code="too_many_files")
        stats = pool.map(lambda path: opened.stat(place, path), paths)
        return [{"path": path, "bytes": stat.size, "tag": stat.tag} for path, stat in zip(paths, stats, strict=True)]


def _tell(told: dict[str, Any]) -> None:
    sys.stdout.buffer.write(orjson.dumps(told, option=orjson.OPT_APPEND_NEWLINE))
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
