"""The client for addresses that users chose: what it reaches, what it never contacts, and that it ends in time."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from core.webhooks.sending import Unsent, send
from tests.receivers import a_receiver
from tests.waiting import PATIENCE_SECONDS

HEADERS = {"content-type": "application/json", "webhook-id": "evt_1"}


@contextlib.contextmanager
def a_listener(answer: Callable[[socket.socket], None]) -> Iterator[tuple[int, list[bool]]]:
    """A listener on loopback: its port, and an entry for each contact."""
    contacts: list[bool] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    contacts.append(True)
                    with connection, contextlib.suppress(OSError):
                        answer(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listening.getsockname()[1], contacts
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(PATIENCE_SECONDS)


def drip(connection: socket.socket) -> None:
    for _ in range(100):
        connection.sendall(b"H")
        time.sleep(0.05)


def talk_nonsense(connection: socket.socket) -> None:
    connection.recv(1 << 16)
    connection.sendall(b"good morning\r\n\r\n")


def give_endless_body(connection: socket.socket) -> None:
    connection.recv(1 << 16)
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n" + b"x" * 1000)
    time.sleep(0.2)


@pytest.mark.parametrize("status", [200, 204, 301, 404, 500])
def test_the_answers_status_is_told_and_no_redirect_is_followed(status: int) -> None:
    with a_receiver() as receiver:
        receiver.answers = [status]
        assert send(receiver.url, b"{}", HEADERS, is_private_allowed=True) == status
        (received,) = receiver.received
    assert (received.body, received.headers["webhook-id"]) == (b"{}", "evt_1")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433", "0.0.0.0"])
def test_a_private_address_is_never_contacted(host: str) -> None:
    with a_listener(drip) as (port, contacts):
        with pytest.raises(Unsent, match="private network") as caught:
            send(f"http://{host}:{port}/", b"{}", HEADERS, is_private_allowed=False)
        assert contacts == []
        assert "127.0.0.1" not in caught.value.cause.replace(host.strip("[]"), "")


def test_an_endpoint_that_drips_is_left_in_time() -> None:
    with a_listener(drip) as (port, _), pytest.raises(Unsent, match=r"no answer came within 0\.3 s"):
        send(f"http://127.0.0.1:{port}/", b"{}", HEADERS, is_private_allowed=True, timeout_seconds=0.3)


def test_a_body_without_end_is_not_read() -> None:
    with a_listener(give_endless_body) as (port, _):
        assert send(f"http://127.0.0.1:{port}/", b"{}", HEADERS, is_private_allowed=True) == 200


@pytest.mark.parametrize(("answer", "scheme", "words"), [
    (talk_nonsense, "http", "no HTTP answer"), (talk_nonsense, "https", "TLS failed"),
    (lambda _: None, "http", "connection failed|no HTTP")])
def test_trouble_on_the_way_is_told_in_one_line(answer: Callable[[socket.socket], None], scheme: str, words: str) -> None:
    with a_listener(answer) as (port, _), pytest.raises(Unsent, match=words) as caught:
        send(f"{scheme}://127.0.0.1:{port}/", b"{}", HEADERS, is_private_allowed=True)
    assert "\n" not in caught.value.cause


def test_nobody_there_is_told() -> None:
    with a_listener(drip) as (port, _):
        pass
    with pytest.raises(Unsent, match="connection failed: Connection refused"):
        send(f"http://127.0.0.1:{port}/", b"{}", HEADERS, is_private_allowed=True)


def test_a_name_that_is_none_is_told() -> None:
    with pytest.raises(Unsent, match="was not resolved"):
        send("http://no-such-host.invalid/", b"{}", HEADERS, is_private_allowed=True)
