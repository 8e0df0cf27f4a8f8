from __future__ import annotations

from cli.queue import refusals


def test_why_a_host_takes_no_job_is_said_once() -> None:
    workers = [{"host": host, "refusal": cause} for host, cause in (("a", None), ("b", "no room"), ("b", "no room"))]
    assert refusals(workers) == ["b takes no job: no room"]
