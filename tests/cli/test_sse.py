"""Reading an event stream's lines."""

from __future__ import annotations

from cli.sse import Message, read_messages


def test_a_message_is_its_id_and_its_data_lines() -> None:
    lines = ["id: e1", "data: {", "data: }", "", "id:e2", "data:x", ""]

    assert list(read_messages(lines)) == [Message("e1", "{\n}"), Message("e2", "x")]


def test_comments_and_empty_messages_are_passed_over() -> None:
    assert list(read_messages([": ping", "", "id: e1", "", "data: x", ""])) == [Message("e1", "x")]


def test_a_message_that_the_connection_cut_off_is_dropped() -> None:
    assert list(read_messages(["id: e1", "data: x", "", "id: e2", "data: half"])) == [Message("e1", "x")]
