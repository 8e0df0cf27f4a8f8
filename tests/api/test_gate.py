"""The gate on the wire: answers before bodies, bodies read to their end, heads that are no HTTP."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path

import pytest

from api.server import Protocol
from core.clock import system_clock
from core.db.session import Ledger
from core.projects.service import create_key, revoke_key
from tests.api.serving import House, error_of, serving
from tests.api.test_uploads import connect
from tests.waiting import wait_for

MEBIBYTE = 1024 * 1024


def read_answer(line: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Read one answer with a content-length from a socket."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += line.recv(65536) or pytest.fail(f"closed after {received!r}")
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (text.partition(": ") for text in lines)}
    while len(body) < int(headers.get("content-length", len(body))):
        body += line.recv(65536) or pytest.fail("closed within the body")
    return int(first.split()[1]), headers, body


def post_head(path: str, key: str, length: int) -> bytes:
    return (f"POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n"
            f"content-length: {length}\r\n\r\n").encode()


@pytest.mark.parametrize("path", ["/v1/fine_tuning/jobs", "/v1/files", "/v1/nothing"])
def test_a_wrong_key_is_told_before_any_byte_of_the_body(house: House, path: str) -> None:
    with connect(house) as line:
        line.sendall(post_head(path, "hr-wrong", 900_000))
        status, headers, body = read_answer(line)
    assert status == 401
    assert json.loads(body)["error"]["code"] == "invalid_api_key"
    assert headers["connection"] == "close"


def test_an_announced_body_beyond_the_limit_is_told_at_once(house: House) -> None:
    with connect(house) as line:
        line.sendall(post_head("/v1/fine_tuning/jobs", house.key, 10**12))
        status, _, body = read_answer(line)
    assert status == 413
    assert json.loads(body)["error"]["code"] == "too_large"


@pytest.mark.parametrize("path", ["/v1/fine_tuning/jobs", "/v1/datasets", "/v1/nothing", "/v1/fine_tuning/jobs/x/cancel"])
@pytest.mark.parametrize("key", ["", "hr-wrong"])
def test_clients_that_send_all_first_hear_the_answer(house: House, path: str, key: str) -> None:
    with house.client(key) as client:
        for size in (70_000, 30 * MEBIBYTE):
            answer = client.post(path, content=b"x" * size, headers={"content-type": "application/json"})
            assert answer.status_code == (401 if key else 413)
            error_of(answer)


def test_an_unannounced_body_beyond_the_limit_is_refused(house: House) -> None:
    with house.client() as client:
        answer = client.post("/v1/fine_tuning/jobs", content=(b"x" * 4096 for _ in range(2000)),
                             headers={"content-type": "application/json"})
    assert answer.status_code == 413
    assert error_of(answer)["code"] == "too_large"


def test_the_connection_serves_on_after_small_refusals(house: House) -> None:
    with connect(house) as line:
        for _ in range(3):
            line.sendall(post_head("/v1/fine_tuning/jobs", house.key, 2) + b"[]")
            assert read_answer(line)[0] == 400


@pytest.mark.parametrize("bytes_sent", [
    b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET /v1/models HTTP/1.1\r\nhost: x\r\nbad header\r\n\r\n", b"GET /\xff HTTP/1.1\r\nhost: x\r\n\r\n",
    b"POST /v1/files HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
    b"POST /v1/files HTTP/1.1\r\nhost: x\r\ncontent-length: " + b"9" * 5000 + b"\r\n\r\n",
    b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"a" * 70_000 + b"\r\n\r\n",
])
def test_what_is_no_http_is_answered_in_the_error_shape(house: House, bytes_sent: bytes) -> None:
    with connect(house) as line:
        line.sendall(bytes_sent)
        status, headers, body = read_answer(line)
    assert status in (400, 431)
    assert headers["x-request-id"].startswith("req_")
    assert set(json.loads(body)["error"]) == {"message", "type", "param", "code"}


class Impatient(Protocol):
    head_seconds = 0.3


def test_heads_that_do_not_come_end_their_connection(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    whole = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"
    with serving(sqlite_ledger, tmp_path, protocol=Impatient) as house:
        for before, slow in ((b"", b""), (b"", whole[:20]), (whole, whole[:20])):
            with connect(house) as line:
                if before:
                    line.sendall(before)
                    assert read_answer(line)[0] == 200
                line.sendall(slow)
                assert line.recv(1) == b""
        with connect(house) as line:  # a connection that rests between two requests stays
            line.sendall(whole)
            read_answer(line)
            time.sleep(0.5)
            line.sendall(whole)
            assert read_answer(line)[0] == 200


def test_a_revoked_key_is_refused_within_two_seconds(house: House) -> None:
    with house.ledger.write() as session:
        key, secret = create_key(session, name="short-lived", project="acme", is_admin=False, now=system_clock())
    with house.client(secret) as client:
        assert client.get("/v1/files").status_code == 200
        with house.ledger.write() as session:
            revoke_key(session, key.id, now=system_clock())
        wait_for(lambda: client.get("/v1/files").status_code == 401, seconds=2.0)


def test_upgrades_are_not_taken(house: House) -> None:
    with connect(house) as line:
        line.sendall(f"GET /v1/files HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {house.key}\r\nupgrade: websocket\r\n"
                     "connection: upgrade\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\nsec-websocket-version: 13\r\n"
                     "\r\n".encode())
        assert read_answer(line)[0] == 200
