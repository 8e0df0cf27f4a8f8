"""Errors as clients see them: OpenAI's body, a status, and headers that say whether to try again.

    {"error": {"message": …, "type": …, "param": …, "code": …}}

`answer_to` maps every exception that a request can end with, so that nothing else of the API knows a status code. The
official clients retry 409, 429 and 5xx by themselves; `x-should-retry` and `retry-after` tell them where that is of
use. What is written is ASCII, so no text that a client sent can break the answer that refuses it.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Match

from api.faults import fault_of
from core.db.away import is_database_away
from core.errors import (
    Conflict,
    DataError,
    Forbidden,
    HeadraceError,
    LimitReached,
    NotAuthenticated,
    NotFound,
    RequestError,
    TooLarge,
    Unavailable,
    shown,
)
from core.storage.own_faults import FULL

log = structlog.get_logger("api")

STATUSES: tuple[tuple[type[HeadraceError], int], ...] = (
    (NotFound, 404),
    (TooLarge, 413),
    (Conflict, 409),
    (RequestError, 400),
    (DataError, 400),
    (NotAuthenticated, 401),
    (Forbidden, 403),
    (LimitReached, 429),
    (Unavailable, 503),
)
"""The first branch that fits decides; an error outside of them is the server's own fault."""

CODE_STATUSES = {"request_timeout": 408, "unsupported_media_type": 415, "request_head_too_large": 431,
                 "insufficient_storage": 507}
"""Errors whose code says more than their branch."""

METHODS = ("DELETE", "GET", "PATCH", "POST", "PUT")

NO_RETRY_CODES = ("insufficient_storage",)
"""Trying again within the clients' two tries would not help."""


MOST_WAIT_SECONDS = 60.0
"""The official clients wait no longer before they try again, and would only try in vain."""


@dataclass(frozen=True)
class Answer:
    status: int
    message: str
    code: str
    param: str | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def body(self) -> bytes:
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        error = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        return json.dumps({"error": error}).encode("ascii")

    def response(self) -> Response:
        return Response(self.body(), self.status, self.headers, "application/json")


def disk_full(message: str) -> Unavailable:
    """Build the error of a disk without room: the server's fault, and no retry in the next seconds will mend it."""
    return Unavailable(message, code="insufficient_storage", retry_after_seconds=30)


def answer_to(error: BaseException) -> Answer:
    if isinstance(error, RequestValidationError):
        error = fault_of(error)
    if isinstance(error, HeadraceError):
        return _of_headrace(error)
    if isinstance(error, HTTPException):
        return _of_http(error)
    if isinstance(error, OSError) and error.errno in FULL:
        return _of_headrace(disk_full("the server's disk is full; nothing was stored; ask the operator to make room"))
    if is_database_away(error):
        return _of_headrace(Unavailable("the database does not answer; nothing was changed; try again in a few seconds"))
    return Answer(500, "the server met an error that it did not expect; try again, and give the operator the x-request-id of "
                       "this answer if it stays", "server_error")


def install_handlers(app: FastAPI) -> None:
    """Answer in OpenAI's shape to all that routing, parsing and handlers raise."""

    async def handle(request: Request, error: Exception) -> Response:
        if isinstance(error, HTTPException) and error.status_code == 405:
            error = _with_allowed_methods(app, request, error)
        answer = answer_to(error)
        if answer.status >= 500 and not isinstance(error, HTTPException):
            log.error("request.refused", code=answer.code, error=shown(str(error)))
        return answer.response()

    for kind in (HeadraceError, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, handle)


def is_gone(error: BaseException) -> bool:
    """Whether nobody is left to answer."""
    return isinstance(error, ClientDisconnect)


def _of_headrace(error: HeadraceError) -> Answer:
    status = CODE_STATUSES.get(error.code) or next((s for kind, s in STATUSES if isinstance(error, kind)), 500)
    headers = {}
    wait = error.retry_after_seconds if isinstance(error, LimitReached | Unavailable) else 0.0
    if wait:
        headers["retry-after"] = str(max(1, math.ceil(wait)))
    if status == 409 or error.code in NO_RETRY_CODES or wait is None or wait > MOST_WAIT_SECONDS:
        headers["x-should-retry"] = "false"
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    return Answer(status, error.message, error.code, error.param, headers)


def _of_http(error: HTTPException) -> Answer:
    headers = dict(error.headers or {})
    if error.status_code == 404:
        return Answer(404, "no such path; /openapi.json lists the paths of this server", "unknown_url", headers=headers)
    if error.status_code == 405:
        allowed = headers.get("Allow", "other methods")
        return Answer(405, f"the path does not take this method; it takes {allowed}", "method_not_allowed", headers=headers)
    status = 400 if error.status_code == 422 else error.status_code
    return Answer(status, str(error.detail), "server_error" if status >= 500 else "invalid_request", headers=headers)


def _with_allowed_methods(app: FastAPI, request: Request, error: HTTPException) -> HTTPException:
    """Name the methods of all routes on the path: the framework names those of the first one alone."""
    methods = [method for method in METHODS if any(
        route.matches({**request.scope, "method": method})[0] is Match.FULL for route in app.routes)]
    return HTTPException(405, headers={"Allow": ", ".join(methods)}) if methods else error
