"""Bytes under one folder, by keys that are made from ids. (`shared.py` keeps them in a bucket, behind the same face.)

A key is a relative path such as `files/file-…`; no text of a client's is ever part of one. What appears under a key is whole:
it was written aside in `.incoming`, fsynced, renamed, and the folder that now names it fsynced too.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path

from core.errors import InvalidValue, Unavailable, shown
from core.storage import manifest
from core.storage.own_faults import own_faults

INCOMING = ".incoming"
ASIDE_SECONDS = 24 * 3600.0
"""What was written aside and not touched for so long has no writer any more."""
STORAGE = "the server's storage"
"""What our bucket is called where places are told; no operator's place can have this name."""
KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*")
"""No empty part, none that begins with a dot, and so no way out of the root."""


def file_key(file_id: str) -> str:
    return f"files/{file_id}"


def index_key(version_id: str, shard: int = 0) -> str:
    return f"indexes/{version_id}-{shard:05d}"


def frames_key(version_id: str, shard: int = 0) -> str:
    """Name the text of a shard that cannot be read from its file, in frames."""
    return f"frames/{version_id}-{shard:05d}"


def model_key(digest: str) -> str:
    """Name a base model's folder by its content."""
    return f"models/{digest}"


def job_key(job_id: str) -> str:
    return f"jobs/{job_id}"


def run_key(job_id: str, fence: int, run_id: str) -> str:
    """Name a run's folder with its fence, so that two attempts never share one."""
    return f"{job_key(job_id)}/runs/{fence:06d}-{run_id}"


class Artifacts:
    """Safe to share between threads and processes: publishing is a rename."""

    is_shared = False
    """Whether it lies in a bucket, and what is on this host's disk is on its way there, or a copy."""
    place: str | None = None
    """The place that uploaded files are read from, where they are not on this host's disk."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, key: str) -> Path:
        """Give the path of `key`; raise InvalidValue for one that would leave the root, also by a link."""
        if not KEY.fullmatch(key):
            raise InvalidValue(f"storage key {shown(key)} is no plain relative path; keys are made from ids alone")
        path = self.root / key
        if not path.resolve().is_relative_to(self.root.resolve()):
            raise InvalidValue(f"storage key {shown(key)} leads out of the storage root; remove the link in its way")
        return path

    def key_of(self, path: Path) -> str:
        """Give the key of what lies at `path`, below the root."""
        return path.resolve().relative_to(self.root.resolve()).as_posix()

    def new_temporary(self) -> Path:
        """Name a file or folder that is not there yet, on the file system that keys are on."""
        incoming = self.root / INCOMING
        incoming.mkdir(parents=True, exist_ok=True)
        return incoming / secrets.token_hex(16)

    def publish(self, temporary: Path, key: str) -> Path:
        """Move a finished file or folder under its key, durably; replaces a file that is there."""
        target = self.path(key)
        _make_folders(target.parent, self.root)
        _sync_tree(temporary)
        os.replace(temporary, target)
        _sync(target.parent)
        return target

    def attempt_key(self, key: str, fence: int) -> str:
        """Name what an attempt publishes in the place of a former one."""
        return key

    def watched(self, look: Callable[[], None]) -> Artifacts:
        """The same storage, for one who may have to leave while something long is fetched: `look` is called between its pieces,
        and may raise."""
        return self

    def fetch(self, key: str) -> Path:
        """Give a folder on this host's disk; it may not be there."""
        return self.path(key)

    def whole(self, key: str, digest: str) -> Path:
        """Give a folder whose files agree with its manifest and with `digest`; raise FolderDamaged when they do not, and
        Unavailable when this host cannot tell."""
        path = self.path(key)
        with own_faults(f"read {key}"):
            manifest.verify(path, digest)
        return path

    def using(self) -> AbstractContextManager[None]:
        """While it is open, keep on this host's disk all that is fetched; what lies in a folder for all stays by itself."""
        return contextlib.nullcontext()

    def confirm(self, folder: Path, digest: str) -> None:
        """Read what a run of this host saved against its manifest and `digest`; raise FolderDamaged where they disagree."""
        manifest.verify(folder, digest)

    def bring(self, key: str) -> Path | None:
        """Give a single file on this host's disk; None where there is none."""
        path = self.path(key)
        return path if path.is_file() else None

    def manifest_of(self, key: str) -> manifest.Manifest:
        """Read a folder's manifest; raise FolderDamaged where there is none."""
        return manifest.read(self.path(key))

    def stream(self, key: str) -> tuple[int, Iterator[bytes]] | None:
        """Give the size of a file that is not on this host's disk, and its bytes; None where there is none."""
        return None

    def read_end(self, key: str, most_bytes: int) -> bytes:
        """The last bytes of a file; nothing where there is none. Links are not followed."""
        try:
            descriptor = os.open(self.path(key), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return b""
        with os.fdopen(descriptor, "rb") as file:
            file.seek(max(0, os.fstat(descriptor).st_size - most_bytes))
            return file.read(most_bytes)

    def share(self, folder: Path, key: str) -> None:
        """Have a folder of this host where others find it; on a disk in common they do already."""

    def probe(self) -> None:
        """Try what a bucket must let us do; raise StorageAway, which says what to do, where it does not."""

    def iter_checkpoints(self) -> Iterator[str]:
        """The keys of all folders that runs saved, whole or not."""
        for folder in self.root.glob("jobs/*/runs/*/checkpoints/*"):
            if KEY.fullmatch(key := folder.relative_to(self.root).as_posix()):
                yield key

    def iter_untouched(self, folder: str, *, before: datetime) -> Iterator[str]:
        """The keys right below a folder of what was written before a time, and not since."""
        for path in self.root.glob(f"{folder}/*"):
            key = path.relative_to(self.root).as_posix()
            if KEY.fullmatch(key) and is_older(path, before):
                yield key

    def tidy(self) -> None:
        """Drop what was written aside and left: uploads that broke off, conversions that were killed."""
        incoming = self.root / INCOMING
        for entry in incoming.iterdir() if incoming.is_dir() else ():
            with contextlib.suppress(OSError):  # its writer may take it at this moment
                if time.time() - touched_at(entry) > ASIDE_SECONDS:
                    remove(entry)

    def delete(self, key: str) -> None:
        """Remove a file or folder with all that it holds; safe to call twice.

        A folder is taken from its name first, so a death on the way leaves no half of it there."""
        path = self.path(key)
        if not path.is_dir() or path.is_symlink():
            return path.unlink(missing_ok=True)
        aside = self.new_temporary()
        with contextlib.suppress(FileNotFoundError):
            path.rename(aside)
        return shutil.rmtree(aside, ignore_errors=True)

    def free_bytes(self) -> int:
        self.root.mkdir(parents=True, exist_ok=True)
        return shutil.disk_usage(self.root).free

    def require_space(self, bytes: int, min_free: int) -> None:
        """Raise Unavailable unless `bytes` more leave `min_free` on the disk."""
        free = self.free_bytes()
        if free - bytes < min_free:
            raise Unavailable(
                f"the server's disk has {free:,} bytes free; {bytes:,} more would leave less than the {min_free:,} it keeps; "
                "delete files or old jobs, or ask the operator for space",
                code="insufficient_storage",
                retry_after_seconds=30.0,
            )


def touched_at(path: Path) -> float:
    """When a file or folder, or anything within, was last written; a folder's own time tells of its entries alone."""
    return max(each.lstat().st_mtime for each in (path, *path.rglob("*")))


def is_older(path: Path, before: datetime) -> bool:
    """Whether a file or folder is there and has stood as it is since before a time."""
    try:
        return path.stat().st_mtime < before.timestamp()
    except FileNotFoundError:
        return False


def remove(path: Path) -> None:
    """Remove a file or folder of this host's; one that is gone is no fault."""
    shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def _make_folders(folder: Path, root: Path) -> None:
    """Make `folder` and fsync each parent that got a new entry, so that a power cut does not lose the way to a file."""
    if folder.is_dir():
        return
    if folder != root:
        _make_folders(folder.parent, root)
    folder.mkdir(parents=True, exist_ok=True)
    _sync(folder.parent)


def _sync_tree(path: Path) -> None:
    if path.is_dir():
        for child in path.iterdir():
            _sync_tree(child)
    _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
