"""Endpoints of a project: how many there may be."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from core.db.session import Ledger
from core.errors import LimitReached
from core.webhooks import service
from core.webhooks.repository import count_endpoints
from tests.core.webhooks.test_outbox import an_endpoint
from tests.factories import a_project
from tests.waiting import PATIENCE_SECONDS


def test_of_many_creations_at_once_none_passes_the_limit(ledger: Ledger) -> None:
    with ledger.write() as session:
        project = a_project(session)
        for _ in range(service.MOST_ENDPOINTS - 2):
            an_endpoint(session, project)

    all_connected = Barrier(8)

    def create(_: int) -> None:
        with ledger.read() as session:
            count_endpoints(session, project.id)
            all_connected.wait(PATIENCE_SECONDS)
        with ledger.write() as session:
            an_endpoint(session, project)

    with ThreadPoolExecutor(8) as pool:
        refused = [isinstance(done.exception(), LimitReached) for done in [pool.submit(create, n) for n in range(8)]]
    assert sum(refused) == 6
    with ledger.read() as session:
        assert count_endpoints(session, project.id) == service.MOST_ENDPOINTS
