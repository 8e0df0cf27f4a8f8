"""uvicorn, with three changes: the stop is told at the signal, a request that is no HTTP gets OpenAI's shape, and a
head that does not come within `HEAD_SECONDS` ends its connection.
"""

from __future__ import annotations

import asyncio
import socket
from types import FrameType
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from api.errors import Answer
from api.stopping import Stop
from core.ids import new_id

HEAD_SECONDS = 20.0
GRACE_SECONDS = 5
"""Backstop for requests that do not end by themselves after the stop."""


class Protocol(H11Protocol):
    """HTTP/1.1 on one connection."""

    head_seconds = HEAD_SECONDS
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().connection_made(transport)
        self._arm()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._awaits_head():
            self._arm()
        else:
            self._disarm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer to what is no HTTP request, unless an answer has begun already."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            told = Answer(400, "the bytes received are no HTTP/1.1 request; correct the client, or the proxy before it",
                          "invalid_request")
            headers = [(b"content-type", b"application/json"), (b"content-length", str(len(told.body())).encode()),
                       (b"connection", b"close"), (b"x-request-id", new_id("request").encode())]
            for event in (h11.Response(status_code=400, headers=headers, reason=b"Bad Request"), h11.Data(data=told.body()),
                          h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _awaits_head(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _arm(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self.head_seconds, self._end_silent)

    def _disarm(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _end_silent(self) -> None:
        if self._awaits_head():
            self.transport.close()


class Server(uvicorn.Server):
    """Sets `stop` at SIGINT and SIGTERM, and then ends normally instead of by the signal."""

    def __init__(self, config: uvicorn.Config, stop: Stop) -> None:
        super().__init__(config)
        self._stop = stop

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._stop.set()
        super().handle_exit(sig, frame)
        self._captured_signals.clear()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and not self.should_exit:
            host, port, *_ = self.servers[0].sockets[0].getsockname()
            print(f"listening on http://{f'[{host}]' if ':' in host else host}:{port}", flush=True)


def build_server(app: Any, *, host: str, port: int, stop: Stop, protocol: type[Protocol] = Protocol) -> Server:
    config = uvicorn.Config(
        app, host=host, port=port, http=protocol, ws="none", lifespan="on", log_config=None, access_log=False,
        server_header=False, timeout_graceful_shutdown=GRACE_SECONDS, timeout_keep_alive=30, proxy_headers=False,
    )
    return Server(config, stop)
