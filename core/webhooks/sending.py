"""The one client that goes to addresses which users chose.

A name is resolved once, every address that it has is judged, and the connection goes to one that was judged: so nothing is
contacted that may not be, whatever a name server answers next. No redirect is followed, no proxy of the environment is used,
and the whole exchange after the name's resolution ends within its time, however slowly an endpoint drips.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import httpcore
import httpx

from core.webhooks.addresses import is_public

TIMEOUT_SECONDS = 10.0


class Unsent(Exception):
    """No answer came; `cause` says why, in one line."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


def send(url: str, body: bytes, headers: Mapping[str, str], *, is_private_allowed: bool,
         timeout_seconds: float = TIMEOUT_SECONDS) -> int:
    """POST `body`, and give the status of the answer, whatever it is; what the answer says is not read."""
    backend = _Guarded(is_private_allowed=is_private_allowed, ends_at=time.monotonic() + timeout_seconds)
    try:
        with (
            httpcore.ConnectionPool(ssl_context=_trusted(), network_backend=backend) as pool,
            pool.stream("POST", url, headers=list(headers.items()), content=body) as answer,
        ):
            return answer.status
    except httpcore.TimeoutException as error:
        raise Unsent(f"no answer came within {timeout_seconds:g} s") from error
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.UnsupportedProtocol) as error:
        raise Unsent(_in_words(error)) from error


@cache
def _trusted() -> ssl.SSLContext:
    """The authorities that are trusted, read once: there are well over a hundred."""
    return httpx.create_ssl_context(trust_env=False)


class _Guarded(httpcore.NetworkBackend):
    """Connects to addresses that were judged, and to no others."""

    def __init__(self, *, is_private_allowed: bool, ends_at: float) -> None:
        self._is_private_allowed, self._ends_at = is_private_allowed, ends_at
        self._plain = httpcore.SyncBackend()

    def connect_tcp(self, host: str, port: int, timeout: float | None = None, local_address: str | None = None,
                    socket_options: Iterable[Any] | None = None) -> httpcore.NetworkStream:
        addresses = self._judged(host, port)
        stream = self._plain.connect_tcp(addresses[0], port, _left(self._ends_at), local_address, socket_options)
        return _Bounded(stream, self._ends_at)

    def _judged(self, host: str, port: int) -> list[str]:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise Unsent(f"the name {host[:80]!r} was not resolved") from error
        addresses = [str(info[4][0]) for info in found]
        if not self._is_private_allowed and not all(map(is_public, addresses)):
            # which one is not told: users would read the names of the server's own network here
            raise Unsent(f"{host[:80]!r} leads to an address of a private network")
        return addresses


class _Bounded(httpcore.NetworkStream):
    """A connection all of whose steps together end in time."""

    def __init__(self, stream: httpcore.NetworkStream, ends_at: float) -> None:
        self._stream, self._ends_at = stream, ends_at

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(self._ends_at))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _left(self._ends_at))

    def close(self) -> None:
        self._stream.close()

    def start_tls(self, ssl_context: ssl.SSLContext, server_hostname: str | None = None,
                  timeout: float | None = None) -> httpcore.NetworkStream:
        return _Bounded(self._stream.start_tls(ssl_context, server_hostname, _left(self._ends_at)), self._ends_at)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _left(ends_at: float) -> float:
    left = ends_at - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout
    return left


def _in_words(error: Exception) -> str:
    cause = next((each for each in error.args if isinstance(each, Exception)), error)  # what it was mapped from
    if isinstance(cause, ssl.SSLError):
        return f"TLS failed: {cause.reason or type(cause).__name__}"
    if isinstance(error, httpcore.ProtocolError):
        return "what came back is no HTTP answer"
    if isinstance(cause, OSError) and cause.strerror:
        return f"the connection failed: {cause.strerror}"
    return f"the connection failed: {type(cause).__name__}"
