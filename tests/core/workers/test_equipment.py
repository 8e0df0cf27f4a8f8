from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.db.session import Ledger
from core.devices import service as devices
from core.devices.models import Device
from core.devices.service import FoundDevice
from core.workers import service as workers
from core.workers.equipment import forget_unfound, note_found
from tests.factories import NOW, later

CPU = FoundDevice("cpu", 0, "a processor", 1 << 30)
CARDS = [FoundDevice("cuda", number, "a card", 1 << 30) for number in range(2)]


def a_worker(session: Session, name: str, *found: FoundDevice, at: float = 0.0, host: str = "host") -> None:
    workers.announce(session, worker_id=name, host=host, pid=1, queue="train", version="1", now=later(at))
    note_found(session, name, host, found, now=later(at))


def known(session: Session) -> list[str]:
    rows = session.scalars(select(Device).order_by(Device.host, Device.kind, Device.ordinal))
    return [f"{device.host} {device.kind}:{device.ordinal}" for device in rows]


def test_what_a_new_start_does_not_find_any_more_is_forgotten(ledger: Ledger):
    with ledger.write() as session:
        a_worker(session, "before", CPU)
        workers.stop(session, "before", now=later(1))
        a_worker(session, "after", *CARDS, at=1000)
        assert known(session) == ["host cuda:0", "host cuda:1"]


def test_what_another_worker_of_the_host_finds_stays(ledger: Ledger):
    with ledger.write() as session:
        a_worker(session, "first", CARDS[0])
        a_worker(session, "second", CARDS[1])
        for name in ("first", "second"):
            workers.renew(session, name, now=later(1000))
        a_worker(session, "again", CARDS[1], at=1000)
        assert known(session) == ["host cuda:0", "host cuda:1"]


def test_nothing_is_forgotten_while_a_worker_of_the_host_has_not_looked(ledger: Ledger):
    with ledger.write() as session:
        a_worker(session, "first", *CARDS)
        workers.announce(session, worker_id="looks", host="host", pid=1, queue="train", version="1", now=later(1000))
        a_worker(session, "second", CARDS[0], at=1000)
        assert known(session) == ["host cuda:0", "host cuda:1"]


def test_what_was_announced_just_now_stays_for_a_while(ledger: Ledger):
    with ledger.write() as session:
        devices.announce(session, "host", CARDS, now=later(-80))
        a_worker(session, "first", CARDS[0])
        assert known(session) == ["host cuda:0", "host cuda:1"]
        forget_unfound(session, now=later(11))
        assert known(session) == ["host cuda:0"]


def test_a_device_that_a_run_holds_stays_until_it_is_free(ledger: Ledger):
    with ledger.write() as session:
        (cpu,) = devices.announce(session, "host", [CPU], now=NOW)
        assert devices.lease(session, "run_1", [cpu.id], now=NOW)
        a_worker(session, "after", *CARDS, at=1000)
        assert known(session)[0] == "host cpu:0"
        devices.release(session, "run_1")
        forget_unfound(session, now=later(1001))
        assert known(session) == ["host cuda:0", "host cuda:1"]


def test_a_host_that_is_away_keeps_its_devices_until_its_workers_are_forgotten(ledger: Ledger):
    with ledger.write() as session:
        a_worker(session, "gone", *CARDS)
        forget_unfound(session, now=later(1000))
        assert len(known(session)) == 2
        workers.forget_stopped(session, before=later(1))
        forget_unfound(session, now=later(1000))
        assert known(session) == []
