"""What runs leave behind of their speed, and what is read of it: by model, kind of device and number of devices."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.db.session import Ledger
from core.events import service as events
from core.forecast.durations import Speed
from core.forecast.models import RunSpeed
from core.forecast.speeds import KEPT, forget_speeds, read_speeds
from tests.factories import NOW, a_claim, a_device, a_queued_job, a_step, succeed

STEP_SECONDS = 0.5
LOAD_SECONDS = 10.0


def trained(session: Session, *, seconds: float, steps: int = 6, base: str = "tiny") -> None:
    """A run of 100 tokens a step on a card, so long from the start of its first step to its last."""
    card = a_device(session)
    job = a_queued_job(session)
    job.resolved = {**(job.resolved or {}), "base_model": base, "row_bytes": 50.0}
    claim = a_claim(session, devices=(card.id,))
    assert claim is not None
    for step in range(1, steps + 1):
        until = LOAD_SECONDS + (STEP_SECONDS if step == 1 else seconds)
        events.append_metrics(session, claim.job, [a_step(step, step_seconds=STEP_SECONDS)], now=NOW + timedelta(seconds=until))
    succeed(session, claim, now=NOW + timedelta(minutes=1))


def test_speed_is_what_runs_did_together_with_what_came_between_their_steps(ledger: Ledger):
    with ledger.write() as session:
        trained(session, seconds=4.0)
        trained(session, seconds=8.0)
        trained(session, seconds=1.0, base="another")
    with ledger.read() as session:
        told = read_speeds(session).of("tiny", "a card", 1)
    assert told == Speed(tokens_per_second=pytest.approx(1200 / 12.0), tokens_per_byte=pytest.approx(1200 / 2400),
                         load_seconds=pytest.approx(LOAD_SECONDS), runs=2)


def test_speeds_of_one_model_are_read_alone(ledger: Ledger):
    with ledger.write() as session:
        trained(session, seconds=4.0)
        trained(session, seconds=1.0, base="another")
    with ledger.read() as session:
        assert set(read_speeds(session, model="tiny").measured) == {("tiny", "a card", 1)}
        assert read_speeds(session, model="tiny").of("tiny", "a card", 2) is None


def test_a_run_of_a_few_steps_measures_nothing(ledger: Ledger):
    with ledger.write() as session:
        trained(session, seconds=4.0, steps=2)
    with ledger.read() as session:
        assert read_speeds(session).measured == {}


def test_old_runs_are_forgotten(ledger: Ledger):
    with ledger.write() as session:
        trained(session, seconds=4.0)
        forget_speeds(session, now=NOW + KEPT)
        assert session.scalar(select(func.count()).select_from(RunSpeed)) == 1
        forget_speeds(session, now=NOW + KEPT + timedelta(minutes=2))
        assert session.scalar(select(func.count()).select_from(RunSpeed)) == 0
