from __future__ import annotations

from core.db.session import Ledger
from core.devices import service as devices
from core.devices.service import FoundDevice
from tests.factories import NOW, a_device, later


def test_announcing_again_keeps_id_and_lease(ledger: Ledger):
    with ledger.write() as session:
        device = a_device(session)
        assert devices.lease(session, "run_1", [device.id], now=NOW)
        again = devices.announce(session, "host", [FoundDevice("cuda", 0, "renamed", 5)], now=later(1))
    assert [(d.id, d.run_id, d.name, d.seen_at) for d in again] == [(device.id, "run_1", "renamed", later(1))]


def test_free_devices_are_those_of_the_host_that_no_run_holds(ledger: Ledger):
    with ledger.write() as session:
        first, second = a_device(session, ordinal=0), a_device(session, ordinal=1)
        a_device(session, "elsewhere")
        devices.lease(session, "run_1", [first.id], now=NOW)
        assert [d.id for d in devices.free(session, "host")] == [second.id]


def test_lease_is_all_or_nothing(ledger: Ledger):
    with ledger.write() as session:
        first, second = a_device(session, ordinal=0), a_device(session, ordinal=1)
        devices.lease(session, "run_1", [first.id], now=NOW)
        assert not devices.lease(session, "run_2", [first.id, second.id], now=NOW)
        assert not devices.lease(session, "run_2", [second.id, "dev_unknown"], now=NOW)
        devices.release(session, "run_1")
        assert devices.lease(session, "run_2", [first.id, second.id, second.id], now=NOW)
