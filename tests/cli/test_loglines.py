"""The parts' log lines as a terminal shows them."""

from __future__ import annotations

import json

from cli.loglines import render


def test_a_json_line_becomes_its_event_and_its_fields() -> None:
    line = json.dumps({"event": "run.claimed", "level": "warning", "timestamp": "2026-01-02T03:04:05Z", "job_id": "ftjob-1"})

    shown = (render(line.encode()) or b"").decode()

    assert shown.endswith(":04:05 WARNING run.claimed job_id=ftjob-1\n")


def test_a_line_that_is_none_of_ours_stays_as_it_is() -> None:
    for line in (b"Traceback (most recent call last):\n", b"[1, 2]\n", b'{"a": 1}\n'):
        assert render(line) == line


def test_an_odd_line_ends_no_thread_that_reads_them() -> None:
    assert render(b'{"event": ["request.answered"], "timestamp": "0001-01-01T00:00:00+14:00"}') is not None
    assert render(b'{"event": "request.answered", "status": "odd"}') is None


def test_requests_are_shown_only_when_the_server_is_at_fault() -> None:
    def answered(status: int) -> bytes:
        return json.dumps({"event": "request.answered", "status": status}).encode()

    assert render(answered(200)) is None
    assert render(answered(404)) is None
    assert b"status=500" in (render(answered(500)) or b"")


def test_a_traceback_stands_below_its_line() -> None:
    line = json.dumps({"event": "celery.ended", "exception": "Traceback:\n  boom"}).encode()

    assert (render(line) or b"").decode() == "celery.ended\nTraceback:\n  boom\n"
