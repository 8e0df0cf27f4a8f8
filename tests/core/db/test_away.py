from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from core.db.away import is_database_away
from core.db.session import Ledger
from tests.factories import a_project


def told(work: Callable[[], object]) -> BaseException:
    with pytest.raises(SQLAlchemyError) as met:
        work()
    return met.value


def run(ledger: Ledger, statement: str) -> None:
    with ledger.write() as session:
        session.execute(text(statement))


def test_a_server_that_is_not_there_is_away() -> None:
    nowhere = Ledger("postgresql+psycopg://nobody@127.0.0.1:9/nothing", pool_size=1)
    assert is_database_away(told(lambda: run(nowhere, "SELECT 1")))


def test_a_file_that_cannot_be_opened_or_is_full_is_away(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    assert is_database_away(told(lambda: run(Ledger(f"sqlite:///{tmp_path / 'none' / 'here.db'}", pool_size=1), "SELECT 1")))

    def fill() -> None:
        with sqlite_ledger.write() as session:
            session.execute(text("PRAGMA max_page_count = 1"))
            session.execute(text("CREATE TABLE large AS SELECT randomblob(1000000)"))

    full = told(fill)
    assert "full" in str(full)
    assert is_database_away(full)


def test_two_who_wait_for_each_other_are_tried_again() -> None:
    from psycopg import errors

    for kind in (errors.DeadlockDetected, errors.SerializationFailure, errors.LockNotAvailable, errors.ReadOnlySqlTransaction,
                 errors.IdleInTransactionSessionTimeout, errors.AdminShutdown, errors.DiskFull):
        assert is_database_away(wrapped(kind("told by the server")))


def test_what_the_database_says_of_the_statement_or_its_values_is_an_answer(ledger: Ledger) -> None:
    with ledger.write() as session:
        project = a_project(session)
    assert not is_database_away(told(lambda: run(
        ledger, f"INSERT INTO projects SELECT * FROM projects WHERE id = '{project.id}'")))


def test_a_value_that_postgresql_refuses_is_an_answer(postgres_url: str) -> None:
    ledger = Ledger(postgres_url, pool_size=1)
    assert not is_database_away(told(lambda: run(ledger, "SELECT 'many'::int")))
    assert not is_database_away(told(lambda: run(ledger, "SELECT nothing FROM nowhere")))
    ledger.close()


def test_a_file_that_is_no_database_is_an_answer(tmp_path: Path) -> None:
    (tmp_path / "torn.db").write_bytes(b"no database " * 1000)
    assert not is_database_away(told(lambda: run(Ledger(f"sqlite:///{tmp_path / 'torn.db'}", pool_size=1), "SELECT 1")))
    assert not is_database_away(wrapped(sqlite3.DatabaseError("database disk image is malformed")))


def wrapped(error: Exception) -> BaseException:
    """As SQLAlchemy gives it on."""
    import psycopg

    return DBAPIError.instance("SELECT 1", {}, error, psycopg.Error if isinstance(error, psycopg.Error) else sqlite3.Error)
