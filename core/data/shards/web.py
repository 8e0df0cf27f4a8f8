"""A web server's folder as a place: `https://…`, read by ranges.

Requests go to the operator's host and to no other: a redirect is followed only within it, and no proxy, cookie or password of
the environment is used. The server must answer ranges with 206; one that sends the whole file instead is refused, since
it would send it again for every block.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import httpx

from core.data.shards.faults import Broken, Changed, Missing, Refused, Unusable
from core.data.shards.store import Stat, check_same, total_of
from core.data.spec import Place

MOST_REDIRECTS = 3
READ_SECONDS = 120.0
"""One ranged read as a whole; a server may be slow, not endless."""
_TIMEOUT = httpx.Timeout(connect=10.0, read=30.0, write=10.0, pool=60.0)
_AGAIN_LATER = (408, 425, 429)


class WebStore:
    def __init__(self, place: Place) -> None:
        self._root = place.url
        self._client = httpx.Client(follow_redirects=False, trust_env=False, timeout=_TIMEOUT, headers=_headers(place))

    def stat(self, path: str) -> Stat:
        with self._get(path, 0, 1) as answer:
            if answer.status_code == 416 and answer.headers.get("content-range") == "bytes */0":
                return Stat(0, _tag(answer))
            _check_ranged(answer)
            return Stat(total_of(answer.headers.get("content-range")), _tag(answer))

    def read(self, path: str, start: int, end: int, expected: Stat) -> bytes:
        with self._get(path, start, end) as answer:
            if answer.status_code == 416:
                raise Changed(f"it ends before byte {end:,}")
            if answer.status_code == 200:
                length = answer.headers.get("content-length", "")
                check_same(Stat(int(length) if length.isdecimal() else expected.size, _tag(answer)), expected)
            _check_ranged(answer)
            check_same(Stat(total_of(answer.headers.get("content-range")), _tag(answer)), expected)
            return _body(answer, end - start)

    def iter_paths(self, folder: str) -> Iterator[str]:
        raise Unusable("a web server's files cannot be listed; name each file by its path")

    def close(self) -> None:
        self._client.close()

    @contextmanager
    def _get(self, path: str, start: int, end: int) -> Iterator[httpx.Response]:
        url = httpx.URL(f"{self._root}/{quote(path)}")
        for _ in range(MOST_REDIRECTS + 1):
            try:
                with self._client.stream("GET", url, headers={"Range": f"bytes={start}-{end - 1}"}) as answer:
                    if not answer.is_redirect:
                        _check_status(answer.status_code)
                        yield answer
                        return
                    url = _within(url, answer.headers["location"])
            except httpx.TransportError as error:
                raise Broken(type(error).__name__) from error
        raise Unusable(f"it is redirected more than {MOST_REDIRECTS} times")


def _headers(place: Place) -> dict[str, str]:
    token: Any = place.options.get("token")
    headers = {"Accept-Encoding": "identity", "User-Agent": "headrace"}
    if token:
        header = place.options.get("header")
        headers[header or "Authorization"] = token if header else f"Bearer {token}"
    return headers


def _check_status(status: int) -> None:
    if status in (404, 410):
        raise Missing(f"HTTP {status}")
    if status in (401, 403):
        raise Refused(f"HTTP {status}")
    if status >= 500 or status in _AGAIN_LATER:
        raise Broken(f"HTTP {status}")
    if status not in (200, 206, 416):
        raise Unusable(f"the server answers with HTTP {status}")


def _check_ranged(answer: httpx.Response) -> None:
    if answer.status_code != 206:
        raise Unusable("the server answers a ranged read with the whole file; use one that knows ranges, or upload the file")


def _within(url: httpx.URL, location: str) -> httpx.URL:
    """Where a redirect leads, unless that is another host: whoever answers for one host has no say over the next."""
    there = url.join(location)
    if (there.scheme, there.host, there.port) != (url.scheme, url.host, url.port):
        raise Unusable("the server redirects to another host, which is not followed; name that host as a place of its own")
    return there


def _tag(answer: httpx.Response) -> str:
    return answer.headers.get("etag") or answer.headers.get("last-modified") or ""


def _body(answer: httpx.Response, size: int) -> bytes:
    """Exactly `size` bytes, within the time of one read; never more is held, whatever is sent."""
    body = bytearray()
    until = time.monotonic() + READ_SECONDS
    for part in answer.iter_raw():
        body += part
        if len(body) > size:
            raise Unusable(f"more bytes were sent than the {size:,} that were asked for")
        if time.monotonic() > until:
            raise Broken(f"{len(body):,} of {size:,} bytes came in {READ_SECONDS:.0f} s")
    if len(body) < size:
        raise Broken(f"{len(body):,} of {size:,} bytes came")
    return bytes(body)
