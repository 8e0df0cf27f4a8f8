"""Turns of handlers that may take many seconds: they wait for data, for strangers' servers, for places.

Plain handlers share a pool of forty threads. A handler that takes its turn is started only when few of its project and few of
all are under way; it waits for that in the event loop, where waiting costs no thread. So one project, or several, may ask as
often as they like, and the threads that everybody's quick requests need stay free.

    @router.post("/estimate", dependencies=[InTurn])
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

OF_PROJECT = 4
IN_ALL = 16


class Turns:
    """Belongs to one event loop. First come, first served."""

    def __init__(self) -> None:
        self._in_all = asyncio.Semaphore(IN_ALL)
        self._of_projects: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def taken_by(self, project_id: str) -> AsyncIterator[None]:
        """Wait for a turn of the project's, and keep it until the block is left."""
        own = self._of_projects.setdefault(project_id, asyncio.Semaphore(OF_PROJECT))
        async with own, self._in_all:
            yield
