"""moto's S3 server behind a counter: `python bench/places/server.py PORT DELAY_SECONDS`.

Each ranged GET waits DELAY_SECONDS before it is answered, as a store some way off would let it wait. GET /counts tells how many
there were since it was last asked, and how many bytes they were answered with.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple

Answer = Callable[..., Any]


class Counting:
    """A WSGI application around another."""

    def __init__(self, app: Callable[..., Iterable[bytes]], *, delay_seconds: float) -> None:
        self._app, self._delay_seconds = app, delay_seconds
        self._lock = threading.Lock()
        self._requests = self._bytes = 0

    def __call__(self, asked: dict[str, Any], answer: Answer) -> Iterable[bytes]:
        if asked["PATH_INFO"] == "/counts":
            return self._tell(answer)
        if asked["REQUEST_METHOD"] != "GET" or "HTTP_RANGE" not in asked:
            return self._app(asked, answer)
        time.sleep(self._delay_seconds)
        body = b"".join(self._app(asked, answer))
        with self._lock:
            self._requests, self._bytes = self._requests + 1, self._bytes + len(body)
        return [body]

    def _tell(self, answer: Answer) -> Iterable[bytes]:
        with self._lock:
            told = json.dumps({"requests": self._requests, "bytes": self._bytes}).encode()
            self._requests = self._bytes = 0
        answer("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(told)))])
        return [told]


if __name__ == "__main__":
    port, delay = int(sys.argv[1]), float(sys.argv[2])
    run_simple("127.0.0.1", port, Counting(DomainDispatcherApplication(create_backend_app), delay_seconds=delay), threaded=True)
