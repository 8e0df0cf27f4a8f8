"""Copies that are in use: a thread touches them now and then, so that no process of the host takes them for idle (`shared.py`).

What is fetched once may be opened again hours later: an index by each evaluation, a base model's files by each checkpoint that
clients see. The time of a folder's last change is what all processes of a host agree on, so it is there that a use is told.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TOUCH_SECONDS = 60.0
"""Far less than a copy may be idle."""


class Uses:
    """What is used by whoever is inside `open`. Safe to use from several threads."""

    def __init__(self, every_seconds: float = TOUCH_SECONDS) -> None:
        self._every_seconds = every_seconds
        self._open: list[set[Path]] = []
        self._lock = threading.Lock()

    @contextmanager
    def open(self) -> Iterator[None]:
        """Keep what is noted from here on in use, until the end."""
        folders, ended = set[Path](), threading.Event()
        toucher = threading.Thread(target=self._keep, args=(folders, ended), name="copies-in-use", daemon=True)
        with self._lock:
            self._open.append(folders)
        toucher.start()
        try:
            yield
        finally:
            ended.set()
            with self._lock:
                self._open = [other for other in self._open if other is not folders]

    def note(self, folder: Path) -> None:
        """Say that a folder is used now, and by all that are open from here on."""
        touch(folder)
        with self._lock:
            for folders in self._open:
                folders.add(folder)

    def _keep(self, folders: set[Path], ended: threading.Event) -> None:
        while not ended.wait(self._every_seconds):
            with self._lock:
                used = list(folders)
            for folder in used:
                touch(folder)


def touch(folder: Path) -> None:
    with contextlib.suppress(OSError):  # it was deleted, or is no copy of this host's
        os.utime(folder)
