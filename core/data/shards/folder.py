"""A folder of a local or mounted disk as a place: `file:///…`.

A link inside the folder is followed only to what lies inside the folder as well, looked at each time a file is opened.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from core.data.shards.faults import Broken, Missing, Refused, Unusable
from core.data.shards.store import MOST_LISTED, Stat, check_same
from core.data.spec import Place

LEADS_OUT = ("a link leads out of the place, and none is followed there; name the other files by a narrower pattern, or ask "
             "the operator to put the file there, or to name a place where the link leads")


class FolderStore:
    def __init__(self, place: Place) -> None:
        self._root = Path(place.url.removeprefix("file://"))

    def resolve(self, path: str) -> Path:
        """Give the file's real path; raises Missing where there is none, Unusable for a folder, and where a link leads out
        of the place."""
        root = self._root.resolve()
        found = (root / path).resolve()
        if not found.is_relative_to(root):
            raise Unusable(LEADS_OUT)
        if found.is_dir():
            raise Unusable("it is a folder; end the path with a slash to mean all files below it")
        if not found.is_file():
            raise Missing("no such file")
        return found

    def stat(self, path: str) -> Stat:
        """Its rows are checked by hash when they are read, so a time of change, which a copy alters, is no tag."""
        return Stat(self.resolve(path).stat().st_size, "")

    def read(self, path: str, start: int, end: int, expected: Stat) -> bytes:
        check_same(self.stat(path), expected)
        try:
            with self.resolve(path).open("rb", buffering=0) as file:
                return os.pread(file.fileno(), end - start, start)
        except PermissionError as error:
            raise Refused(error.strerror) from error
        except OSError as error:
            raise Broken(error.strerror or type(error).__name__) from error

    def iter_paths(self, folder: str) -> Iterator[str]:
        root = self._root.resolve()
        start = (root / folder).resolve()
        if not start.is_relative_to(root):
            raise Unusable(LEADS_OUT)
        if not start.is_dir():
            raise Missing("no such folder")
        seen = 0
        for at, _, names in os.walk(start):
            for name in names:
                seen += 1
                if seen > MOST_LISTED:
                    raise Unusable(f"more than {MOST_LISTED:,} files lie below it; name a smaller folder")
                yield str(Path(at, name).relative_to(root))

    def close(self) -> None:
        pass
