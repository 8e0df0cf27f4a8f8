"""A folder's manifest: the name, size and SHA-256 of each of its files, written last.

A folder with a manifest that agrees with its files is whole; anything else is debris of a process that died while it wrote.
`seal` makes the files durable, then the manifest, then the folder's own entries; `verify` reads every byte again. Names are
plain file names: a manifest that points out of its folder is refused. Cost: one read of all bytes, either way.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from core.errors import RunInterrupted, shown

NAME = "manifest.json"


@dataclass(frozen=True)
class ManifestFile:
    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    files: tuple[ManifestFile, ...]
    digest: str
    """SHA-256 of the manifest's own bytes: it names the folder's content."""

    @property
    def bytes(self) -> int:
        return sum(f.bytes for f in self.files)


class FolderDamaged(RunInterrupted):
    """A folder does not hold what its manifest says."""

    code = "checkpoint_damaged"


def seal(folder: Path) -> Manifest:
    """Make every file of `folder` durable and write its manifest; nothing may be added to it afterwards."""
    files = tuple(_measure(path) for path in sorted(folder.iterdir()) if path.name != NAME and not path.name.startswith("."))
    line = told(files)
    with open(folder / NAME, "wb") as out:
        out.write(line)
        out.flush()
        os.fsync(out.fileno())
    sync_folder(folder)
    return Manifest(files, hashlib.sha256(line).hexdigest())


def told(files: Sequence[ManifestFile]) -> bytes:
    """Write down what a folder holds, as its manifest does."""
    files_told = [{"name": f.name, "bytes": f.bytes, "sha256": f.sha256} for f in files]
    return orjson.dumps({"version": 1, "files": files_told}, option=orjson.OPT_INDENT_2) + b"\n"


def read(folder: Path) -> Manifest:
    """Read a manifest without looking at the files it names.

    Raises FolderDamaged where there is none, or where it cannot be read.
    """
    path = folder / NAME
    try:
        return parse(path.read_bytes(), str(path))
    except FileNotFoundError:
        raise FolderDamaged(f"{folder} has no {NAME}, so it was never finished; use an earlier checkpoint") from None


def parse(line: bytes, path: str) -> Manifest:
    """Take a manifest's bytes apart; raise FolderDamaged, which names `path`, for what is none."""
    try:
        files = tuple(ManifestFile(f["name"], f["bytes"], f["sha256"]) for f in orjson.loads(line)["files"])
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise FolderDamaged(f"{path} cannot be read ({error}); use an earlier checkpoint") from error
    for file in files:
        if not isinstance(file.name, str) or file.name != os.path.basename(file.name) or file.name in ("", ".", "..", NAME):
            raise FolderDamaged(f"{path} names {shown(file.name)}, which is not a plain file name; "
                                "use an earlier checkpoint")
    return Manifest(files, hashlib.sha256(line).hexdigest())


def verify(folder: Path, digest: str | None = None) -> Manifest:
    """Compare every file with the manifest, and the manifest with `digest` where one is known.

    Raises FolderDamaged, naming the first file that differs and both values.
    """
    manifest = read(folder)
    if digest is not None and digest != manifest.digest:
        raise FolderDamaged(f"the manifest of {folder} has digest {manifest.digest[:12]}…, the ledger says {digest[:12]}…; "
                            "use an earlier checkpoint")
    for expected in manifest.files:
        _compare(folder, expected)
    return manifest


def sync_folder(folder: Path) -> None:
    """Make the entries of a folder (names made, renamed, removed) durable."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _compare(folder: Path, expected: ManifestFile) -> None:
    path = folder / expected.name
    if path.is_symlink() or not path.is_file():
        raise FolderDamaged(f"{path} is missing, the manifest expects {expected.bytes} bytes; use an earlier checkpoint")
    size = path.stat().st_size
    if size != expected.bytes:
        raise FolderDamaged(f"{path} has {size} bytes, the manifest says {expected.bytes}; use an earlier checkpoint")
    found = file_digest(path)
    if found != expected.sha256:
        raise FolderDamaged(f"{path} has SHA-256 {found[:12]}…, the manifest says {expected.sha256[:12]}…; "
                            "use an earlier checkpoint")


def _measure(path: Path) -> ManifestFile:
    digest = file_digest(path)
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        return ManifestFile(path.name, os.fstat(file.fileno()).st_size, digest)


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
