"""The ledger's engine and its transactions.

SQLite runs in WAL mode; every writing transaction begins IMMEDIATE, since a read that turns into a write is refused at once
under contention, whatever the busy timeout. `synchronous` is FULL where a client is promised something (the API) and NORMAL in
workers, whose lost last second is trained again. PostgreSQL is left as it is configured, but for how long each end waits for
the other (`core/db/postgres.py`).
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Literal

import orjson
from sqlalchemy import Engine, create_engine, event, func, select, text
from sqlalchemy.orm import Session, sessionmaker

from core.db.patience import PATIENCE, Patience

Durability = Literal["FULL", "NORMAL"]

BUSY_SECONDS = 30
POOL_SIZE = 40
"""As many as the threads that FastAPI runs handlers in."""


class Ledger:
    """Gives transactions on one database. Safe to share between threads; open it again after a fork."""

    def __init__(self, url: str, *, durability: Durability = "FULL", pool_size: int = POOL_SIZE,
                 patience: Patience | None = PATIENCE) -> None:
        self.engine = build_engine(url, durability=durability, pool_size=pool_size, patience=patience)
        self._write = sessionmaker(self.engine, expire_on_commit=False)
        self._read = sessionmaker(self.engine.execution_options(headrace_reads=True), expire_on_commit=False)

    @contextmanager
    def write(self) -> Iterator[Session]:
        """One writing transaction: committed at the end, rolled back on any error."""
        with self._write.begin() as session:
            yield session

    @contextmanager
    def read(self) -> Iterator[Session]:
        """One reading transaction; on SQLite it holds no lock that a writer waits for."""
        with self._read.begin() as session:
            yield session

    def close(self) -> None:
        self.engine.dispose()


def build_engine(url: str, *, durability: Durability, pool_size: int, patience: Patience | None = None) -> Engine:
    shared = {"pool_size": pool_size, "max_overflow": 0, "json_serializer": write_json, "json_deserializer": orjson.loads}
    if not url.startswith("sqlite"):
        from core.db import postgres  # its driver takes megabytes, which a server on SQLite does without

        return postgres.build(url, patience, **shared)
    engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False}, **shared)

    @event.listens_for(engine, "connect")
    def prepare(connection, _record) -> None:
        connection.isolation_level = None  # the driver begins nothing by itself; `begin` below does
        cursor = connection.cursor()
        _enter_wal(cursor)
        cursor.execute(f"PRAGMA synchronous={durability}")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute(f"PRAGMA busy_timeout={BUSY_SECONDS * 1000}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection) -> None:
        reads = connection.get_execution_options().get("headrace_reads", False)
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine


def _enter_wal(cursor: Any) -> None:
    """Switch to WAL; SQLite does not wait by itself for another process that does the same at this moment."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def write_json(value: Any) -> str:
    """Write a document's text; a number that is not finite becomes null, since JSON has none and PostgreSQL refuses it."""
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()


def database_now(session: Session) -> datetime:
    """Read the database's clock: one for all hosts, and so the clock of leases."""
    if session.get_bind().dialect.name == "sqlite":
        stamp = session.execute(text("SELECT (julianday('now') - 2440587.5) * 86400.0")).scalar_one()
        return datetime.fromtimestamp(stamp, UTC)
    return session.execute(text("SELECT clock_timestamp()")).scalar_one().astimezone(UTC)


def wait_at_most(session: Session, seconds: float) -> None:
    """Wait for any lock no longer than so, until the transaction ends. On SQLite the wait was at the begin, and is over."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.set_config("lock_timeout", f"{seconds * 1000:.0f}", True)))
