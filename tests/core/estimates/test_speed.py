from __future__ import annotations

from sqlalchemy.orm import Session

from core.db.session import Ledger
from core.devices import service as devices
from core.devices.service import FoundDevice
from core.estimates.speed import Speed, measured
from core.events import service as events
from tests.factories import NOW, a_running_job, a_step, succeed


def trained(session: Session, *, tokens: int, steps: int = 5, base: str = "tiny") -> None:
    """A job that succeeded at `tokens` a step of half a second, on a card."""
    claim = a_running_job(session)
    claim.job.resolved = {**(claim.job.resolved or {}), "base_model": base}
    events.append_metrics(session, claim.job, [a_step(n + 1, tokens=tokens) for n in range(steps)], now=NOW)
    claim.job.progress = {**(claim.job.progress or {}), "device": "cuda"}
    succeed(session, claim)


def test_the_speed_is_the_median_of_jobs_on_the_model_by_device(ledger: Ledger):
    with ledger.write() as session:
        devices.announce(session, "host", [FoundDevice("cuda", 0, "a card", 1 << 40)], now=NOW)
        for tokens in (100, 300, 200):
            trained(session, tokens=tokens)
        trained(session, tokens=900, base="another")
        trained(session, tokens=900, steps=1)
    with ledger.read() as session:
        assert measured(session, "tiny", devices=1) == {("cuda", "a card"): Speed(400.0, 3)}
        assert measured(session, "tiny", devices=2) == {}


def test_a_host_of_unlike_cards_measures_nothing(ledger: Ledger):
    with ledger.write() as session:
        devices.announce(session, "host", [FoundDevice("cuda", 0, "a card", 1 << 40), FoundDevice("cuda", 1, "b", 1 << 40)],
                         now=NOW)
        trained(session, tokens=100)
    with ledger.read() as session:
        assert measured(session, "tiny", devices=1) == {}
