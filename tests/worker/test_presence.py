from __future__ import annotations

import threading
from datetime import timedelta

from core.clock import system_clock
from core.db.session import Ledger
from core.workers import service as workers
from core.workers.models import Worker
from tests.waiting import PATIENCE_SECONDS, wait_for
from worker.presence import Identity, Presence


def row(ledger: Ledger, who: Identity) -> Worker:
    with ledger.read() as session:
        return session.get_one(Worker, who.worker_id)


def test_a_worker_is_alive_from_its_start_to_its_orderly_end(ledger: Ledger) -> None:
    who = Identity.fresh("train")
    with Presence(ledger, who, lease_seconds=30, stop=threading.Event()), ledger.read() as session:
        assert [w.id for w in workers.alive(session)] == [who.worker_id]
    with ledger.read() as session:
        assert workers.alive(session) == []
    assert row(ledger, who).stopped_at is not None


def test_a_worker_shows_again_and_again_that_it_lives(sqlite_ledger: Ledger) -> None:
    who = Identity.fresh("train")
    with Presence(sqlite_ledger, who, lease_seconds=0.3, stop=threading.Event()):
        first = row(sqlite_ledger, who).seen_at
        wait_for(lambda: row(sqlite_ledger, who).seen_at != first)


def test_a_worker_whose_row_is_gone_ends_itself(sqlite_ledger: Ledger) -> None:
    stop = threading.Event()
    with Presence(sqlite_ledger, Identity.fresh("train"), lease_seconds=0.3, stop=stop):
        with sqlite_ledger.write() as session:
            workers.forget_stopped(session, before=system_clock() + timedelta(days=1))
        assert stop.wait(PATIENCE_SECONDS)


def test_a_worker_says_why_it_takes_no_job_until_it_takes_them_again(ledger: Ledger) -> None:
    who = Identity.fresh("train")
    with Presence(ledger, who, lease_seconds=30, stop=threading.Event()) as presence:
        said = []
        for why in (None, "its disk is full", "its disk is fuller", None):
            presence.refuse(why)
            said.append(row(ledger, who).refusal)
    assert said == [None, "its disk is full", "its disk is full", None]


def test_each_start_has_a_name_of_its_own() -> None:
    assert Identity.fresh("train").worker_id != Identity.fresh("train").worker_id
