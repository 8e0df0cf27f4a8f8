"""Storage in a bucket, for machines that share no disk: the bucket has everything, this host's folder has what is on its way
there, and copies.

    publish     a file goes up; a folder's files go up, then its manifest: without one it is not there
    fetch       a folder comes down whole, checked by its manifest, and stays as a copy
    delete      the manifest goes first, so that nothing half removed looks whole

Files are read where they lie, by ranges, through the cache of blocks (`core/data/shards`). A copy is noted in its folder; when
copies take more than their budget, those unused for longest and for an hour at least go. What is fetched inside `using` is in
use until its end. Whoever fetches looks at the budget now and then, so every host keeps within its own.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from itertools import groupby
from pathlib import Path

from core.storage import manifest
from core.storage.artifacts import KEY, STORAGE, Artifacts
from core.storage.bucket import Bucket, NoSuchObject
from core.storage.manifest import FolderDamaged, Manifest, ManifestFile
from core.storage.own_faults import own_faults
from core.storage.uses import TOUCH_SECONDS, Uses

COPY = ".copy"
"""Stands in a folder whose content is in the bucket too."""
COPIES = ("indexes/*", "models/*", "jobs/*/runs/*/checkpoints/*")
CHECKPOINT = re.compile(r"jobs/[^/]+/runs/[^/]+/checkpoints/[^/]+")
IDLE_SECONDS = 3600.0
TIDY_SECONDS = 600.0
LOST_SECONDS = 7 * 24 * 3600.0
"""What is not in the bucket and was touched so long ago belongs to no run that lives."""


class SharedArtifacts(Artifacts):
    """Safe to share between threads; processes of one host may share the folder."""

    is_shared = True
    place = STORAGE

    def __init__(self, root: Path, bucket: Bucket, *, copies_bytes: int, min_free_bytes: int = 0,
                 tidy_seconds: float = TIDY_SECONDS, touch_seconds: float = TOUCH_SECONDS) -> None:
        super().__init__(root)
        self._bucket, self._copies_bytes, self._min_free_bytes = bucket, copies_bytes, min_free_bytes
        self._tidy_seconds, self._tidied_at = tidy_seconds, time.monotonic()
        self._look: Callable[[], None] = lambda: None
        self._uses = Uses(touch_seconds)

    def attempt_key(self, key: str, fence: int) -> str:
        """In a bucket nothing is replaced as a whole, so each attempt at a folder has a key of its own."""
        return f"{key}.{fence}"

    def publish(self, temporary: Path, key: str) -> Path:
        """Bring a finished file or folder into the bucket; a folder stays here as a copy."""
        target = self.path(key)
        if not temporary.is_dir():
            self._bucket.put_file(key, temporary)
            temporary.unlink()
            return target
        manifest.seal(temporary)
        self.upload(temporary, key)
        _place(temporary, target)
        return target

    def upload(self, folder: Path, key: str, *, must_stop: Callable[[], bool] = lambda: False) -> None:
        """Bring a sealed folder up, its manifest last; raise FolderDamaged when it does not hold what its manifest says."""
        told = manifest.read(folder)
        for file in told.files:
            if must_stop():
                raise InterruptedError(f"the upload of {key} was stopped")
            sent = self._bucket.put_file(f"{key}/{file.name}", folder / file.name, must_stop=must_stop)
            if sent != file.sha256:
                raise FolderDamaged(f"{folder / file.name} changed after it was written; use an earlier checkpoint")
        self._bucket.put(f"{key}/{manifest.NAME}", (folder / manifest.NAME).read_bytes())
        with contextlib.suppress(OSError):
            (folder / COPY).touch()

    def share(self, folder: Path, key: str) -> None:
        """Bring a folder of this host into the bucket, unless it is there; the folder is left as it is."""
        with contextlib.suppress(NoSuchObject):
            self._bucket.stat(f"{self._checked(key)}/{manifest.NAME}")
            return
        files = [ManifestFile(path.name, path.stat().st_size, self._bucket.put_file(f"{key}/{path.name}", path))
                 for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith(".")]
        self._bucket.put(f"{key}/{manifest.NAME}", manifest.told(files))

    def put(self, path: Path, key: str) -> None:
        """Copy a file as it is now into the bucket; it stays here too."""
        self._bucket.put(self._checked(key), path.read_bytes())

    def watched(self, look: Callable[[], None]) -> SharedArtifacts:
        theirs = copy.copy(self)
        theirs._look = look
        return theirs

    def fetch(self, key: str) -> Path:
        """Give the folder under a key on this host's disk, whole; raise FolderDamaged where there is none, and Unavailable
        where this host cannot keep it."""
        path = self.path(key)
        with own_faults(f"keep a copy of {key}"):
            if not (path / manifest.NAME).is_file():
                self._download(key, path)
        self._uses.note(path)
        return path

    def whole(self, key: str, digest: str) -> Path:
        """Give a folder whose files agree with its manifest and with `digest`: this host's, else the bucket's.

        A copy that cannot be read is fetched again; what keeps this host from that is raised as Unavailable."""
        path = self.path(key)
        try:
            manifest.verify(path, digest)
        except (FolderDamaged, OSError):
            with own_faults(f"keep a copy of {key}"):
                self.drop_copy(key)
                self._download(key, path)
                manifest.verify(path, digest)
        self._uses.note(path)
        return path

    def using(self) -> AbstractContextManager[None]:
        return self._uses.open()

    def confirm(self, folder: Path, digest: str) -> None:
        """Its files were read against its manifest as they went up (`upload`), and the folder may be gone by now."""

    def bring(self, key: str) -> Path | None:
        """Have a single file here, to be read at leisure; None where there is none."""
        path = self.path(key)
        try:
            if not path.is_file():
                aside = self.new_temporary()
                aside.write_bytes(self._bucket.read(key))
                path.parent.mkdir(parents=True, exist_ok=True)
                os.replace(aside, path)
        except NoSuchObject:
            return None
        return path

    def manifest_of(self, key: str) -> Manifest:
        path = self.path(key)
        try:
            return manifest.read(path)
        except FolderDamaged:
            return manifest.parse(self._manifest_bytes(key), f"{key}/{manifest.NAME}")

    def stream(self, key: str) -> tuple[int, Iterator[bytes]] | None:
        """Give the size of a file and its bytes, piece by piece; None where there is none."""
        self._checked(key)
        try:
            stat = self._bucket.stat(key)
        except NoSuchObject:
            return None
        return stat.size, self._bucket.iter_bytes(key, stat)

    def read_end(self, key: str, most_bytes: int) -> bytes:
        here = super().read_end(key, most_bytes)
        return here or self._bucket.read_end(self._checked(key), most_bytes)

    def delete(self, key: str) -> None:
        """Remove a file or folder here and there; safe to call twice."""
        super().delete(key)
        inside = sorted(self._bucket.iter_paths(key), key=lambda path: not path.endswith(f"/{manifest.NAME}"))
        for path in inside or [key]:
            self._bucket.delete(path)

    def drop_copy(self, key: str) -> None:
        """Let go of what this host has under a key, at once for whoever looks."""
        super().delete(key)

    def probe(self) -> None:
        key = f"probes/{secrets.token_hex(8)}"
        self._bucket.put(key, b"probe")
        self._bucket.read(key)
        self._bucket.delete(key)

    def iter_checkpoints(self) -> Iterator[str]:
        yield from super().iter_checkpoints()
        in_checkpoints = (key[0] for path in self._bucket.iter_paths("jobs") if (key := CHECKPOINT.match(path)))
        yield from (key for key, _ in groupby(in_checkpoints))  # the files of a folder are listed one after the other

    def iter_untouched(self, folder: str, *, before: datetime) -> Iterator[str]:
        yield from super().iter_untouched(folder, before=before)
        for key, written in groupby(self._bucket.iter_written(folder), key=lambda each: "/".join(each[0].split("/", 2)[:2])):
            if KEY.fullmatch(key) and max(at for _, at in written) < before:
                yield key

    def tidy(self) -> None:
        """Keep the copies within their budget, and drop what a process that is long gone left half done."""
        super().tidy()
        self._tidied_at = time.monotonic()
        held = sorted(self._held())
        over = sum(size for _, size, is_copy, _ in held if is_copy) - self._copies_bytes
        for used_at, size, is_copy, folder in held:
            idle = time.time() - used_at
            is_unneeded = over > 0 and idle > IDLE_SECONDS if is_copy else idle > LOST_SECONDS
            if is_unneeded and not _is_used_since(folder, used_at):
                self.drop_copy(folder.relative_to(self.root).as_posix())
                over -= size if is_copy else 0

    def _held(self) -> Iterator[tuple[float, int, bool, Path]]:
        """When each folder here was last used, its bytes, whether the bucket has it too, and its path."""
        for folder in (found for pattern in COPIES for found in self.root.glob(pattern)):
            with contextlib.suppress(OSError):  # another process may remove it at this moment
                size = sum(file.stat().st_size for file in folder.iterdir())
                yield folder.stat().st_mtime, size, (folder / COPY).is_file(), folder

    def _download(self, key: str, path: Path) -> None:
        line, aside = self._manifest_bytes(key), self.new_temporary()
        told = manifest.parse(line, key)
        self.require_space(told.bytes, self._min_free_bytes)
        aside.mkdir()
        try:
            for file in told.files:
                self._download_file(f"{key}/{file.name}", aside / file.name, file.sha256)
            (aside / manifest.NAME).write_bytes(line)
            (aside / COPY).touch()
            _place(aside, path)
            if time.monotonic() - self._tidied_at > self._tidy_seconds:
                self.tidy()
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def _download_file(self, path: str, to: Path, sha256: str) -> None:
        digest = hashlib.sha256()
        try:
            stat = self._bucket.stat(path)
            with to.open("wb") as out:
                for data in self._bucket.iter_bytes(path, stat):
                    self._look()
                    digest.update(data)
                    out.write(data)
        except NoSuchObject:
            raise FolderDamaged(f"{path} is missing in the storage; use an earlier checkpoint") from None
        if digest.hexdigest() != sha256:
            raise FolderDamaged(f"{path} has SHA-256 {digest.hexdigest()[:12]}… in the storage, its manifest says "
                                f"{sha256[:12]}…; use an earlier checkpoint")

    def _manifest_bytes(self, key: str) -> bytes:
        try:
            return self._bucket.read(f"{self._checked(key)}/{manifest.NAME}")
        except NoSuchObject:
            raise FolderDamaged(f"{key} has no {manifest.NAME} in the storage; use an earlier checkpoint") from None

    def _checked(self, key: str) -> str:
        self.path(key)
        return key


def _is_used_since(folder: Path, looked_at: float) -> bool:
    """Whether somebody came to use a folder while others were measured and dropped."""
    with contextlib.suppress(OSError):
        return folder.stat().st_mtime != looked_at
    return True


def _place(folder: Path, target: Path) -> None:
    """Give a whole folder its name; where another made one meanwhile, that one stays."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.replace(folder, target)
    except OSError:
        if not (target / manifest.NAME).is_file():
            raise
        shutil.rmtree(folder, ignore_errors=True)

