"""The places of a process, open: files are listed, looked at and opened here, and each place at its first use."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from core.data.shards.cache import BlockCache
from core.data.shards.kinds import open_store
from core.data.shards.paths import check_path, folder_of, has_wildcards, matcher
from core.data.shards.patience import Patience, insist
from core.data.shards.remote import Blocks, Figures, RemoteFile, RemoteShard
from core.data.shards.store import Stat, Store
from core.data.spec import Place, Places, ShardSpec
from core.errors import DataError, RunInterrupted, shown

T = TypeVar("T")


class OpenPlaces:
    """Close it, or use it as a context. Safe to use from several threads. Nothing is opened before it is asked for."""

    def __init__(self, places: Places, *, patience: Patience | None = None, sleep: Callable[[float], object] | None = None,
                 open_store: Callable[[Place], Store] = open_store) -> None:
        self._places = places
        self._closing = threading.Event()
        self._patience = patience or Patience()
        self._sleep = self._rest if sleep is None else sleep
        self._open_store = open_store
        self._stores: dict[str, Store] = {}
        self._blocks: Blocks | None = None
        self._lock = threading.Lock()

    @property
    def figures(self) -> Figures:
        return self._blocks.figures if self._blocks else Figures()

    def list_paths(self, place: str, pattern: str) -> list[str]:
        """Give the paths that a pattern means, sorted; one without wildcards means itself.

        Raises InvalidValue for a pattern that leaves the place, DataError when nothing is meant or may be listed."""
        check_path(pattern)
        if not has_wildcards(pattern):
            return [pattern]
        is_meant = matcher(pattern)
        folder = folder_of(pattern)
        found = self._insist(place, lambda store: sorted(filter(is_meant, store.iter_paths(folder))),
                             what=f"pattern {shown(pattern)} in place {shown(place)}")
        if not found:
            raise DataError(f"nothing in place {shown(place)} is named {shown(pattern)}; look at the pattern, or at what is "
                            "there", code="shard_missing")
        return found

    def stat(self, place: str, path: str) -> Stat:
        """Tell the size and the tag of a file as it is now."""
        check_path(path)
        return self._insist(place, lambda store: store.stat(path), what=f"{path!r} in place {place!r}")

    def open_for_reading(self, place: str, path: str) -> RemoteFile:
        """Open a file as it is now, to be read from front to back; a break on the way is read over."""
        return RemoteFile(self._shard(place, path, self.stat(place, path)))

    def open_shard(self, spec: ShardSpec) -> RemoteShard:
        """Open a file as it was registered, to be read anywhere; its place is asked at the first read."""
        assert spec.place is not None
        return self._shard(spec.place, spec.path, Stat(spec.bytes, spec.tag), digest=spec.digest, name=spec.name)

    def local_path(self, place: str, path: str) -> str | None:
        """The real path of a file in a place on a local disk, which needs none of the above; None in other places."""
        if self._place(place).kind != "file":
            return None
        from core.data.shards.folder import FolderStore

        check_path(path)
        return self._insist(place, lambda store: str(store.resolve(path)) if isinstance(store, FolderStore) else "",
                            what=f"{path!r} in place {place!r}")

    def close(self) -> None:
        """Let go of connections and blocks, and of tries that wait; safe to call twice."""
        self._closing.set()
        if self._blocks is not None:
            self._blocks.close()
        for store in self._stores.values():
            store.close()
        self._stores.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _shard(self, place: str, path: str, stat: Stat, *, digest: str = "", name: str = "") -> RemoteShard:
        check_path(path)
        told = self._place(place)
        address = f"{told.options.get('endpoint_url') or told.options.get('endpoint') or ''} {told.url}"
        return RemoteShard(self._store(place), path, stat, self._held_blocks(), place=place, address=address, digest=digest,
                           name=name)

    def _insist(self, place: str, call: Callable[[Store], T], *, what: str) -> T:
        store = self._store(place)
        return insist(lambda: call(store), what=what, place=place, patience=self._patience, sleep=self._sleep,
                      is_known_to_open=False)

    def _place(self, name: str) -> Place:
        if name not in self._places.by_name:
            raise DataError(f"place {shown(name)} is not one that the operator names now; ask for it to be named again, or "
                            "register the data from another", code="place_unknown")
        return self._places.by_name[name]

    def _store(self, name: str) -> Store:
        place = self._place(name)
        with self._lock:
            if name not in self._stores:
                self._stores[name] = self._open_store(place)
            return self._stores[name]

    def _held_blocks(self) -> Blocks:
        with self._lock:
            if self._blocks is None:
                folder, budget = self._places.cache_folder, self._places.cache_bytes
                cache = BlockCache(Path(folder), budget) if folder and budget else None
                self._blocks = Blocks(cache, patience=self._patience, sleep=self._sleep)
            return self._blocks

    def _rest(self, seconds: float) -> None:
        if self._closing.wait(seconds):
            raise RunInterrupted("the place was closed while it was tried again", code="place_unreachable")
