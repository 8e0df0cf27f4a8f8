"""JSON bodies, read strictly before any handler sees them.

A body is refused, with a 400 that says why, when it is not UTF-8, not JSON by the letter (NaN, Infinity, repeated
names), not an object, nested deeper than `MAX_DEPTH`, or holds what a database or another program could not take:
U+0000, lone surrogates, whole numbers of more than `MAX_DIGITS` digits, numbers beyond a float. The content type must
be JSON (415), so that no browser form reaches a route. The size is the gate's concern. Cost: one pass of the parser
and one walk; large bodies are parsed off the event loop.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from core.errors import InvalidValue, shown

MAX_DEPTH = 32
MAX_DIGITS = 19
LARGE_BYTES = 64 * 1024


class JsonRoute(APIRoute):
    """A route whose JSON body is parsed by `parse_json`; FastAPI still validates and documents the model."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        if self.body_field is None:
            return handle

        async def read_then_handle(request: Request) -> Response:
            return await handle(_Read(request, await _read(request)))

        return read_then_handle


class _Read(Request):
    """A request whose body has been parsed."""

    def __init__(self, request: Request, told: dict[str, Any]) -> None:
        super().__init__(request.scope, request.receive)
        self._told = told

    async def body(self) -> bytes:
        return b"{}"

    async def json(self) -> Any:
        return self._told


async def _read(request: Request) -> dict[str, Any]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        found = f"is {shown(kind)}" if kind else "is missing"
        raise InvalidValue(f"the content type {found}; expected application/json; set the content-type header",
                           code="unsupported_media_type")
    body = await request.body()
    return await run_in_threadpool(parse_json, body) if len(body) > LARGE_BYTES else parse_json(body)


def parse_json(body: bytes) -> dict[str, Any]:
    """Parse an object; raise InvalidValue naming what cannot be taken."""
    if not body.strip():
        raise InvalidValue("the body is empty; expected a JSON object", code="invalid_json")
    try:
        told = json.loads(body.decode("utf-8"), parse_int=_whole_number, parse_float=_number, parse_constant=_refuse_constant,
                          object_pairs_hook=_object)
    except UnicodeDecodeError as error:
        raise _refused(f"byte {error.start} of the body is no UTF-8; expected JSON in UTF-8") from None
    except RecursionError:
        raise _too_deep() from None
    except json.JSONDecodeError as error:
        raise _refused(f"the body is no JSON at line {error.lineno}, column {error.colno}; expected a JSON object") from None
    if not isinstance(told, dict):
        raise _refused(f"the body is {_kind(told)}; expected a JSON object")
    _check_content(told)
    return told


def check_text(text: str, where: str) -> None:
    """Refuse what a text column or another program cannot take."""
    if "\0" in text:
        raise InvalidValue(f"{where} holds the character U+0000; remove it", code="invalid_value")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidValue(f"{where} holds half of a surrogate pair; send whole characters", code="invalid_value") from None


def _check_content(told: dict[str, Any]) -> None:
    waiting: list[tuple[Any, int]] = [(told, 1)]
    while waiting:
        value, depth = waiting.pop()
        if isinstance(value, str):
            check_text(value, "a text in the body")
        elif isinstance(value, dict | list):
            if depth > MAX_DEPTH:
                raise _too_deep()
            if isinstance(value, dict):
                waiting.extend((key, depth) for key in value)
                value = list(value.values())
            waiting.extend((part, depth + 1) for part in value if isinstance(part, str | dict | list))


def _whole_number(digits: str) -> int:
    if len(digits.lstrip("-")) > MAX_DIGITS:
        raise _refused(f"a number of {len(digits.lstrip('-'))} digits is in the body; expected at most {MAX_DIGITS}")
    return int(digits)


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise _refused("a number in the body is too large; expected finite numbers")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise _refused(f"the body holds {name}, which JSON does not know; expected finite numbers")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    told = dict(pairs)
    if len(told) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))
        raise _refused(f"the field {shown(twice)} stands twice in one object; send it once")
    return told


def _too_deep() -> InvalidValue:
    return _refused(f"the body is nested deeper than {MAX_DEPTH} levels; expected a flatter one")


def _refused(message: str) -> InvalidValue:
    return InvalidValue(f"{message}; correct it and send the request again", code="invalid_json")


def _kind(value: Any) -> str:
    names = {list: "a list", str: "a text", bool: "true or false", int: "a number", float: "a number"}
    return names.get(type(value), "null")
