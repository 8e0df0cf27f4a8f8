"""The server's stop, told to every stream at once.

uvicorn closes connections before it ends the application's lifespan, and an open stream never ends by itself; so the
stop is told at the signal. `Stop` may be set from a signal handler or any thread and is awaited on the event loop.
"""

from __future__ import annotations

import asyncio


class Stop:
    def __init__(self) -> None:
        self._is_set = False
        self._waiting: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}

    @property
    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        """Tell everybody who waits, and whoever will. Safe to call twice."""
        self._is_set = True
        for event, loop in list(self._waiting.items()):
            loop.call_soon_threadsafe(event.set)

    async def wait(self) -> None:
        event = asyncio.Event()
        self._waiting[event] = asyncio.get_running_loop()
        try:
            if not self._is_set:
                await event.wait()
        finally:
            del self._waiting[event]
