from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select

from core.chores import service as chores
from core.chores.models import Chore
from core.db.session import Ledger
from core.errors import LeaseLost
from tests.factories import NOW, later


def claimed(session, holder="w1", now=NOW) -> Chore:
    chore = chores.claim(session, holder, 30, now=now)
    assert chore is not None
    return chore


def test_asking_twice_is_one_chore(ledger: Ledger):
    with ledger.write() as session:
        chores.add(session, "index_version", "dsv_1", now=NOW)
        chores.add(session, "index_version", "dsv_1", now=NOW)
        claimed(session)
        chores.add(session, "index_version", "dsv_1", now=NOW)
        assert chores.claim(session, "w2", 30, now=NOW) is None


def test_chore_that_ended_is_opened_again_by_the_next_who_asks(ledger: Ledger):
    with ledger.write() as session:
        chores.add(session, "purge_file", "file-1", now=NOW)
        first = claimed(session)
        chores.fail(session, first, NOW, {"code": "x", "message": "y"})
        chores.add(session, "purge_file", "file-1", now=later(1))
        again = claimed(session, now=later(1))
        assert (again.attempts, again.fence, again.error) == (1, 2, None)


def test_longest_wait_goes_first_and_the_future_waits(ledger: Ledger):
    with ledger.write() as session:
        chores.add(session, "k", "late", now=NOW, not_before=later(9))
        chores.add(session, "k", "second", now=later(1))
        chores.add(session, "k", "first", now=NOW)
        assert [claimed(session, now=later(5)).subject for _ in range(2)] == ["first", "second"]
        assert chores.claim(session, "w", 30, now=later(5)) is None


def test_lapsed_chore_is_taken_over_and_its_first_holder_refused(ledger: Ledger):
    with ledger.write() as session:
        chores.add(session, "k", "s", now=NOW)
        late = claimed(session)
    with ledger.write() as session:
        heir = claimed(session, "w2", now=later(31))
        assert (heir.fence, heir.attempts) == (2, 2)
    for write in (lambda s: chores.renew(s, late, 30), lambda s: chores.finish(s, late, NOW),
                  lambda s: chores.again(s, late, 1), lambda s: chores.fail(s, late, NOW)):
        with ledger.write() as session, pytest.raises(LeaseLost, match="leave it to its new holder"):
            write(session)
    with ledger.write() as session:
        chores.finish(session, heir, NOW)


def test_renewed_chore_is_not_taken(ledger: Ledger):
    with ledger.write() as session:
        chores.add(session, "k", "s", now=NOW)
        chores.renew(session, claimed(session), 30, now=later(20))
        assert chores.claim(session, "w2", 30, now=later(45)) is None
        assert chores.claim(session, "w2", 30, now=later(51)) is not None


def test_chore_put_back_waits_its_time_and_keeps_its_error(ledger: Ledger):
    with ledger.write() as session:
        chores.add(session, "k", "s", now=NOW)
        chores.again(session, claimed(session), 10, {"code": "storage_error", "message": "full"}, now=NOW)
        assert chores.claim(session, "w", 30, now=later(9)) is None
        assert (claimed(session, now=later(10)).error or {})["code"] == "storage_error"


def test_released_chore_is_due_at_once_and_its_attempt_does_not_count(ledger: Ledger):
    with ledger.write() as session:
        chores.add(session, "k", "s", now=NOW)
        chores.release(session, claimed(session), now=later(1))
        again = claimed(session, "w2", now=later(1))
        assert (again.attempts, again.fence) == (1, 2)


def test_chore_of_which_a_part_is_done_has_all_its_attempts_before_it(ledger: Ledger):
    with ledger.write() as session:
        chores.add(session, "k", "s", now=NOW)
        for second in (0, 31, 62):
            chore = claimed(session, now=later(second))
        assert chore.attempts == 3
        chores.advance(session, chore, 30, now=later(70))
        assert chores.claim(session, "w2", 30, now=later(99)) is None
        assert claimed(session, now=later(101)).attempts == 2


def test_waiting_chore_can_be_woken(ledger: Ledger):
    with ledger.write() as session:
        chores.add(session, "k", "s", now=NOW, not_before=later(60))
        chores.wake(session, "k", ["other", "s"], now=later(1))
        assert claimed(session, now=later(1)).subject == "s"


def test_two_workers_share_chores_and_take_none_twice(ledger: Ledger):
    with ledger.write() as session:
        for n in range(30):
            chores.add(session, "k", str(n), now=NOW)

    def work(holder: str) -> list[str]:
        got = []
        while True:
            with ledger.write() as session:
                chore = chores.claim(session, holder, 30, now=NOW)
                if chore is None:
                    return got
                got.append(chore.subject)

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(work, ("a", "b"))
    assert sorted(first + second, key=int) == [str(n) for n in range(30)]
    with ledger.read() as session:
        assert set(session.scalars(select(Chore.state))) == {"held"}
