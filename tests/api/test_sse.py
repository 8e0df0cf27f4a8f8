"""The event stream: history, then live, then [DONE]; gap-free from any event on; places; the client's own reader."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
from openai import Stream

from core.db.session import Ledger
from core.jobs import service as jobs
from tests.api.serving import House, error_of, serving
from tests.factories import NOW, a_job, a_running_job, report_steps, succeed
from tests.waiting import PATIENCE_SECONDS, wait_for

LIVE_SECONDS = 2.5
"""A stream hears of an event within its watch's second, and some."""


def path_of(job_id: str) -> str:
    return f"/v1/fine_tuning/jobs/{job_id}/events"


def a_finished_job(house: House, steps: int = 12) -> str:
    with house.ledger.write() as session:
        claim = a_running_job(session, house.project)
        report_steps(session, claim, *range(1, steps + 1))
        return succeed(session, claim).id


def read_stream(house: House, job_id: str, *, last: str | None = None, **params: str) -> list[tuple[str, dict[str, Any]]]:
    """Read a stream to its end; give ids and events. It must end with [DONE]."""
    headers = {"last-event-id": last} if last else {}
    with house.client(accept="text/event-stream") as client, client.stream(
        "GET", path_of(job_id), params={"stream": "true", **params}, headers=headers
    ) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-cache"
        frames = [frame for frame in "".join(answer.iter_text()).split("\n\n") if frame and not frame.startswith(":")]
    assert frames.pop() == "data: [DONE]"
    return [parse(frame) for frame in frames]


def parse(frame: str) -> tuple[str, dict[str, Any]]:
    first, second = frame.split("\n")
    event = orjson.loads(second.removeprefix("data: "))
    assert first == f"id: {event['id']}"
    return event["id"], event


def pages(house: House, job_id: str) -> list[dict[str, Any]]:
    """All events by pages, oldest first."""
    found: list[dict[str, Any]] = []
    with house.client() as client:
        after = None
        while True:
            page = client.get(path_of(job_id), params={"limit": "5", **({"after": after} if after else {})}).json()
            found += page["data"]
            if not page["has_more"]:
                return found[::-1]
            after = page["last_id"]


def test_a_stream_tells_the_pages_backwards_and_ends(house: House) -> None:
    job_id = a_finished_job(house)
    streamed = [event for _, event in read_stream(house, job_id)]
    assert streamed == pages(house, job_id)
    assert [e["data"]["step"] for e in streamed if e["type"] == "metrics"] == list(range(1, 13))
    assert streamed[-1]["type"] == "message"
    assert streamed[-1]["data"]["code"] == "job.succeeded"


def test_a_stream_goes_on_behind_any_event(house: House) -> None:
    job_id = a_finished_job(house, steps=6)
    whole = read_stream(house, job_id)
    for number, (event_id, _) in enumerate(whole, 1):
        assert read_stream(house, job_id, last=event_id) == whole[number:]
        assert read_stream(house, job_id, after=event_id) == whole[number:]
    assert read_stream(house, job_id, last=whole[-2][0], after=whole[0][0]) == whole[-1:]


def test_long_histories_come_whole(house: House) -> None:
    job_id = a_finished_job(house, steps=901)
    numbers = [int(event_id.rpartition("-")[2]) for event_id, _ in read_stream(house, job_id)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) > 901


def test_unknown_and_foreign_positions_are_refused_as_json(house: House) -> None:
    job_id, other = a_finished_job(house), a_finished_job(house)
    foreign = read_stream(house, other)[0][0]
    with house.client() as client:
        for last in ("nonsense", foreign, foreign.rpartition("-")[0] + "-99999", "ftevent-x-1", "1"):
            answer = client.get(path_of(job_id), params={"stream": "true"}, headers={"last-event-id": last})
            assert answer.status_code == 400, last
            assert error_of(answer)["param"] == "Last-Event-ID"
            answer = client.get(path_of(job_id), params={"stream": "true", "after": last})
            assert (answer.status_code, error_of(answer)["param"]) == (400, "after")


def test_events_arrive_live_and_the_cancel_ends_the_stream(house: House) -> None:
    with house.ledger.write() as session:
        job_id = a_job(session, house.project).id
    with house.client() as client, client.stream("GET", path_of(job_id), params={"stream": "true"}) as answer:
        lines = answer.iter_lines()
        seen = [next_event(lines) for _ in range(2)]
        began = time.monotonic()
        with house.ledger.write() as session:
            jobs.cancel(session, house.project.id, job_id, now=NOW)
        last = next_event(lines)
        assert time.monotonic() - began < LIVE_SECONDS
        assert [int(e["id"].rpartition("-")[2]) for e in (*seen, last)] == [1, 2, 3]
        assert last["data"]["code"] == "job.cancelled"
        assert [line for line in lines if line] == ["data: [DONE]"]


def next_event(lines: Iterator[str]) -> dict[str, Any]:
    return next(orjson.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: "))


def test_many_readers_see_the_same_while_the_job_runs(house: House) -> None:
    with house.ledger.write() as session:
        claim = a_running_job(session, house.project)
    heard: list[list[Any]] = []
    readers = [threading.Thread(target=lambda: heard.append(read_stream(house, claim.job.id))) for _ in range(8)]
    for reader in readers:
        reader.start()
    for step in range(1, 6):
        with house.ledger.write() as session:
            report_steps(session, claim, step)
    with house.ledger.write() as session:
        succeed(session, claim)
    for reader in readers:
        reader.join(PATIENCE_SECONDS)
    assert len(heard) == 8
    assert all(events == heard[0] for events in heard)
    assert [e["id"] for e in pages(house, claim.job.id)] == [event_id for event_id, _ in heard[0]]


def test_the_official_client_reads_the_stream(house: House) -> None:
    job_id = a_finished_job(house)
    stream = house.openai().get(f"/fine_tuning/jobs/{job_id}/events", cast_to=object, stream=True, stream_cls=Stream[object],
                                options={"params": {"stream": "true"}})
    assert [event["id"] for event in stream] == [event["id"] for event in pages(house, job_id)]


def test_quiet_streams_are_kept_alive(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    with serving(sqlite_ledger, tmp_path, quiet_seconds=0.05) as house:
        with house.ledger.write() as session:
            job_id = a_job(session, house.project).id
        with house.client() as client, client.stream("GET", path_of(job_id), params={"stream": "true"}) as answer:
            assert next(line for line in answer.iter_lines() if line.startswith(":")) == ": still here"


def test_places_are_counted_and_given_back(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    with serving(sqlite_ledger, tmp_path, max_streams=2) as house:
        with house.ledger.write() as session:
            job_id = a_job(session, house.project).id
        for _ in range(3):
            with open_stream(house, job_id), open_stream(house, job_id), house.client() as client:
                answer = client.get(path_of(job_id), params={"stream": "true"})
                assert answer.status_code == 429
                assert error_of(answer)["code"] == "rate_limit_exceeded"
                assert int(answer.headers["retry-after"]) >= 1
            wait_for(lambda: house.app.state.parts.places.taken == 0)


def open_stream(house: House, job_id: str):
    client = house.client()
    return client.stream("GET", path_of(job_id), params={"stream": "true"})


def test_waiting_streams_hold_no_connection_to_the_ledger(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    with serving(sqlite_ledger, tmp_path) as house:
        with house.ledger.write() as session:
            job_id = a_job(session, house.project).id
        clients = [httpx.Client(base_url=house.url, headers={"authorization": f"Bearer {house.key}"}) for _ in range(20)]
        streams = [client.stream("GET", path_of(job_id), params={"stream": "true"}) for client in clients]
        for stream in streams:
            next_event(stream.__enter__().iter_lines())
        wait_for(lambda: house.ledger.engine.pool.checkedout() == 0)  # pyright: ignore[reportAttributeAccessIssue]
        for stream, client in zip(streams, clients, strict=True):
            stream.__exit__(None, None, None)
            client.close()
