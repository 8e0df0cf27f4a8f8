"""A body that stalls, driven by hand: the gate alone, without a server."""

from __future__ import annotations

import asyncio

import pytest
from starlette.types import Message

from api.gate import Answering, Body
from core.errors import RequestError, TooLarge


def body_of(*messages: Message, limit: int = 100, silent_seconds: float = 0.02) -> Body:
    """A body whose messages come at once, and then nothing."""
    waiting = list(messages)

    async def receive() -> Message:
        if waiting:
            return waiting.pop(0)
        await asyncio.Event().wait()
        raise AssertionError

    return Body(receive, limit, is_absent=False, silent_seconds=silent_seconds)


def chunk(content: bytes, more_body: bool = True) -> Message:
    return {"type": "http.request", "body": content, "more_body": more_body}


def test_a_body_that_stalls_is_given_up():
    async def read() -> None:
        body = body_of(chunk(b"a"))
        assert (await body.receive())["body"] == b"a"
        await body.receive()

    with pytest.raises(RequestError) as caught:
        asyncio.run(read())
    assert caught.value.code == "request_timeout"


def test_waiting_for_the_client_to_leave_after_the_body_is_no_stall():
    async def read() -> None:
        body = body_of(chunk(b"a", more_body=False))
        await body.receive()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(body.receive(), 0.1)

    asyncio.run(read())


def test_a_body_beyond_its_limit_is_refused_as_it_passes_it():
    async def read() -> None:
        body = body_of(chunk(b"x" * 60), chunk(b"x" * 60))
        await body.receive()
        await body.receive()

    with pytest.raises(TooLarge):
        asyncio.run(read())


def test_an_early_answer_is_sent_whole_and_ended_after_the_rest_was_read():
    sent: list[Message] = []

    async def answer() -> None:
        async def send(message: Message) -> None:
            sent.append(message)

        body = body_of(chunk(b"a"), chunk(b"b"), chunk(b"c", more_body=False))
        answering = Answering(send, body, "req_1")
        await answering.send({"type": "http.response.start", "status": 413, "headers": []})
        await answering.send({"type": "http.response.body", "body": b"no"})
        assert body.is_read

    asyncio.run(answer())
    assert [m.get("body") for m in sent] == [None, b"no", b""]
    assert sent[1]["more_body"] is True
    assert (b"connection", b"close") in sent[0]["headers"]
    assert (b"x-request-id", b"req_1") in sent[0]["headers"]
