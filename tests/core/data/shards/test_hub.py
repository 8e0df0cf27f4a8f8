"""Files of a hub's repository, through the hub's own library, against a stand-in that answers as its documentation says.

What the hub itself does is not tried here.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote

import pytest

from core.data.shards import OpenPlaces
from core.data.shards.cache import BLOCK_BYTES
from core.data.spec import Place, Places, ShardSpec
from core.errors import DataError
from tests.remote import TOKEN, a_web_server

ROWS = bytes(range(251)) * 8000
API = "/api/datasets/org/name"


class Hub(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.files = {"data/rows.jsonl": ROWS, "data/deep/more.jsonl": b"more\n", "README.md": b"#"}
        self.missing_code = "EntryNotFound"
        self.seen: set[str | None] = set()
        """Every Authorization header."""
        self.elsewhere: str | None = None
        """Address of the store that the content of great files is kept in, as the hub's is: readers are sent there."""

    @property
    def place(self) -> Place:
        endpoint = f"http://127.0.0.1:{self.server_address[1]}"
        return Place("hub", "hf://datasets/org/name@main", {"endpoint": endpoint, "token": TOKEN})

    def entry(self, path: str) -> dict:
        content = self.files[path]
        return {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}

    def below(self, folder: str, *, is_recursive: bool) -> list[dict]:
        start = f"{folder}/" if folder else ""
        files = [path for path in self.files if path.startswith(start) and (is_recursive or "/" not in path[len(start):])]
        folders = {start + path[len(start):].split("/")[0] for path in self.files
                   if path.startswith(start) and "/" in path[len(start):]}
        return [*map(self.entry, files), *({"type": "directory", "path": path, "size": 0, "oid": "d"} for path in folders)]


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self) -> None:
        self.server.seen.add(self.headers.get("Authorization"))
        path, _, query = unquote(self.path).partition("?")
        if path == f"{API}/revision/main":
            return self.tell({"id": "org/name", "sha": "a" * 40, "private": False, "tags": [], "downloads": 0, "likes": 0})
        if path.startswith(f"{API}/tree/main"):
            folder = path.removeprefix(f"{API}/tree/main").strip("/")
            return self.tell(self.server.below(folder, is_recursive="recursive=True" in query or "recursive=true" in query))
        content = self.server.files.get(path.removeprefix("/datasets/org/name/resolve/main/"))
        if content is None:
            return self.tell({"error": "Entry not found"}, status=404, code=self.server.missing_code)
        if self.server.elsewhere:
            return self.send(302, b"", location=self.server.elsewhere)
        first, _, last = self.headers["Range"].removeprefix("bytes=").partition("-")
        return self.send(206, content[int(first):int(last) + 1])

    def do_POST(self) -> None:
        self.server.seen.add(self.headers.get("Authorization"))
        wanted = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())["paths"]
        self.tell([self.server.entry(path) for path in wanted if path in self.server.files])

    def tell(self, told: object, *, status: int = 200, code: str = "") -> None:
        self.send(status, json.dumps(told).encode(), code)

    def send(self, status: int, body: bytes, code: str = "", *, location: str = "") -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), "Content-Type": "application/json", "X-Error-Code": code,
                            "Location": location}.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[Hub]:
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def opened(hub: Hub) -> OpenPlaces:
    return OpenPlaces(Places({"hub": hub.place}), sleep=lambda seconds: None)


def test_a_file_is_looked_at_and_read_with_the_operators_token(hub: Hub) -> None:
    with opened(hub) as places:
        stat = places.stat("hub", "data/rows.jsonl")
        assert (stat.size, stat.tag) == (len(ROWS), hashlib.sha1(ROWS).hexdigest())
        shard = places.open_shard(ShardSpec("data/rows.jsonl", "", "", place="hub", bytes=stat.size, tag=stat.tag))
        assert shard.read(BLOCK_BYTES - 5, BLOCK_BYTES + 5) == ROWS[BLOCK_BYTES - 5:BLOCK_BYTES + 5]
        with places.open_for_reading("hub", "data/deep/more.jsonl") as file:
            assert file.read() == b"more\n"
    assert hub.seen == {f"Bearer {TOKEN}"}


def test_patterns_list_files(hub: Hub) -> None:
    with opened(hub) as places:
        assert places.list_paths("hub", "data/**/*.jsonl") == ["data/deep/more.jsonl", "data/rows.jsonl"]
        assert places.list_paths("hub", "data/*.jsonl") == ["data/rows.jsonl"]


def test_changed_content_and_a_file_that_is_gone_are_noticed(hub: Hub) -> None:
    with opened(hub) as places:
        stat = places.stat("hub", "data/rows.jsonl")
    spec = ShardSpec("data/rows.jsonl", "", "", place="hub", bytes=stat.size, tag=stat.tag)
    hub.files["data/rows.jsonl"] = b"x" + ROWS[1:]
    with opened(hub) as places, pytest.raises(DataError, match="changed after it was registered"):
        places.open_shard(spec).read(0, 5)
    del hub.files["data/rows.jsonl"]
    with opened(hub) as places, pytest.raises(DataError, match="is not there"):
        places.open_shard(spec).read(0, 5)


def test_what_a_mirror_does_not_have_is_told_at_once(hub: Hub) -> None:
    hub.missing_code = ""
    waits: list[float] = []
    other = Place("hub", "hf://datasets/org/other@main", hub.place.options)
    with OpenPlaces(Places({"hub": other}), sleep=waits.append) as places, pytest.raises(DataError, match="is not there"):
        places.stat("hub", "data/rows.jsonl")
    assert waits == []


def test_content_kept_elsewhere_is_read_there_without_the_token_and_a_link_that_expired_is_renewed(hub: Hub) -> None:
    with a_web_server({"blob": ROWS}) as store, opened(hub) as places:
        hub.elsewhere = f"{store.url}/data/blob?signature=abc"
        stat = places.stat("hub", "data/rows.jsonl")
        shard = places.open_shard(ShardSpec("data/rows.jsonl", "", "", place="hub", bytes=stat.size, tag=stat.tag))
        store.fail("403")
        assert shard.read(BLOCK_BYTES - 5, BLOCK_BYTES + 5) == ROWS[BLOCK_BYTES - 5:BLOCK_BYTES + 5]
    assert len(store.requests) == 3
    assert store.tokens == {None}
