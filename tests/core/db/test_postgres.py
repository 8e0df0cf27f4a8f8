"""A transaction, a lock or a connection that falls silent keeps nobody for ever."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, OperationalError

from core.db.away import is_database_away
from core.db.migrate import ADVISORY_LOCK
from core.db.patience import Patience
from core.db.session import Ledger
from tests.core.db.silence import silent_way

LOCK = text("SELECT pg_advisory_xact_lock(:key)").bindparams(key=ADVISORY_LOCK)


@contextmanager
def patient(url: str, *, hold: float = 60.0, answer: float = 60.0) -> Iterator[Ledger]:
    ledger = Ledger(url, pool_size=2, patience=Patience(hold, answer))
    try:
        yield ledger
    finally:
        ledger.close()


def test_a_writer_that_falls_silent_in_its_transaction_lets_its_locks_go(postgres_url: str) -> None:
    def hold_while_another_asks() -> None:
        with frozen.write() as session:
            session.execute(LOCK)
            with other.write() as waiting:
                waiting.execute(LOCK)  # gets it, though the one before never ends by itself
            session.execute(text("SELECT 1"))

    with patient(postgres_url, hold=0.3) as frozen, patient(postgres_url) as other, pytest.raises(DBAPIError) as met:
        hold_while_another_asks()
    assert is_database_away(met.value)


def test_a_reader_may_rest_in_its_transaction(postgres_url: str) -> None:
    with patient(postgres_url, hold=0.2) as ledger, ledger.read() as session:
        session.execute(text("SELECT 1"))
        with ledger.write() as other:
            other.execute(text("SELECT pg_sleep(0.6)"))
        assert session.execute(text("SELECT 1")).scalar_one() == 1


def test_a_lock_that_another_keeps_is_not_waited_for_without_end(postgres_url: str) -> None:
    with patient(postgres_url) as keeps, patient(postgres_url, hold=0.2) as waits, keeps.write() as session:
        session.execute(LOCK)
        with pytest.raises(OperationalError) as met, waits.write() as other:
            other.execute(LOCK)
    assert is_database_away(met.value)


def test_a_server_that_gives_no_answer_is_left_and_asked_again_by_another_connection(postgres_url: str) -> None:
    def ask_into_silence() -> None:
        with ledger.read() as session:
            session.execute(text("SELECT 1"))
            way.silence()
            session.execute(text("SELECT 2"))

    with silent_way(postgres_url) as way, patient(way.url, answer=1.5) as ledger:
        with pytest.raises(OperationalError, match="gave no answer") as met:
            ask_into_silence()
        assert is_database_away(met.value)
        with ledger.read() as session:
            assert session.execute(text("SELECT 3")).scalar_one() == 3


def test_a_connection_that_fell_silent_while_it_rested_is_replaced_unseen(postgres_url: str) -> None:
    with silent_way(postgres_url) as way, patient(way.url, answer=1.5) as ledger:
        with ledger.read() as session:
            session.execute(text("SELECT 1"))
        way.silence()
        with ledger.read() as session:
            assert session.execute(text("SELECT 2")).scalar_one() == 2


def test_the_address_of_the_database_may_say_otherwise(postgres_url: str) -> None:
    with patient(f"{postgres_url}&connect_timeout=3") as ledger, ledger.engine.connect() as connection:
        told = connection.connection.driver_connection.info.get_parameters()  # pyright: ignore[reportOptionalMemberAccess]
    assert (told["connect_timeout"], told["tcp_user_timeout"]) == ("3", "8000")
