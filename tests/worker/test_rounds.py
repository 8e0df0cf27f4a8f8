"""Rounds by the clock: each is done by one process, and a holder that is gone is followed within its lease."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from sqlalchemy import update
from sqlalchemy.orm import Session

from core.db.session import Ledger, database_now
from core.workers import service as workers
from core.workers.models import RoleLease
from tests.waiting import PATIENCE_SECONDS, wait_for
from worker.rounds import ROLE, After, Round, Rounds


class Hands:
    """A clock that is turned, and what was done by whom."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.now = 0.0
        self.done: list[str] = []

    def rounds(self, holder: str, *, every: float = 10.0, lease: float = 30.0, name: str = "count") -> Rounds:
        def work(session: Session) -> None:
            self.done.append(holder)

        return Rounds(self._ledger, [Round(name, every, work)], holder=holder, lease_seconds=lease, clock=lambda: self.now)

    def lapse(self) -> None:
        """Let the lease on the role end, as its holder renews it no more."""
        with self._ledger.write() as session:
            past = database_now(session) - timedelta(seconds=1)
            session.execute(update(RoleLease).where(RoleLease.role == ROLE).values(lease_until=past))


def test_a_round_is_done_at_its_time_and_not_before(ledger: Ledger) -> None:
    hands = Hands(ledger)
    one = hands.rounds("one")
    for hands.now in (0.0, 1.0, 9.9, 10.0, 11.0, 20.0):
        one.look()
    assert hands.done == ["one"] * 3


def test_of_two_upkeeps_one_does_the_round(ledger: Ledger) -> None:
    hands = Hands(ledger)
    one, other = hands.rounds("one"), hands.rounds("other")
    for hands.now in (0.0, 10.0, 20.0):
        one.look()
        other.look()
    assert hands.done == ["one"] * 3


def test_of_many_at_the_same_moment_one_does_the_round(ledger: Ledger) -> None:
    hands = Hands(ledger)
    every = [hands.rounds(f"holder-{n}") for n in range(6)]
    start = threading.Barrier(len(every))

    def look(rounds: Rounds) -> list[str]:
        start.wait(PATIENCE_SECONDS)
        return rounds.look()

    with ThreadPoolExecutor(len(every)) as pool:
        found = list(pool.map(look, every))
    assert sorted(found) == [[]] * 5 + [["count"]]
    assert len(hands.done) == 1


def test_a_killed_holder_is_followed_as_soon_as_its_lease_is_over(ledger: Ledger) -> None:
    hands = Hands(ledger)
    one, other = hands.rounds("one"), hands.rounds("other")
    one.look()
    assert other.look() == []
    hands.lapse()
    assert other.look() == ["count"]
    hands.now = 10.0
    assert one.look() == []  # it comes back, and finds itself followed
    assert hands.done == ["one", "other"]


def test_a_killed_holder_is_followed_within_its_lease_by_the_clock(sqlite_ledger: Ledger) -> None:
    hands = Hands(sqlite_ledger)
    hands.rounds("one", lease=0.5).look()
    other = hands.rounds("other", lease=0.5)
    wait_for(other.look)


def test_a_holder_that_stops_lets_go_at_once(ledger: Ledger) -> None:
    hands = Hands(ledger)
    with (one := hands.rounds("one")):
        one.look()
    assert hands.rounds("other").look() == ["count"]


def test_what_a_round_wrote_is_lost_when_it_raises_and_the_others_are_done(ledger: Ledger) -> None:
    done: list[str] = []

    def broken(session: Session) -> After:
        workers.announce(session, worker_id="wrk_1", host="h", pid=1, queue="train", version="1")
        raise ValueError("no")

    rounds = Rounds(ledger, [Round("broken", 1.0, broken), Round("sound", 1.0, lambda session: done.append("sound"))],
                    holder="me", lease_seconds=30.0, clock=lambda: 5.0)
    assert rounds.look() == ["sound"]
    assert done == ["sound"]
    with ledger.read() as session:
        assert workers.alive(session) == []


def test_what_is_left_to_do_is_done_after_the_commit(ledger: Ledger) -> None:
    seen: list[bool] = []

    def work(session: Session) -> Callable[[], None]:
        workers.announce(session, worker_id="wrk_2", host="h", pid=1, queue="train", version="1")

        def after() -> None:
            with ledger.read() as reading:
                seen.append(any(worker.id == "wrk_2" for worker in workers.alive(reading)))
        return after

    Rounds(ledger, [Round("announce", 1.0, work)], holder="me", lease_seconds=30.0).look()
    assert seen == [True]
