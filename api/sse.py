"""A job's log as server-sent events: history first, oldest first, then live, `[DONE]` after the terminal event.

The stream reads the log in short transactions and holds no connection while it waits. It is woken by the watch, sends
a comment when nothing happened for a while, and ends by itself in three ways: the job is over and its log read to the
end; the server stops; the client is gone or reads nothing. Its place is taken and given back around the whole ASGI
call, so that a client that leaves before the first byte leaks none.
"""

from __future__ import annotations

import asyncio
import contextlib

import structlog
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.errors import answer_to
from api.looks import Look, Looks
from api.stopping import Stop
from api.watch import Watch
from core.errors import LimitReached
from core.signals.bell import Ear

log = structlog.get_logger("api")

QUIET_SECONDS = 5.0
"""Without an event for so long, a comment keeps the connection alive; unless the application is built with another time."""
UNREAD_SECONDS = 60.0
"""A client whose buffers stay full for so long is not reading."""
LEDGER_AWAY_SECONDS = 1.0
DONE = b"data: [DONE]\n\n"
HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}


class Places:
    """Counts open streams; belongs to one event loop."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.taken = 0

    @contextlib.contextmanager
    def taking(self):
        if self.taken >= self._most:
            raise LimitReached(f"{self.taken} event streams are open, the most that this server holds; close one, or read "
                               "pages without stream=true", retry_after_seconds=5)
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1


class EventStream(Response):
    """The response itself: call it as ASGI."""

    def __init__(self, job_id: str, *, after: int, looks: Looks, watch: Watch, places: Places, stop: Stop,
                 quiet_seconds: float = QUIET_SECONDS) -> None:
        super().__init__(headers=HEADERS, media_type="text/event-stream")
        del self.headers["content-length"]
        self._job_id = job_id
        self._number = after
        self._looks = looks
        self._watch = watch
        self._places = places
        self._stop = stop
        self._quiet_seconds = quiet_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            with self._places.taking(), self._watch.listen(self._job_id) as ear:
                await self._serve(ear, receive, send)
        except LimitReached as error:
            await answer_to(error).response()(scope, receive, send)

    async def _serve(self, ear: Ear, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        tasks = [asyncio.create_task(work) for work in (self._run(ear, send), _hear_disconnect(receive), self._stop.wait())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if tasks[1] not in done:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(send({"type": "http.response.body", "body": b""}), 1.0)
        if tasks[0] in done and (error := tasks[0].exception()) and not isinstance(error, TimeoutError):
            log.error("stream.failed", job_id=self._job_id, exc_info=error)

    async def _run(self, ear: Ear, send: Send) -> None:
        while True:
            look = await self._look()
            if look is None:
                await asyncio.sleep(LEDGER_AWAY_SECONDS)
            elif look.frames:
                await _write(send, look.frames)
                self._number = look.number
            elif look.is_over:
                return await _write(send, DONE)
            elif not await ear.wait(self._quiet_seconds):
                await _write(send, b": still here\n\n")

    async def _look(self) -> Look | None:
        """Look once; None while the ledger is away, which is no reason to end a stream."""
        try:
            return await self._looks.read_after(self._job_id, self._number)
        except SQLAlchemyError as error:
            log.warning("stream.ledger_away", job_id=self._job_id, error=type(error).__name__)
            return None


async def _write(send: Send, body: bytes) -> None:
    await asyncio.wait_for(send({"type": "http.response.body", "body": body, "more_body": True}), UNREAD_SECONDS)


async def _hear_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
