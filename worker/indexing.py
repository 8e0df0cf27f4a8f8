"""Indexing a data set version: one pass by a process of its own, its report into the ledger.

The pass writes aside; the index is published by rename before its row says ready. A chore that is done again after a kill
finds the version still indexing and replaces what an earlier attempt published.
"""

from __future__ import annotations

import os
import selectors
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy.orm import Session

from core.chores import service as chores
from core.chores.models import Chore
from core.datasets import service as datasets
from core.datasets.models import DatasetVersion
from core.errors import HeadraceError, LeaseLost, RunInterrupted
from core.storage.artifacts import file_key, index_key
from worker.link import ROOT, child_environment
from worker.upkeep import Desk

PROGRESS_SECONDS = 1.0
TOLD_ELSEWHERE = {"storage_error"}
"""Codes of causes that are the machine's, not the file's: the chore is tried again."""


def index_version(desk: Desk, chore: Chore, must_stop: threading.Event) -> None:
    """Index the version that the chore names; a version that is gone or settled ends the chore."""
    with desk.ledger.read() as session:
        version = session.get(DatasetVersion, chore.subject)
    if version is None or version.status != "indexing":
        return _finish(desk, chore)
    desk.artifacts.require_space(0, desk.settings.min_free_bytes)
    aside = desk.artifacts.new_temporary()
    try:
        told = _run_pass(desk, version, desk.artifacts.path(file_key(version.file_id)), aside, must_stop)
        return _settle(desk, chore, version.id, told, aside)
    finally:
        shutil.rmtree(aside, ignore_errors=True) if aside.is_dir() else aside.unlink(missing_ok=True)


def give_up_index(desk: Desk, session: Session, chore: Chore, cause: dict[str, Any]) -> None:
    datasets.fail_index(session, chore.subject, code=cause["code"], now=desk.clock(),
                        message=f"the file could not be indexed: {cause['message']}")


def _settle(desk: Desk, chore: Chore, version_id: str, told: dict[str, Any], aside: Path) -> None:
    error, report = told.get("error"), told.get("report")
    if report is not None and datasets.is_usable(report):
        return _make_ready(desk, chore, version_id, report, aside)
    if error is not None and error["code"] in TOLD_ELSEWHERE:
        raise RunInterrupted(error["message"], code=error["code"])
    if error is None:
        error = {"code": "invalid_training_file", "message": _no_good_row(report or {})}
    with desk.ledger.write() as session:
        datasets.fail_index(session, version_id, code=error["code"], message=error["message"], now=desk.clock(),
                            report=_columns(report) if report is not None else None)
        chores.finish(session, chore, desk.clock())
    return None


def _make_ready(desk: Desk, chore: Chore, version_id: str, report: dict[str, Any], aside: Path) -> None:
    with desk.ledger.write() as session:
        chores.renew(session, chore, desk.settings.lease_seconds)  # nobody else publishes from here on
    desk.artifacts.delete(index_key(version_id))
    desk.artifacts.publish(aside, index_key(version_id))
    with desk.ledger.write() as session:
        datasets.settle_index(session, version_id, report=_columns(report), index_key=index_key(version_id), now=desk.clock())
        chores.finish(session, chore, desk.clock())


def _columns(report: dict[str, Any]) -> dict[str, Any]:
    """The report, with the names that the version's columns have."""
    return {**report, "digest": report["sha256"], "faulty_rows": report["faulty"]}


def _no_good_row(report: dict[str, Any]) -> str:
    faults = report.get("faults") or []
    first = "; ".join(fault["message"] for fault in faults[:3])
    return f"the file has no row that can be trained on ({report.get('rows', 0)} rows read{': ' + first if first else ''})"


def _run_pass(desk: Desk, version: DatasetVersion, path: Path, aside: Path, must_stop: threading.Event) -> dict[str, Any]:
    """Run the pass, showing its progress; give its last line. Raise LeaseLost when it must stop."""
    process = subprocess.Popen(
        [sys.executable, "-m", "core.data.register", str(path), str(aside), *_asked(version)], stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=child_environment(os.environ, {}), cwd=ROOT,
        start_new_session=True,
    )
    last: dict[str, Any] = {}
    noted_at = time.monotonic()
    try:
        for told in _lines(process, must_stop):
            last = told
            if "bytes_done" in told and time.monotonic() - noted_at >= PROGRESS_SECONDS:
                noted_at = time.monotonic()
                with desk.ledger.write() as session:
                    datasets.note_progress(session, version.id, progress_bytes=told["bytes_done"])
        code = process.wait()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()  # pyright: ignore[reportOptionalMemberAccess]
    if "report" not in last and "error" not in last:
        raise HeadraceError(f"the indexing process left with code {code} and no report")
    return last


def _asked(version: DatasetVersion) -> list[str]:
    """What the user said of the rows, as arguments."""
    shape = ["--shape", version.asked_shape] if version.asked_shape else []
    return [*shape, "--columns", orjson.dumps(version.columns).decode()] if version.columns else shape


def _lines(process: subprocess.Popen[bytes], must_stop: threading.Event) -> Iterator[dict[str, Any]]:
    """The process's lines as they come; raise LeaseLost as soon as the work must stop."""
    assert process.stdout is not None
    unread = b""
    with selectors.DefaultSelector() as ready:
        ready.register(process.stdout, selectors.EVENT_READ)
        while True:
            if must_stop.is_set():
                raise LeaseLost("the indexing was stopped; whoever holds its chore next begins it anew")
            if not ready.select(0.2):
                continue
            data = os.read(process.stdout.fileno(), 65536)
            if not data:
                return
            *lines, unread = (unread + data).split(b"\n")
            yield from (orjson.loads(line) for line in lines if line.strip())


def _finish(desk: Desk, chore: Chore) -> None:
    with desk.ledger.write() as session:
        chores.finish(session, chore, desk.clock())
