"""The thin client against a server that misbehaves: broken streams, refusals, answers that are no API's."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cli.client import Client, Upload
from cli.errors import ApiRefused, CommandRefused, ServerAway

Answer = Callable[[BaseHTTPRequestHandler], None]


@contextlib.contextmanager
def answering(*answers: Answer) -> Iterator[tuple[Client, list[BaseHTTPRequestHandler]]]:
    """A server that answers its requests one after another as told (the last answer for all that follow)."""
    asked: list[BaseHTTPRequestHandler] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self)
            answers[min(len(asked), len(answers)) - 1](self)

        do_POST = do_GET

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with Client(f"http://127.0.0.1:{server.server_port}", "hr-key") as client:
            yield client, asked
    finally:
        server.shutdown()
        server.server_close()


def says(status: int, body: bytes, kind: str = "application/json") -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.rfile.read(int(request.headers.get("Content-Length") or 0))
        request.send_response(status)
        request.send_header("Content-Type", kind)
        request.end_headers()
        request.wfile.write(body)

    return answer


def event(number: int) -> bytes:
    return f"id: e{number}\ndata: {json.dumps({'id': f'e{number}', 'type': 'message', 'message': str(number)})}\n\n".encode()


def test_a_broken_stream_is_opened_again_behind_the_last_event() -> None:
    broken = says(200, event(1) + b": ping\n\n" + event(2) + b"id: e3\ndata: {", "text/event-stream")
    whole = says(200, event(3) + b"data: [DONE]\n\n", "text/event-stream")

    with answering(broken, says(503, b"{}"), whole) as (client, asked):
        seen = [each["id"] for each in client.events("ftjob-1")]

    assert seen == ["e1", "e2", "e3"]
    assert [request.headers.get("Last-Event-ID") for request in asked] == [None, "e2", "e2"]


def test_a_refused_stream_is_told_in_the_servers_words() -> None:
    body = json.dumps({"error": {"message": "no such job", "type": "x", "param": None, "code": "not_found"}}).encode()

    with answering(says(404, body)) as (client, _), pytest.raises(ApiRefused, match="no such job") as caught:
        list(client.events("ftjob-1"))

    assert (caught.value.status, caught.value.code) == (404, "not_found")


def test_a_read_is_tried_again_while_a_part_of_the_server_is_away() -> None:
    with answering(says(503, b"{}"), says(200, b'{"id": "x"}')) as (client, asked):
        assert client.get("/files/x") == {"id": "x"}
        assert len(asked) == 2


def test_a_write_is_sent_once() -> None:
    with answering(says(503, b"{}")) as (client, asked):
        with pytest.raises(ApiRefused):
            client.post("/fine_tuning/jobs", {})
        assert len(asked) == 1


def test_an_answer_that_is_no_apis_names_the_address() -> None:
    with answering(says(404, b"<html>", "text/html")) as (client, _), pytest.raises(ApiRefused, match="HEADRACE_API_URL"):
        client.get("/files")


def test_pages_are_read_to_the_limit() -> None:
    first = says(200, json.dumps({"data": [{"id": "a"}, {"id": "b"}], "has_more": True}).encode())
    second = says(200, json.dumps({"data": [{"id": "c"}], "has_more": False}).encode())

    with answering(first, second) as (client, asked):
        assert [entry["id"] for entry in client.pages("/files")] == ["a", "b", "c"]
        assert "after=b" in asked[1].path


def test_a_download_that_is_refused_leaves_no_file(tmp_path: Path) -> None:
    with answering(says(404, b"{}")) as (client, _), pytest.raises(ApiRefused):
        client.download("/files/x/content", tmp_path / "x")

    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_read_is_named() -> None:
    with answering(says(200, b"{}")) as (client, _), pytest.raises(CommandRefused, match="/nowhere cannot be read"):
        client.upload(Upload(Path("/nowhere")))


def test_nobody_at_the_address_is_told_with_the_address() -> None:
    words = r"no answer from http://127\.0\.0\.1:1 "
    with Client("http://127.0.0.1:1/v1", "hr-key") as client, pytest.raises(ServerAway, match=words):
        client.get("/files")


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(CommandRefused, match="HEADRACE_API_URL is 'localhost:8080'"):
        Client("localhost:8080", "hr-key")
