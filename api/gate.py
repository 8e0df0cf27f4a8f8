"""The gate that every request passes before its body is read: size of the head, key, announced size, then the route.

Each answer gets a fresh `x-request-id`. A body is counted while the route reads it and refused beyond its limit. An
answer that is ready before the body was read is sent at once but ended only when the rest of the body has arrived, up
to `DRAINED_BYTES` or `DRAINED_SECONDS`: a connection that is closed with bytes unread resets, and the client would
never see the answer. What a route raises and nothing caught is answered here as well, so that the server below never
meets an exception.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.auth import KeyCheck, secret_of
from api.errors import answer_to, is_gone
from core.errors import InvalidValue, NotFound, RequestError, TooLarge, shown
from core.ids import new_id

log = structlog.get_logger("api")

OPEN_PATHS = frozenset({"/healthz", "/readyz", "/openapi.json", "/v1/version"})
"""Answered without a key."""
HEAD_BYTES = 32 * 1024
PATH_BYTES = 4 * 1024
DRAINED_BYTES = 256 * 1024 * 1024
DRAINED_SECONDS = 15.0
SILENT_SECONDS = 60.0
"""A client that sends no byte of its body for so long while the route waits for it is told so."""
IDLE_SECONDS = 2.0
"""A client that sends nothing for so long while its rest is drained is not sending any."""

Headers = dict[bytes, bytes]


class Gate:
    """Pure ASGI, outermost. `limit_for(method, path)` gives the largest body of a route, in bytes."""

    def __init__(self, app: ASGIApp, *, keys: KeyCheck, limit_for: Callable[[str, str], int]) -> None:
        self._app = app
        self._keys = keys
        self._limit_for = limit_for

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
        elif scope["type"] != "http":
            await self._app(scope, receive, send)
        else:
            await self._pass(scope, receive, send)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        started_at = time.monotonic()
        scope["request_id"] = new_id("request")
        headers: Headers = dict(scope["headers"])
        body = Body(receive, self._limit_for(scope["method"], scope["path"]), is_absent=_has_no_body(headers))
        answer = Answering(send, body, scope["request_id"])
        try:
            _check_head(scope)
            if scope["path"] not in OPEN_PATHS:
                scope["caller"] = await self._identify(headers)
            _check_announced_body(headers, body.limit)
            await self._app(scope, body.receive, answer.send)
        except Exception as error:
            await self._answer_error(error, scope, answer)
        finally:
            _note(scope, answer, time.monotonic() - started_at)

    async def _identify(self, headers: Headers):
        secret = secret_of(headers.get(b"authorization"))
        return self._keys.find_remembered(secret) or await run_in_threadpool(self._keys.look_up, secret)

    async def _answer_error(self, error: Exception, scope: Scope, answer: Answering) -> None:
        if is_gone(error):
            return
        told = answer_to(error)
        if told.status >= 500:
            log.error("request.failed", request_id=scope["request_id"], code=told.code, exc_info=error)
        if not answer.status:
            await told.response()(scope, answer.receive_nothing, answer.send)


class Body:
    """A request's body as it is read: counted, and refused beyond its limit."""

    def __init__(self, receive: Receive, limit: int, *, is_absent: bool, silent_seconds: float = SILENT_SECONDS) -> None:
        self._receive = receive
        self.limit = limit
        self.is_read = is_absent
        self._silent_seconds = silent_seconds
        self._bytes = 0

    async def receive(self) -> Message:
        if self.is_read:
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), self._silent_seconds)
        except TimeoutError:
            raise RequestError(f"no byte of the body came for {self._silent_seconds:g} s; send the request again, without "
                               "pauses", code="request_timeout") from None
        if message["type"] != "http.request":
            self.is_read = True  # the client is gone
            return message
        self._bytes += len(message.get("body", b""))
        self.is_read = not message.get("more_body", False)
        if self._bytes > self.limit:
            raise too_large(self._bytes, self.limit)
        return message

    async def drain(self) -> None:
        """Read and drop the rest, within reason."""
        ends_at = time.monotonic() + DRAINED_SECONDS
        dropped = 0
        while not self.is_read and dropped < DRAINED_BYTES and time.monotonic() < ends_at:
            try:
                message = await asyncio.wait_for(self._receive(), IDLE_SECONDS)
            except TimeoutError:
                return
            dropped += len(message.get("body", b""))
            self.is_read = not message.get("more_body", False)


class Answering:
    """The answer as it is sent: marked with the request's id, and ended after the body was read."""

    def __init__(self, send: Send, body: Body, request_id: str) -> None:
        self._send = send
        self._body = body
        self._request_id = request_id
        self.status = 0
        self.bytes = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], *self._headers()]}
            self.status = message["status"]
        elif message["type"] == "http.response.body":
            self.bytes += len(message.get("body", b""))
            if not message.get("more_body", False) and not self._body.is_read:
                await self._send({**message, "more_body": True})
                await self._body.drain()
                message = {"type": "http.response.body", "body": b""}
        await self._send(message)

    async def receive_nothing(self) -> Message:
        return {"type": "http.disconnect"}

    def _headers(self) -> list[tuple[bytes, bytes]]:
        marks = [(b"x-request-id", self._request_id.encode()), (b"x-content-type-options", b"nosniff")]
        return marks if self._body.is_read else [*marks, (b"connection", b"close")]


def too_large(bytes: int, limit: int) -> TooLarge:
    return TooLarge(f"the body has {bytes:,} bytes or more; expected at most {limit:,}; send less, or ask the operator to "
                    "raise the limit")


def _check_head(scope: Scope) -> None:
    size = sum(len(name) + len(value) for name, value in scope["headers"])
    target = len(scope.get("raw_path") or b"") + len(scope["query_string"])
    if size > HEAD_BYTES or target > PATH_BYTES:
        raise RequestError(
            f"the request's headers have {size:,} bytes and its address {target:,}; expected at most {HEAD_BYTES:,} and "
            f"{PATH_BYTES:,}; send less", code="request_head_too_large",
        )
    if not scope["path"].isprintable():
        raise NotFound("the path holds a character that cannot be printed; no thing here has such a name")
    if b"%00" in scope["query_string"]:
        raise InvalidValue("the query holds the character U+0000; remove it")
    encoding = dict(scope["headers"]).get(b"content-encoding", b"identity")
    if encoding.strip().lower() not in (b"", b"identity"):
        raise InvalidValue(f"the body is encoded as {shown(encoding.decode('latin-1'))}; expected it as it is; send it without "
                           "a content-encoding", code="unsupported_media_type")


def _check_announced_body(headers: Headers, limit: int) -> None:
    announced = headers.get(b"content-length", b"0")
    if announced.isdigit() and int(announced) > limit:
        raise too_large(int(announced), limit)


def _has_no_body(headers: Headers) -> bool:
    return b"transfer-encoding" not in headers and headers.get(b"content-length", b"0") == b"0"


def _note(scope: Scope, answer: Answering, seconds: float) -> None:
    caller = scope.get("caller")
    log.info(
        "request.answered", request_id=scope["request_id"], method=shown(scope["method"])[1:-1],
        path=ascii(scope["path"])[1:-1][:512], status=answer.status, bytes=answer.bytes, seconds=round(seconds, 4),
        key_id=caller.key_id if caller else None,
    )
