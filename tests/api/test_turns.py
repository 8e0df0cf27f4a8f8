"""Handlers that take many seconds leave the threads that others need."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.routing import APIRoute

from api.deps import InTurn
from api.routes import datasets, estimates, mixture, steps, webhooks
from api.turns import IN_ALL, OF_PROJECT, Turns
from core.db.session import Ledger
from tests.api.serving import House, serving
from tests.factories import a_base_model
from tests.waiting import PATIENCE_SECONDS, wait_for


@pytest.fixture
def house(sqlite_ledger: Ledger, tmp_path: Path) -> Iterator[House]:
    with sqlite_ledger.write() as session:
        a_base_model(session)
    with serving(sqlite_ledger, tmp_path) as opened:
        yield opened


def test_a_project_has_few_turns_at_once_and_others_have_theirs() -> None:
    async def under_way() -> dict[str, int]:
        turns, over = Turns(), asyncio.Event()
        found: dict[str, int] = {"busy": 0, "quick": 0}

        async def ask(project: str) -> None:
            async with turns.taken_by(project):
                found[project] += 1
                await over.wait()

        asking = [asyncio.create_task(ask(project)) for project in ["busy"] * 50 + ["quick"]]
        while found["quick"] == 0:
            await asyncio.sleep(0)
        at_once = dict(found)
        over.set()
        await asyncio.gather(*asking)
        assert found == {"busy": 50, "quick": 1}
        return at_once

    assert asyncio.run(under_way()) == {"busy": OF_PROJECT, "quick": 1}


def test_all_projects_together_have_no_more_turns_than_leave_threads_to_others() -> None:
    async def most() -> int:
        turns, running, highest = Turns(), 0, 0

        async def ask(project: str) -> None:
            nonlocal running, highest
            async with turns.taken_by(project):
                running += 1
                highest = max(highest, running)
                await asyncio.sleep(0)
                running -= 1

        await asyncio.gather(*(ask(f"project {number}") for number in range(3 * IN_ALL)))
        return highest

    assert asyncio.run(most()) == IN_ALL


def test_estimates_that_wait_for_data_keep_no_thread_from_others(house: House) -> None:
    file = house.openai().files.create(file=("chats.jsonl", b'{"messages": []}'), purpose="fine-tune")
    answered: list[int] = []

    asked = {"model": "tiny", "training_file": file.id}

    def ask() -> None:
        with house.client() as client:
            answered.append(client.post("/v1/fine_tuning/jobs/estimate?wait_seconds=20", json=asked).status_code)

    asking = [threading.Thread(target=ask) for _ in range(45)]
    for thread in asking:
        thread.start()
    wait_for(lambda: house.rung.count("upkeep") >= OF_PROJECT, "no estimate was begun")
    with house.client(house.strange_key) as client:
        assert client.get("/v1/usage").status_code == 200
    assert answered == []
    house.app.state.parts.stop.set()  # nobody is waited for any more
    for thread in asking:
        thread.join(PATIENCE_SECONDS)
    assert len(answered) == 45


def test_all_that_starts_a_process_or_waits_for_others_takes_its_turn() -> None:
    routers = (datasets.router, estimates.router, mixture.router, steps.router, webhooks.router)
    found = {route.path for router in routers for route in router.routes
             if isinstance(route, APIRoute) and InTurn in route.dependencies}
    assert {path.rpartition("/")[2] for path in found} == {"estimate", "mixture", "rows", "preview", "lengths", "test"}
