"""A thin client of the server: one method a verb of HTTP, the API's own words on every refusal.

The address is HEADRACE_API_URL (default http://127.0.0.1:8080), the key HEADRACE_API_KEY. Reads are tried again for a moment
when nobody answers, so that a server that restarts goes unnoticed; writes are not, since nobody knows whether they arrived.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast
from urllib.parse import quote

import httpx
import orjson

from cli.errors import ApiRefused, CommandRefused, ServerAway
from cli.sse import Message, read_messages
from core.errors import shown

DEFAULT_URL = "http://127.0.0.1:8080"
CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 60.0
SILENCE_SECONDS = 45.0
"""A stream that says nothing for so long (not even a keep-alive) is opened anew."""
PATIENCE_SECONDS = 30.0
"""How long a stream is opened anew without any progress before the server counts as away."""
DONE = "[DONE]"


def open_client() -> Client:
    """Open a client by the environment; raise CommandRefused when there is no key."""
    key = os.environ.get("HEADRACE_API_KEY", "")
    if not key:
        raise CommandRefused("HEADRACE_API_KEY is not set; make a key on the server with `headrace keys create NAME`, "
                             "and export it: export HEADRACE_API_KEY=hr-…")
    return Client(os.environ.get("HEADRACE_API_URL") or DEFAULT_URL, key)


def segment(text: str) -> str:
    """Encode one segment of a path: a model's name may hold a slash."""
    return quote(text, safe=":")


@dataclass(frozen=True)
class Upload:
    path: Path
    purpose: str = "fine-tune"


class Client:
    """Speaks to one server with one key. Close it, or use it in a `with`."""

    def __init__(self, url: str, key: str) -> None:
        base = url.rstrip("/").removesuffix("/v1")
        if not base.startswith(("http://", "https://")):
            raise CommandRefused(f"HEADRACE_API_URL is {shown(url)}; an address such as {DEFAULT_URL} was expected")
        self.url = base
        self._http = httpx.Client(
            base_url=base + "/v1", headers={"Authorization": f"Bearer {key}"},
            timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def get(self, path: str, **query: Any) -> Any:
        return self._send("GET", path, params={k: v for k, v in query.items() if v is not None}).json()

    def text(self, path: str) -> str:
        return self._send("GET", path).text

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        content = None if body is None else orjson.dumps(body)
        kind = {"Content-Type": "application/json"} if body is not None else {}
        return self._send("POST", path, content=content, headers={**kind, **headers}).json()

    def patch(self, path: str, body: Any) -> Any:
        return self._send("PATCH", path, content=orjson.dumps(body), headers={"Content-Type": "application/json"}).json()

    def delete(self, path: str) -> Any:
        return self._send("DELETE", path).json()

    def pages(self, path: str, *, limit: int | None = None, **query: Any) -> Iterator[dict[str, Any]]:
        """Read a list entry by entry, page after page, up to `limit` of them."""
        given = 0
        after: str | None = None
        while True:
            page = self.get(path, after=after, limit=100 if limit is None else min(100, limit - given), **query)
            for entry in page["data"]:
                yield entry
                given += 1
            if not page.get("has_more") or not page["data"] or (limit is not None and given >= limit):
                return
            after = page["data"][-1]["id"]

    def upload(self, file: Upload, told: Callable[[int], None] = lambda _: None) -> dict[str, Any]:
        """Send a file as it is read; `told` hears how many bytes have gone."""
        try:
            with file.path.open("rb") as stream:
                watched = cast(BinaryIO, _Told(stream, told))
                return self._send("POST", "/files", data={"purpose": file.purpose}, timeout=None,
                                  files={"file": (file.path.name, watched, "application/octet-stream")}).json()
        except OSError as error:
            raise CommandRefused(f"{file.path} cannot be read ({error.strerror}); name a file that you may read") from error

    def download(self, path: str, target: Path, told: Callable[[int], None] = lambda _: None) -> int:
        """Write an answer's body into a file, first under a name of its own; give its bytes."""
        part = target.with_name(target.name + ".part")
        count = 0
        try:
            with self._http.stream("GET", path) as answer:
                if answer.status_code >= 400:
                    answer.read()
                    raise _refusal(answer)
                with part.open("wb") as out:
                    for chunk in answer.iter_bytes():
                        count += out.write(chunk)
                        told(len(chunk))
            part.replace(target)
        except httpx.TransportError as error:
            raise self._away(error) from error
        except OSError as error:
            raise CommandRefused(f"{target} cannot be written ({error.strerror}); name a place that you may write") from error
        finally:
            part.unlink(missing_ok=True)
        return count

    def events(self, job_id: str, *, after: str | None = None) -> Iterator[dict[str, Any]]:
        """Follow a job's log from its first event (or the one behind `after`) to its end.

        A connection that breaks is opened again behind the last event that was seen: none is missed and none comes twice.
        """
        seen = after
        away_since: float | None = None
        while True:
            try:
                for message in self._stream(job_id, seen):
                    away_since = None
                    if message.data == DONE:
                        return
                    event = orjson.loads(message.data)
                    seen = message.id or event["id"]
                    yield event
            except (httpx.TransportError, _TryAgain) as error:
                away_since = away_since or time.monotonic()
                if time.monotonic() - away_since > PATIENCE_SECONDS:
                    raise self._away(error) from error
            time.sleep(0.3)

    def _stream(self, job_id: str, after: str | None) -> Iterator[Message]:
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": after} if after else {})}
        timeout = httpx.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS)
        path = f"/fine_tuning/jobs/{segment(job_id)}/events"
        with self._http.stream("GET", path, params={"stream": "true"}, headers=headers, timeout=timeout) as answer:
            if answer.status_code >= 400:
                answer.read()
                if answer.status_code in (429, 500, 502, 503, 504):
                    raise _TryAgain(f"HTTP {answer.status_code}")
                raise _refusal(answer)
            yield from read_messages(answer.iter_lines())

    def _send(self, method: str, path: str, **how: Any) -> httpx.Response:
        tries = 4 if method == "GET" else 1
        for left in reversed(range(tries)):
            try:
                answer = self._http.request(method, path, **how)
            except httpx.TransportError as error:
                if left == 0:
                    raise self._away(error) from error
            else:
                if answer.status_code < 400:
                    return answer
                if answer.status_code != 503 or left == 0:
                    raise _refusal(answer)
            time.sleep(0.5)
        raise AssertionError("unreachable")

    def _away(self, error: Exception) -> ServerAway:
        return ServerAway(f"no answer from {self.url} ({error or type(error).__name__}); is `headrace serve` running there? "
                          "HEADRACE_API_URL says where to look")


class _TryAgain(Exception):
    """The server asked for a moment."""


class _Told:
    """A file that says how much of it was read."""

    def __init__(self, stream: BinaryIO, told: Callable[[int], None]) -> None:
        self._stream = stream
        self._told = told

    def read(self, count: int = -1) -> bytes:
        chunk = self._stream.read(count)
        self._told(len(chunk))
        return chunk

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _refusal(answer: httpx.Response) -> ApiRefused:
    try:
        error = answer.json()["error"]
        return ApiRefused(str(error["message"]), status=answer.status_code, code=error.get("code"), param=error.get("param"))
    except (ValueError, KeyError, TypeError):
        return ApiRefused(f"{answer.request.url} answered HTTP {answer.status_code} and no word of why; is a Headrace server "
                          "there? HEADRACE_API_URL says where to look", status=answer.status_code, code=None, param=None)
