"""Waking listeners: "look again at this job", published after the commit that changed it.

One channel for all jobs; the message is the job's id. A message that is lost costs the listener the second until its own
poll. The ringing side is synchronous (handlers, supervisors); the listening side is one subscription for each API process,
fanned out to the event streams that wait there.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

import redis
import redis.asyncio

from core.signals.client import HINT_SECONDS, build_hint_client
from core.signals.ringer import Ringer

CHANNEL = "headrace:bell"
RECONNECT_SECONDS = 1.0


class Bell:
    """Ring from any thread; listen on one event loop. Everything works without Redis, at the pace of the listeners' polls."""

    def __init__(self, redis_url: str) -> None:
        self._redis_url = redis_url
        self._client: redis.Redis | None = None
        self._ringer = Ringer(self._publish, name="bell-ringer")
        self._ears: dict[str, set[Ear]] = {}
        self._subscription: asyncio.Task[None] | None = None

    def ring(self, job_id: str) -> None:
        """Tell listeners of a job to look again. Never raises, never waits; rings of one job that wait are one."""
        self._ringer.ring(job_id)

    @contextlib.contextmanager
    def listen(self, job_id: str) -> Iterator[Ear]:
        """Listen for one job on the running event loop: `with bell.listen(job_id) as ear: await ear.wait(1.0)`."""
        if self._subscription is None or self._subscription.done():
            self._subscription = asyncio.get_running_loop().create_task(self._subscribe(), name="bell-subscription")
        ear = Ear()
        self._ears.setdefault(job_id, set()).add(ear)
        try:
            yield ear
        finally:
            ears = self._ears[job_id]
            ears.discard(ear)
            if not ears:
                del self._ears[job_id]

    def wake_all(self) -> None:
        """Wake every listener of this process, as at shutdown. Call it on the event loop."""
        for ears in self._ears.values():
            for ear in ears:
                ear.wake()

    async def aclose(self) -> None:
        """End the subscription and the ringing thread."""
        if self._subscription is not None:
            self._subscription.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._subscription
        self.close()

    def close(self) -> None:
        self._ringer.close()

    def _publish(self, job_ids: list[str]) -> None:
        if self._client is None:
            self._client = build_hint_client(self._redis_url)
        for job_id in job_ids:
            self._client.publish(CHANNEL, job_id)

    async def _subscribe(self) -> None:
        while True:
            try:
                await self._hear()
            except (redis.RedisError, OSError):
                await asyncio.sleep(RECONNECT_SECONDS)

    async def _hear(self) -> None:
        client = redis.asyncio.Redis.from_url(self._redis_url, socket_connect_timeout=HINT_SECONDS, socket_timeout=None)
        async with client, client.pubsub() as subscription:
            await subscription.subscribe(CHANNEL)
            self.wake_all()  # whatever rang while there was no subscription
            async for message in subscription.listen():
                if message["type"] == "message":
                    for ear in self._ears.get(message["data"].decode(), ()):
                        ear.wake()


class Ear:
    """One listener's wake-up: it remembers a ring that came while nobody waited."""

    def __init__(self) -> None:
        self._heard = asyncio.Event()

    def wake(self) -> None:
        self._heard.set()

    async def wait(self, seconds: float) -> bool:
        """Wait for a ring, at most so long; say whether one came. Forget it then."""
        try:
            await asyncio.wait_for(self._heard.wait(), seconds)
            return True
        except TimeoutError:
            return False
        finally:
            self._heard.clear()
