"""An upkeep worker's desk, and slots that work off what is due, in the process of the test."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from sqlalchemy import select

from core.clock import system_clock
from core.datasets.models import DatasetVersion
from core.db.session import Ledger
from core.jobs.models import Job
from core.settings import Settings
from core.storage.artifacts import Artifacts
from tests import factories
from worker.kinds import KINDS
from worker.upkeep import Desk, Slots


class Bench:
    """A desk, and slots that work off what is due."""

    def __init__(self, ledger: Ledger, folder: Path, **settings) -> None:
        told = {"home": folder, "min_free_bytes": 0, **settings}
        self.ledger, self.rung, self.wakes = ledger, [], []
        self.desk = Desk(ledger, Artifacts(folder / "storage"), Settings(**told), self.rung.append,
                         lambda: self.wakes.append(1), system_clock)

    def work(self) -> None:
        slots = Slots(self.desk, KINDS, holder="me", count=1, heard=threading.Event())
        idle = 0
        while idle < 2:
            idle = 0 if slots.take_one() else idle + 1
            time.sleep(0.002)  # SQLite's clock counts milliseconds: what is due now is found by the next look

    def stored(self, content: bytes, *, filename: str = "chats.jsonl") -> str:
        """A file of the project, bytes and row."""
        with self.ledger.write() as session:
            file = factories.a_file(session, filename=filename, now=system_clock())
            path = self.desk.artifacts.new_temporary()
            path.write_bytes(content)
            self.desk.artifacts.publish(path, file.storage_key)
            file.bytes = len(content)
            return file.id

    def submitted(self, file_id: str, **fields) -> Job:
        with self.ledger.write() as session:
            return factories.a_job(session, training_file=file_id, now=system_clock(), **fields)

    def read(self, kind, key: str):
        with self.ledger.read() as session:
            return session.get_one(kind, key)

    def version_of(self, file_id: str) -> DatasetVersion:
        with self.ledger.read() as session:
            return session.scalars(select(DatasetVersion).where(DatasetVersion.file_id == file_id)).one()
