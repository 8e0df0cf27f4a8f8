from __future__ import annotations

import asyncio
import time

from core.signals.bell import Bell
from tests.core.signals.redises import Redis
from tests.waiting import PATIENCE_SECONDS


async def heard(bell: Bell, job_id: str) -> None:
    """Ring until a listener hears, since a subscription takes a moment."""
    with bell.listen(job_id) as ear:
        until = time.monotonic() + PATIENCE_SECONDS
        bell.ring(job_id)
        while not await ear.wait(0.1):
            assert time.monotonic() < until, "nothing was heard"
            bell.ring(job_id)


def test_a_ring_wakes_the_listeners_of_its_job_and_no_others(bell_redis: Redis) -> None:
    async def journey() -> None:
        bell = Bell(bell_redis.url)
        with bell.listen("ftjob-1") as one, bell.listen("ftjob-1") as two, bell.listen("ftjob-2") as other:
            await heard(bell, "warm-up")
            for ear in (one, two, other):
                await ear.wait(0.05)
            bell.ring("ftjob-1")
            assert await asyncio.gather(one.wait(PATIENCE_SECONDS), two.wait(PATIENCE_SECONDS)) == [True, True]
            assert not await other.wait(0.2)
        await bell.aclose()

    asyncio.run(journey())


def test_a_ring_before_the_wait_is_not_lost(bell_redis: Redis) -> None:
    async def journey() -> None:
        bell = Bell(bell_redis.url)
        with bell.listen("ftjob-1") as ear:
            await heard(bell, "warm-up")
            await ear.wait(0.05)
            bell.ring("ftjob-1")
            await asyncio.sleep(0.5)
            assert await ear.wait(0.0001)
        await bell.aclose()

    asyncio.run(journey())


def test_listening_goes_on_after_redis_was_killed(bell_redis: Redis) -> None:
    async def journey() -> None:
        bell = Bell(bell_redis.url)
        await heard(bell, "ftjob-1")
        bell_redis.kill()
        bell_redis.start()
        await heard(bell, "ftjob-1")
        await bell.aclose()

    asyncio.run(journey())


def test_without_redis_a_listener_only_waits(tmp_path) -> None:
    async def journey() -> None:
        bell = Bell(f"unix://{tmp_path / 'nobody.sock'}")
        with bell.listen("ftjob-1") as ear:
            bell.ring("ftjob-1")
            assert not await ear.wait(0.2)
        await bell.aclose()

    asyncio.run(journey())
