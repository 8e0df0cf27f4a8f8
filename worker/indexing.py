"""Indexing a data set version: its files are listed, then indexed one by one, then joined into one report.

Each pass is a process of its own and writes aside; an index and its frames are published by rename before their shard's row
says so, and each shard is settled for good. So a chore that is done again after a kill goes on with the file that was being
read, and a version that was appended to has only its new files read.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import orjson
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.chores import service as chores
from core.chores.models import Chore
from core.data.index import DatasetIndex, merge_reports
from core.data.spec import Places
from core.datasets import service as datasets
from core.datasets.models import Dataset, DatasetShard, DatasetVersion
from core.datasets.shards import content_digest
from core.errors import ConfigurationError, DataError, RunInterrupted, StorageAway
from core.files.models import StoredFile
from core.places import readable
from core.projects.repository import get_project
from core.storage.artifacts import file_key
from worker.away import is_away
from worker.passes import run_pass
from worker.upkeep import Desk

PROGRESS_SECONDS = 1.0
MOST_UNPACKED = 16
"""A compressed file may hold so many times the bytes that an upload may have."""


def index_version(desk: Desk, chore: Chore, must_stop: threading.Event) -> None:
    """Index the version that the chore names; a version that is gone or settled ends the chore."""
    version = _load(desk, chore.subject)
    if version is None or version.status != "indexing":
        return _finish(desk, chore)
    try:
        if not version.is_listed:
            version = _list(desk, chore, version, must_stop)
        for shard in version.shards:
            if not shard.is_indexed and _is_wanted(desk, version):
                _index_shard(desk, chore, version, shard, must_stop)
        return _settle(desk, chore, version.id) if _is_wanted(desk, version) else _finish(desk, chore)
    except DataError as error:
        return _fail(desk, chore, version.id, error)


def give_up_index(desk: Desk, session: Session, chore: Chore, cause: dict[str, Any]) -> None:
    datasets.fail_index(session, chore.subject, code=cause["code"], now=desk.clock(),
                        message=f"the file could not be indexed: {cause['message']}")


def _list(desk: Desk, chore: Chore, version: DatasetVersion, must_stop: threading.Event) -> DatasetVersion:
    """Look up what the version's pattern means now, and hold it fast."""
    place, pattern = version.place or "", version.pattern or ""
    told = run_pass("core.data.listing", [place, pattern], must_stop, places=_places(desk, place, version))
    names = _names([found["path"] for found in told["files"]])
    news = [datasets.NewShard(names[found["path"]], found["bytes"], place=place, path=found["path"], tag=found["tag"])
            for found in told["files"]]
    with desk.ledger.write() as session:
        chores.advance(session, chore, desk.settings.lease_seconds)
        datasets.settle_listing(session, version.id, news)
    found = _load(desk, version.id)
    assert found is not None
    return found


def _names(paths: list[str]) -> dict[str, str]:
    """Call each file by its last part, or by its path where two would have one name."""
    names = {path: PurePosixPath(path).name for path in paths}
    return names if len(set(names.values())) == len(names) else {path: path for path in paths}


def _index_shard(desk: Desk, chore: Chore, version: DatasetVersion, shard: DatasetShard, must_stop: threading.Event) -> None:
    desk.artifacts.require_space(0, desk.settings.min_free_bytes)
    aside = desk.artifacts.new_temporary()
    aside.mkdir()
    index, frames = aside / "index", aside / "frames"
    try:
        place = shard.place or desk.artifacts.place
        told = run_pass("core.data.register", _arguments(desk, version, shard, index, frames), must_stop,
                        places=_places(desk, place, version) if place else None, on_line=_noting(desk, version, shard))
        _publish(desk, chore, version, shard, told, index=index, frames=frames)
    except RunInterrupted as error:
        if shard.place is None and error.code == "place_unreachable":
            raise StorageAway(error.message) from error
        raise
    except DataError as error:
        where = "" if shard.name in error.message else f"file {shard.name!r}: "
        raise DataError(f"{where}{error.message}", code=error.code) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _arguments(desk: Desk, version: DatasetVersion, shard: DatasetShard, index: Path, frames: Path) -> list[str]:
    """What the pass is told: where the file is, what is known of it, and what the user said of its rows."""
    if shard.place is not None:
        path, known = shard.path or "", ["--place", shard.place]
    else:
        key, place = file_key(shard.file_id or ""), desk.artifacts.place
        path = key if place else str(desk.artifacts.path(key))
        known = ["--sha256", _digest_of(desk, shard), *(["--place", place] if place else [])]
    shape = ["--shape", version.asked_shape] if version.asked_shape else []
    columns = ["--columns", orjson.dumps(version.columns).decode()] if version.columns else []
    most = ["--most-text-bytes", str(desk.settings.max_file_bytes * MOST_UNPACKED)]
    return [path, str(index), "--name", shard.name, "--frames", str(frames), *known, *shape, *columns, *most]


def _digest_of(desk: Desk, shard: DatasetShard) -> str:
    """The file's digest, reckoned while it was uploaded."""
    with desk.ledger.read() as session:
        return session.get_one(StoredFile, shard.file_id).sha256


def _noting(desk: Desk, version: DatasetVersion, shard: DatasetShard) -> Callable[[dict[str, Any]], None]:
    """Show now and then how far the pass is, and stop it before the disk is full."""
    noted_at = time.monotonic()
    before = sum(other.bytes for other in version.shards if other.number < shard.number)

    def note(told: dict[str, Any]) -> None:
        nonlocal noted_at
        if "bytes_done" not in told or time.monotonic() - noted_at < PROGRESS_SECONDS:
            return
        noted_at = time.monotonic()
        desk.artifacts.require_space(0, desk.settings.min_free_bytes)
        try:
            with desk.ledger.write() as session:
                datasets.note_progress(session, version.id, progress_bytes=before + told["bytes_done"])
        except Exception as error:
            if not is_away(error):  # else the pass goes on, and shows later how far it is
                raise

    return note


def _publish(desk: Desk, chore: Chore, version: DatasetVersion, shard: DatasetShard, told: dict[str, Any], *, index: Path,
             frames: Path) -> None:
    with desk.ledger.write() as session:
        chores.renew(session, chore, desk.settings.lease_seconds)  # nobody else publishes from here on
    keys = {name: desk.artifacts.attempt_key(key, chore.fence) for name, key in (("frames_key", shard.frames_key),
                                                                                ("index_key", shard.index_key))}
    for aside, key in zip((frames, index), keys.values(), strict=True):
        desk.artifacts.delete(key)
        if aside.exists():
            desk.artifacts.publish(aside, key)
    with desk.ledger.write() as session:
        chores.advance(session, chore, desk.settings.lease_seconds)
        datasets.settle_shard(session, version.id, shard.number, report=told["report"], bytes=told.get("bytes"),
                              tag=told.get("tag") or "" if shard.place else "", **keys)


def _settle(desk: Desk, chore: Chore, version_id: str) -> None:
    """Join what was found in all files, and end the chore with it."""
    version = _load(desk, version_id)
    assert version is not None
    digest = content_digest([shard.digest or "" for shard in version.shards])
    index = DatasetIndex.open(*(desk.artifacts.fetch(shard.index_key) for shard in version.shards))
    report = merge_reports([shard.name for shard in version.shards], index, digest=digest).to_json()
    with desk.ledger.write() as session:
        datasets.settle_index(session, version_id, report=report, now=desk.clock())
        chores.finish(session, chore, desk.clock())


def _fail(desk: Desk, chore: Chore, version_id: str, error: DataError) -> None:
    with desk.ledger.write() as session:
        datasets.fail_index(session, version_id, code=error.code, message=error.message, now=desk.clock())
        chores.finish(session, chore, desk.clock())


def _is_wanted(desk: Desk, version: DatasetVersion) -> bool:
    """False once the data set was deleted. Asked before each file, so it reads no other file's row."""
    with desk.ledger.read() as session:
        return session.scalar(select(DatasetVersion.status).where(DatasetVersion.id == version.id)) == "indexing"


def _load(desk: Desk, version_id: str) -> DatasetVersion | None:
    with desk.ledger.read() as session:
        return session.get(DatasetVersion, version_id)


def _places(desk: Desk, name: str, version: DatasetVersion) -> Places:
    """What opens one place, as the operator's file has it now; nothing where it is not open to the version's project."""
    with desk.ledger.read() as session:
        project = get_project(session, session.get_one(Dataset, version.dataset_id).project_id).name
    try:
        return readable(desk.settings).of_project(project).only([name])
    except ConfigurationError as error:
        raise RunInterrupted(error.message, code=error.code) from error


def _finish(desk: Desk, chore: Chore) -> None:
    with desk.ledger.write() as session:
        chores.finish(session, chore, desk.clock())


