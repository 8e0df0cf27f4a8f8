"""Places for tests: a web server on loopback that knows ranges and faults, and a real S3 server (moto's) as a process.

    with a_web_server({"rows.jsonl": b"…"}) as web:
        web.fail("drop", "500")         # what becomes of the next two reads
"""

from __future__ import annotations

import contextlib
import hashlib
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx

from core.data.spec import Place
from tests.servers import free_port
from tests.waiting import wait_for

BUCKET = "lake"
KEY, SECRET = "AKIATESTKEY", "s3cr3t-of-the-lake"
TOKEN = "t0k3n-of-the-web"


class WebServer:
    """Serves files by ranges. Each read first takes the next of the faults that were asked for, then the lasting one."""

    def __init__(self, files: Mapping[str, bytes], *, token: str | None = None) -> None:
        self.files = dict(files)
        self.token = token
        self.requests: list[tuple[str, str | None]] = []
        """Path and Range of each read, in order."""
        self.tokens: set[str | None] = set()
        """Every Authorization header."""
        self.lasting: str | None = None
        self.seconds = 0.0
        """How long each answer is kept waiting."""
        self._faults: deque[str] = deque()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # a reader that hangs up is none
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def place(self, name: str = "web", **options: Any) -> Place:
        return Place(name, f"{self.url}/data", {**({"token": self.token} if self.token else {}), **options})

    def fail(self, *faults: str) -> None:
        self._faults.extend(faults)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 10

            def do_GET(self) -> None:
                outer._answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        return Handler

    def _answer(self, ask: BaseHTTPRequestHandler) -> None:
        wanted = ask.headers.get("Range")
        self.requests.append((ask.path, wanted))
        self.tokens.add(ask.headers.get("Authorization"))
        fault = self._faults.popleft() if self._faults else self.lasting
        time.sleep(self.seconds)
        if fault and fault.isdecimal():
            return _plain(ask, int(fault))
        if fault and fault.startswith("redirect "):
            return _plain(ask, 302, Location=fault.partition(" ")[2])
        if self.token and ask.headers.get("Authorization") != f"Bearer {self.token}":
            return _plain(ask, 401)
        content = self.files.get(unquote(ask.path.partition("?")[0]).removeprefix("/data/"))
        if content is None:
            return _plain(ask, 404)
        tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"' if fault != "other tag" else '"other"'
        return _ranged(ask, content, wanted, tag, fault)


def _plain(ask: BaseHTTPRequestHandler, status: int, **headers: str) -> None:
    ask.send_response(status)
    for name, value in {"Content-Length": "0", **headers}.items():
        ask.send_header(name, value)
    ask.end_headers()


def _ranged(ask: BaseHTTPRequestHandler, content: bytes, wanted: str | None, tag: str, fault: str | None) -> None:
    start, end = 0, len(content)
    if wanted and fault != "no ranges":
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        start, end = int(first), min(int(last) + 1, len(content))
        if start >= len(content):
            return _plain(ask, 416, **{"Content-Range": f"bytes */{len(content)}", "ETag": tag})
        ask.send_response(206)
        ask.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(content)}")
    else:
        ask.send_response(200)
    body = content[start:end]
    if fault == "short":
        body = body[: len(body) // 2]
    if fault == "long":
        body += b"more"
    ask.send_header("Content-Length", str(len(body)))
    ask.send_header("ETag", tag)
    ask.end_headers()
    if fault == "drop":
        ask.wfile.write(body[: len(body) // 2])
        ask.close_connection = True
        return None
    with contextlib.suppress(ConnectionError):
        ask.wfile.write(body)
    return None


@contextlib.contextmanager
def a_web_server(files: Mapping[str, bytes], *, token: str | None = None) -> Iterator[WebServer]:
    server = WebServer(files, token=token)
    try:
        yield server
    finally:
        server.close()


class Bucket:
    """One bucket of a real S3 server."""

    def __init__(self, endpoint: str) -> None:
        import boto3

        self.endpoint = endpoint
        self._client = boto3.client("s3", endpoint_url=endpoint, aws_access_key_id=KEY, aws_secret_access_key=SECRET,
                                    region_name="us-east-1")
        self._client.create_bucket(Bucket=BUCKET)

    def place(self, name: str = "lake", prefix: str = "team") -> Place:
        return Place(name, f"s3://{BUCKET}/{prefix}", {"endpoint_url": self.endpoint, "key": KEY, "secret": SECRET})

    def put(self, path: str, content: bytes, *, prefix: str = "team") -> None:
        self._client.put_object(Bucket=BUCKET, Key=f"{prefix}/{path}", Body=content)

    def upload(self, path: str, file: Path, *, prefix: str = "team") -> None:
        self._client.upload_file(str(file), BUCKET, f"{prefix}/{path}")

    def paths(self, prefix: str) -> list[str]:
        """The keys below a prefix; at most a thousand."""
        return [entry["Key"] for entry in self._client.list_objects_v2(Bucket=BUCKET, Prefix=f"{prefix}/").get("Contents", [])]

    def delete(self, path: str, *, prefix: str = "team") -> None:
        self._client.delete_object(Bucket=BUCKET, Key=f"{prefix}/{path}")


@contextlib.contextmanager
def a_bucket() -> Iterator[Bucket]:
    """Run moto's S3 server as a process of its own, so that its threads are none of the test's."""
    port = free_port()
    program = f"from moto.server import main; main(['-H', '127.0.0.1', '-p', '{port}'])"
    process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: _answers(port), "the S3 server did not start")
        yield Bucket(f"http://127.0.0.1:{port}")
    finally:
        process.kill()
        process.wait()


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/moto-api/", timeout=5, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False
