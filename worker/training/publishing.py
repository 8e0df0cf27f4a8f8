"""Checkpoint folders of one run: published whole or not at all. It imports no torch.

1. files into `checkpoints/.tmp-…`, each fsynced, the manifest last;
2. the folder renamed to its final name, its parent fsynced;
3. only then does `publish` return, and the caller reports it.

A crash at any moment leaves a whole checkpoint or a `.tmp-…` that the next start in the same folder removes. Of the recovery
points the last few are kept: two when run by hand; more under a supervisor, which removes them itself once it has a row of a
newer one, so that a ledger out of reach for minutes costs no point that it knows.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from core.storage import manifest
from worker.reports import CheckpointKind

RECOVERY = "-recovery"
KEPT_BY_HAND, KEPT_UNDER_SUPERVISOR = 2, 10
"""Recovery points that a child leaves on the disk."""


@dataclass(frozen=True)
class Published:
    """A whole checkpoint under its final name."""

    folder: Path
    digest: str
    """Of its manifest."""
    bytes: int


class Publisher:
    """Publishes into `folder/checkpoints`. Not for several threads at once."""

    def __init__(self, folder: Path, *, keep: int = KEPT_BY_HAND) -> None:
        self._folder, self._keep = folder / "checkpoints", keep

    def open(self, from_step: int) -> None:
        """Make the folder and clear it of what no one can name: unfinished writes, and recovery points ahead of the start."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for debris in self._folder.glob(".tmp-*"):
            shutil.rmtree(debris)
        for folder in self._recoveries():
            if int(folder.name.split("-")[1]) > from_step:
                _remove(folder)

    def publish(self, step: int, kind: CheckpointKind, write_files: Callable[[Path], None]) -> Published:
        """Let `write_files` fill a folder aside, and publish it under the name of its step and kind."""
        folder = self._folder / (f"step-{step:08d}" + (RECOVERY if kind == "recovery" else ""))
        aside = self._folder / f".tmp-{folder.name}"
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        try:
            write_files(aside)
            sealed = manifest.seal(aside)
            if folder.exists():  # a save that no one heard of: this one has the same content
                _remove(folder)
            aside.rename(folder)
            manifest.sync_folder(self._folder)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise
        return Published(folder, sealed.digest, sealed.bytes)

    def prune(self) -> None:
        """Remove recovery points beyond the newest few. To be called when the last one was reported."""
        for folder in self._recoveries()[:-self._keep]:
            _remove(folder)

    def _recoveries(self) -> list[Path]:
        """Those that are there, in the order of their steps."""
        return sorted(self._folder.glob(f"step-*{RECOVERY}"))


def _remove(folder: Path) -> None:
    """Remove a folder so that no half of it keeps its name; it may be gone already."""
    aside = folder.with_name(f".tmp-removed-{folder.name}")
    shutil.rmtree(aside, ignore_errors=True)
    with contextlib.suppress(FileNotFoundError):
        folder.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)
