"""A repository of the Hugging Face hub as a place: `hf://datasets/ORG/NAME@REVISION/…`, through the hub's own file system.

A file's tag is its Git or LFS digest, so what a moved branch brings is noticed where a process opens it. Only the token of
the operator's file is used.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from huggingface_hub import HfFileSystem
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

from core.data.shards.faults import Broken, Missing, Refused, StoreFault, Unusable
from core.data.shards.store import MOST_LISTED, Stat, check_same
from core.data.spec import Place

T = TypeVar("T")
_MOST_OPEN = 64
_TRANSPORT_ERRORS: tuple[type[BaseException], ...] = (*HfHubHTTPError.__bases__, OSError)
"""Those of the HTTP library that the hub's own is built on, whichever it is."""


class HubStore:
    def __init__(self, place: Place) -> None:
        self._root = place.url.removeprefix("hf://")
        self._files = HfFileSystem(token=place.options.get("token") or False, endpoint=place.options.get("endpoint"),
                                   skip_instance_cache=True)
        self._open: dict[str, tuple[Any, Stat]] = {}
        self._lock = threading.Lock()

    def stat(self, path: str) -> Stat:
        return _told(lambda: self._look(path))

    def read(self, path: str, start: int, end: int, expected: Stat) -> bytes:
        file, found = _told(lambda: self._opened(path))
        check_same(found, expected)
        try:
            data = _told(lambda: file._fetch_range(start, end))
        except StoreFault:
            self._open.pop(path, None)  # the next try looks anew, also for where the bytes are
            raise
        if len(data) != end - start:
            raise Broken(f"{len(data):,} of {end - start:,} bytes came")
        return data

    def iter_paths(self, folder: str) -> Iterator[str]:
        start = f"{self._root}/{folder}" if folder else self._root
        found = _told(lambda: self._files.find(start, refresh=True))
        if len(found) > MOST_LISTED:
            raise Unusable(f"more than {MOST_LISTED:,} files lie below it; name a smaller folder")
        for path in found:
            yield path.removeprefix(f"{self._root}/")

    def close(self) -> None:
        self._open.clear()

    def _opened(self, path: str) -> tuple[Any, Stat]:
        with self._lock:
            if path not in self._open:
                if len(self._open) >= _MOST_OPEN:
                    self._open.clear()
                file = self._files.open(f"{self._root}/{path}", "rb", cache_type="none")
                self._open[path] = file, self._look(path)
            return self._open[path]

    def _look(self, path: str) -> Stat:
        """Only an answer with all details has the digests."""
        told = self._files.info(f"{self._root}/{path}", refresh=True, expand_info=True)
        if told["type"] != "file":
            raise Unusable("it is a folder; end the path with a slash to mean all files below it")
        return Stat(told["size"], (told["lfs"] or {}).get("sha256") or told["blob_id"] or "")


def _told(call: Callable[[], T]) -> T:
    try:
        return call()
    except (EntryNotFoundError, RevisionNotFoundError, FileNotFoundError) as error:
        raise Missing("no such file, or no such revision") from error
    except RepositoryNotFoundError as error:
        raise Refused("no such repository, or none that the token may read") from error
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        if status in (404, 410):  # of a mirror that does not say, as the hub does, what is not there
            raise Missing(f"HTTP {status}") from error
        raise (Refused if status in (401, 403) else Broken)(f"HTTP {status}") from error
    except _TRANSPORT_ERRORS as error:
        raise Broken(type(error).__name__) from error
