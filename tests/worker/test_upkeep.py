from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from sqlalchemy import select

from core.chores import service as chores
from core.chores.models import Chore
from core.clock import system_clock
from core.db.session import Ledger
from core.errors import LeaseLost, RunInterrupted
from core.settings import Settings
from core.storage.artifacts import Artifacts
from tests import factories
from tests.waiting import PATIENCE_SECONDS, wait_for
from tests.worker.away_ledger import AwayLedger
from worker.upkeep import Desk, Slots, Work, held

KIND = "test_chore"


def a_desk(ledger: Ledger, folder: Path, *, lease: float = 3.0) -> Desk:
    settings = Settings(home=folder, lease_seconds=lease, min_free_bytes=0)
    return Desk(ledger, Artifacts(folder / "storage"), settings, lambda job: None, lambda: None, system_clock)


def a_slot(desk: Desk, do: Callable[[Desk, Chore, threading.Event], None], given_up: list[dict] | None = None) -> Slots:
    causes = given_up if given_up is not None else []
    work = Work(do, lambda desk, session, chore, cause: causes.append(cause))
    return Slots(desk, {KIND: work}, holder="me", count=1, heard=threading.Event())


def add(ledger: Ledger, kind: str = KIND) -> None:
    with ledger.write() as session:
        chores.add(session, kind, "subject", now=system_clock())


def the_chore(ledger: Ledger) -> Chore:
    with ledger.read() as session:
        return session.scalars(select(Chore)).one()


def due_now(ledger: Ledger) -> None:
    with ledger.write() as session:
        session.scalars(select(Chore)).one().not_before = system_clock() - timedelta(seconds=1)


def finish(desk: Desk, chore: Chore, must_stop: threading.Event) -> None:
    with desk.ledger.write() as session:
        chores.finish(session, chore, desk.clock())


def raise_fault(desk: Desk, chore: Chore, must_stop: threading.Event) -> None:
    raise RunInterrupted("the disk is full")


def test_a_chore_is_done_once(ledger: Ledger, tmp_path: Path) -> None:
    add(ledger)
    slot = a_slot(a_desk(ledger, tmp_path), finish)
    assert [slot.take_one(), slot.take_one()] == [True, False]
    assert the_chore(ledger).state == "done"


def test_a_chore_that_raises_is_tried_again_later(ledger: Ledger, tmp_path: Path) -> None:
    add(ledger)
    a_slot(a_desk(ledger, tmp_path), raise_fault).take_one()
    chore = the_chore(ledger)
    assert (chore.state, (chore.error or {})["message"]) == ("waiting", "the disk is full")
    assert chore.not_before > system_clock()


def test_a_poison_chore_is_given_up_after_three_attempts_and_its_subject_hears_why(ledger: Ledger, tmp_path: Path) -> None:
    add(ledger)
    causes: list[dict] = []
    slot = a_slot(a_desk(ledger, tmp_path), raise_fault, causes)
    for _ in range(3):
        due_now(ledger)
        assert slot.take_one()
    assert the_chore(ledger).state == "failed"
    assert causes == [{"code": "run_interrupted", "message": "the disk is full"}]
    assert not slot.take_one()


def test_a_chore_that_kills_its_worker_is_given_up_too(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    add(sqlite_ledger)
    for _ in range(3):
        with sqlite_ledger.write() as session:
            chores.claim(session, "a worker that dies", 0.0)
        time.sleep(0.01)
    causes: list[dict] = []
    a_slot(a_desk(sqlite_ledger, tmp_path), finish, causes).take_one()
    assert the_chore(sqlite_ledger).state == "failed"
    assert "ended the worker" in causes[0]["message"]


def test_a_chore_of_an_unknown_kind_is_given_up(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    add(sqlite_ledger, "of_another_release")
    a_slot(a_desk(sqlite_ledger, tmp_path), finish).take_one()
    assert the_chore(sqlite_ledger).state == "failed"


def test_a_long_chore_keeps_its_lease(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    add(sqlite_ledger)
    desk = a_desk(sqlite_ledger, tmp_path, lease=1.0)

    def work_long(desk: Desk, chore: Chore, must_stop: threading.Event) -> None:
        time.sleep(2.5)
        assert not must_stop.is_set()
        with desk.ledger.write() as session:
            assert chores.claim(session, "a thief", 1.0) is None
        finish(desk, chore, must_stop)

    a_slot(desk, work_long).take_one()
    assert the_chore(sqlite_ledger).state == "done"


def test_work_whose_chore_was_lost_is_told_to_stop(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    add(sqlite_ledger)
    desk = a_desk(sqlite_ledger, tmp_path, lease=1.0)
    with sqlite_ledger.write() as session:
        chore = chores.claim(session, "me", 1.0)
    assert chore is not None
    with sqlite_ledger.write() as session:
        chores.finish(session, chore, factories.NOW)
    with held(desk, chore, threading.Event()) as must_stop:
        assert must_stop.wait(PATIENCE_SECONDS)


def test_slots_work_when_nobody_rings(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    with a_slot(a_desk(sqlite_ledger, tmp_path), finish):
        time.sleep(0.1)
        add(sqlite_ledger)
        wait_for(lambda: the_chore(sqlite_ledger).state == "done")


def test_orderly_stops_in_the_middle_of_a_chore_count_as_no_attempt(ledger: Ledger, tmp_path: Path) -> None:
    add(ledger)
    began = threading.Event()

    def work_until_stopped(desk: Desk, chore: Chore, must_stop: threading.Event) -> None:
        began.set()
        must_stop.wait()
        raise LeaseLost("the indexing was stopped")

    for _ in range(4):
        began.clear()
        with a_slot(a_desk(ledger, tmp_path), work_until_stopped):
            assert began.wait(PATIENCE_SECONDS)
        assert (the_chore(ledger).state, the_chore(ledger).attempts) == ("waiting", 0)


def test_a_ledger_that_goes_away_in_the_middle_of_a_chore_counts_as_no_attempt(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    add(sqlite_ledger)
    away = AwayLedger(sqlite_ledger)
    desk = replace(a_desk(sqlite_ledger, tmp_path), ledger=away)

    def meet_an_outage(desk: Desk, chore: Chore, must_stop: threading.Event) -> None:
        away.is_away.set()
        threading.Timer(0.1, away.is_away.clear).start()
        with desk.ledger.write():
            pass

    slot = a_slot(desk, meet_an_outage)
    for _ in range(4):
        assert slot.take_one()
        assert (the_chore(sqlite_ledger).state, the_chore(sqlite_ledger).attempts) == ("waiting", 0)
        due_now(sqlite_ledger)


def test_long_chores_leave_a_slot_for_short_ones(ledger: Ledger, tmp_path: Path) -> None:
    with ledger.write() as session:
        for subject in ("one", "two", "three"):
            chores.add(session, "long", subject, now=factories.NOW)
    add(ledger)
    began, is_done, may_end = threading.Semaphore(0), threading.Event(), threading.Event()

    def last_long(desk: Desk, chore: Chore, must_stop: threading.Event) -> None:
        began.release()
        may_end.wait(PATIENCE_SECONDS)
        finish(desk, chore, must_stop)

    def be_short(desk: Desk, chore: Chore, must_stop: threading.Event) -> None:
        finish(desk, chore, must_stop)
        is_done.set()

    kinds = {"long": Work(last_long, lambda *told: None, is_long=True), KIND: Work(be_short, lambda *told: None)}
    with Slots(a_desk(ledger, tmp_path), kinds, holder="me", count=2, heard=threading.Event()):
        assert began.acquire(timeout=PATIENCE_SECONDS)
        assert is_done.wait(PATIENCE_SECONDS), "the short chore waits behind no long one"
        assert not began.acquire(blocking=False)
        may_end.set()
