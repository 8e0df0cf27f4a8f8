from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from core.db.session import Ledger
from core.errors import LeaseLost
from core.workers import service as workers
from core.workers.models import RoleLease
from tests.factories import NOW, later


def announce(session, worker_id="wrk_1", now=NOW):
    return workers.announce(session, worker_id=worker_id, host="host", pid=7, queue="train", version="0.1.0", now=now)


def test_worker_is_alive_while_it_renews(ledger: Ledger):
    with ledger.write() as session:
        announce(session)
        workers.renew(session, "wrk_1", now=later(10))
        assert [w.id for w in workers.alive(session, now=later(100))] == ["wrk_1"]
        assert workers.alive(session, now=later(101)) == []


def test_stopped_worker_is_not_alive_and_cannot_come_back(ledger: Ledger):
    with ledger.write() as session:
        announce(session)
        workers.stop(session, "wrk_1", now=NOW)
        workers.stop(session, "wrk_1", now=NOW)
        assert workers.alive(session, now=NOW) == []
        with pytest.raises(LeaseLost, match="fresh id"):
            workers.renew(session, "wrk_1", now=NOW)


def test_old_rows_are_dropped(ledger: Ledger):
    with ledger.write() as session:
        announce(session)
        announce(session, "wrk_2", now=later(100))
        assert workers.forget_stopped(session, before=later(50)) == 1
        assert [w.id for w in workers.alive(session, now=later(100))] == ["wrk_2"]


def test_role_has_one_holder_until_its_lease_ends(ledger: Ledger):
    with ledger.write() as session:
        assert workers.hold_role(session, "reaper", "a", 10, now=NOW)
        assert workers.hold_role(session, "reaper", "a", 10, now=later(5))
        assert not workers.hold_role(session, "reaper", "b", 10, now=later(14))
        assert workers.hold_role(session, "reaper", "b", 10, now=later(16))
        assert session.get_one(RoleLease, "reaper").fence == 2
        assert not workers.hold_role(session, "reaper", "a", 10, now=later(17))


def test_role_that_is_dropped_is_free_at_once(ledger: Ledger):
    with ledger.write() as session:
        workers.hold_role(session, "reaper", "a", 10, now=NOW)
        workers.drop_role(session, "reaper", "b", now=NOW)
        assert not workers.hold_role(session, "reaper", "b", 10, now=NOW)
        workers.drop_role(session, "reaper", "a", now=NOW)
        assert workers.hold_role(session, "reaper", "b", 10, now=NOW)


def test_of_many_at_once_one_gets_the_role(ledger: Ledger):
    def ask(holder: str) -> bool:
        with ledger.write() as session:
            return workers.hold_role(session, "reaper", holder, 10)

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(ask, "abcd")) == 1
