from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import text
from sqlalchemy.exc import StatementError

from core.db.session import Ledger, database_now
from core.errors import NotFound
from core.projects.models import Project
from core.projects.repository import get_project
from tests.factories import NOW, a_project
from tests.waiting import PATIENCE_SECONDS


def test_write_commits_and_an_error_rolls_back(ledger: Ledger):
    with ledger.write() as session:
        a_project(session, "kept")
    with pytest.raises(NotFound), ledger.write() as session:
        get_project(session, a_project(session, "lost").id + "x")
    with ledger.read() as session:
        assert [p.name for p in session.query(Project)] == ["kept"]


def test_times_come_back_aware_and_in_utc(ledger: Ledger):
    east = timezone(timedelta(hours=5))
    with ledger.write() as session:
        project = a_project(session)
        project.served_at = NOW.astimezone(east)
    with ledger.read() as session:
        served = session.get_one(Project, project.id).served_at
    assert served is not None
    assert (served, served.tzinfo) == (NOW, UTC)


def test_time_without_zone_is_refused(ledger: Ledger):
    with ledger.write() as session:
        a_project(session)
    with pytest.raises(StatementError, match="has no time zone"), ledger.write() as session:
        session.query(Project).one().served_at = datetime(2026, 1, 1)


def test_database_s_clock_is_near_ours(ledger: Ledger):
    with ledger.read() as session:
        assert abs((database_now(session) - datetime.now(UTC)).total_seconds()) < 5


def test_reader_does_not_wait_for_a_writer(ledger: Ledger):
    with ledger.write() as session:
        a_project(session, "before")
    with ledger.write() as writing:
        a_project(writing, "during")
        with ledger.read() as reading:
            assert [p.name for p in reading.query(Project)] == ["before"]


def test_second_writer_waits_for_the_first(sqlite_ledger: Ledger):
    began, order = threading.Event(), []

    def second() -> None:
        began.set()
        with sqlite_ledger.write() as session:
            a_project(session, "second")
            order.append("second")

    with sqlite_ledger.write() as session:
        a_project(session, "first")
        thread = threading.Thread(target=second)
        thread.start()
        began.wait(PATIENCE_SECONDS)
        thread.join(0.1)
        order.append("first")
    thread.join(PATIENCE_SECONDS)
    assert order == ["first", "second"]


@pytest.mark.parametrize("durability, level", [("FULL", 2), ("NORMAL", 1)])
def test_every_sqlite_connection_is_set_up(sqlite_url: str, durability, level: int):
    ledger = Ledger(sqlite_url, durability=durability, pool_size=2)
    with ledger.read() as one, ledger.read() as two:
        for session in (one, two):
            names = ("journal_mode", "synchronous", "foreign_keys")
            told = [session.execute(text(f"PRAGMA {name}")).scalar_one() for name in names]
            assert told == ["wal", level, 1]
    ledger.close()
