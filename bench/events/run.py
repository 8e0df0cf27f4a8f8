"""Measure whether event streams keep up: 600 events a second are appended while 200 clients follow, and none may miss one.

    python bench/events/run.py [--database sqlite|postgresql] [--seconds 30] [--rate 600] [--clients 200] [--jobs 10]

Starts a whole server, puts jobs into its ledger as running, and appends their steps as supervisors do: a batch a job four
times a second, one transaction each, and a ring of the bell after it. The clients are a process of their own, which reads each
stream as bytes and notes the number of every event and when it came. The jobs end, so the streams end by themselves.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from sqlalchemy import select  # noqa: E402

from bench.soak.postgres import open_postgres  # noqa: E402
from bench.soak.results import commit, machine  # noqa: E402
from core.clock import system_clock  # noqa: E402
from core.db.session import Ledger  # noqa: E402
from core.jobs.claims import Claim  # noqa: E402
from core.jobs.models import Job  # noqa: E402
from core.projects.models import Project  # noqa: E402
from core.signals.bell import Bell  # noqa: E402
from tests import factories  # noqa: E402
from tests.servers import Server, a_server  # noqa: E402
from tests.waiting import wait_for  # noqa: E402

BATCHES_A_SECOND = 4
EVENT = re.compile(rb"^id: ftevent-[A-Za-z0-9]+-([0-9]+)\r?$", re.M)


def main() -> None:
    asked = parse()
    rows = [row for database in asked.database or ["sqlite", "postgresql"] for row in measure(asked, database)]
    command = " ".join(["python", "bench/events/run.py", *sys.argv[1:]])
    told = {"commit": commit(), "machine": machine(), "command": command, "rows": rows}
    (HERE / "results.json").write_text(json.dumps(told, indent=1) + "\n")


def measure(asked: argparse.Namespace, database: str) -> list[dict[str, Any]]:
    with contextlib.ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="headrace-events-")))
        settings = {"HEADRACE_LEASE_SECONDS": "600"}
        if database == "postgresql":
            settings["HEADRACE_DATABASE_URL"] = opened.enter_context(open_postgres()).new_database("events")
        server = opened.enter_context(a_server(folder, **settings))
        ledger = Ledger(settings.get("HEADRACE_DATABASE_URL") or f"sqlite:///{server.home / 'headrace.db'}",
                        durability="NORMAL", pool_size=2)
        opened.callback(ledger.close)
        told, appended = follow(asked, server, ledger, folder)
    return list(rows_of(asked, database, told, appended))


def follow(asked: argparse.Namespace, server: Server, ledger: Ledger, folder: Path
           ) -> tuple[list[dict[str, Any]], dict[str, list[float]]]:
    """Let the clients listen, append, and wait for the streams to end."""
    claims = [a_running_job(ledger) for _ in range(asked.jobs)]
    names = [claim.job.id for claim in claims]
    spec = {"port": server.port, "key": server.key, "jobs": [names[n % len(names)] for n in range(asked.clients)]}
    (folder / "clients.json").write_text(json.dumps(spec))
    with (folder / "heard.json").open("wb") as out:
        clients = subprocess.Popen([sys.executable, __file__, "--listen", str(folder / "clients.json")], stdout=out,
                                   stdin=subprocess.DEVNULL)
    time.sleep(3.0)  # the streams open
    bell = Bell(f"unix://{server.home / 'redis.sock'}")
    appended = append(asked, ledger, bell, claims)
    wait_for(lambda: clients.poll() is not None, "the streams did not end", log=server.log)
    bell.close()
    return json.loads((folder / "heard.json").read_text()), appended


def a_running_job(ledger: Ledger) -> Claim:
    with ledger.write() as session:
        project = session.scalars(select(Project)).first()
        factories.a_base_model(session, name="bench")
        return factories.a_running_job(session, project, model="bench")


def append(asked: argparse.Namespace, ledger: Ledger, bell: Bell, claims: list[Claim]) -> dict[str, list[float]]:
    """Append at the rate that was asked for, or as fast as it goes; give when each event of each job was there."""
    size = max(1, round(asked.rate / BATCHES_A_SECOND / len(claims)))
    there: dict[str, list[float]] = {}
    for claim in claims:
        with ledger.read() as session:
            there[claim.job.id] = [0.0] * session.get_one(Job, claim.job.id).last_event
    began, step = time.monotonic(), 0
    for batch in range(asked.seconds * BATCHES_A_SECOND):
        for number, claim in enumerate(claims):
            due = began + (batch + number / len(claims)) / BATCHES_A_SECOND
            time.sleep(max(0.0, due - time.monotonic()))
            with ledger.write() as session:
                factories.report_steps(session, claim, *range(step + 1, step + size + 1), now=system_clock())
            there[claim.job.id] += [time.monotonic()] * size
            bell.ring(claim.job.id)
        step += size
    there["seconds"] = [time.monotonic() - began]
    for claim in claims:
        with ledger.write() as session:
            factories.succeed(session, claim, now=system_clock())
        bell.ring(claim.job.id)
    return there


def rows_of(asked: argparse.Namespace, database: str, told: list[dict[str, Any]], there: dict[str, list[float]]
            ) -> Iterator[dict[str, Any]]:
    seconds = there.pop("seconds")[0]
    made = sum(sum(1 for at in times if at) for times in there.values())
    lost = repeated = 0
    late: list[float] = []
    for client in told:
        times = there[client["job"]]
        numbers = [number for number, _ in client["heard"]]
        lost += len(set(range(1, len(times) + 2)) - set(numbers))  # the job's end is one event more
        repeated += len(numbers) - len(set(numbers))
        late += [at - times[number - 1] for number, at in client["heard"] if number <= len(times) and times[number - 1]]
    late.sort()
    figures = {"appended_per_second": (made / seconds, "1/s"), "events_heard": (sum(len(c["heard"]) for c in told), "count"),
               "events_lost": (lost, "count"), "events_repeated": (repeated, "count"),
               "seconds_to_client_median": (statistics.median(late), "s"),
               "seconds_to_client_p99": (late[int(len(late) * 0.99)], "s")}
    case = f"{database}, {asked.clients} clients on {asked.jobs} jobs, {asked.rate} events/s asked, {asked.seconds} s"
    for metric, (value, unit) in figures.items():
        row = {"system": "headrace", "metric": metric, "case": case, "value": round(value, 3), "unit": unit, "runs": 1}
        print(json.dumps(row), flush=True)
        yield row


async def listen(file: Path) -> None:
    """The clients' process: follow all streams to their ends, and write down what came."""
    spec = json.loads(file.read_text())
    heard = await asyncio.gather(*(hear(spec["port"], spec["key"], job) for job in spec["jobs"]))
    json.dump([{"job": job, "heard": events} for job, events in zip(spec["jobs"], heard, strict=True)], sys.stdout)


async def hear(port: int, key: str, job_id: str) -> list[tuple[int, float]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET /v1/fine_tuning/jobs/{job_id}/events?stream=true HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
                 f"Authorization: Bearer {key}\r\nAccept: text/event-stream\r\nConnection: close\r\n\r\n".encode())
    heard: list[tuple[int, float]] = []
    rest = b""
    while arrived := await reader.read(1 << 18):
        now = time.monotonic()
        whole, newline, rest = (rest + arrived).rpartition(b"\n")
        heard += [(int(number), now) for number in EVENT.findall(whole + newline)]
    writer.close()
    return heard


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Append events while many clients follow.")
    parser.add_argument("--database", action="append", choices=["sqlite", "postgresql"], help="default: both")
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--rate", type=int, default=600, help="events a second, over all jobs")
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=10)
    parser.add_argument("--listen", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    asked_now = parse()
    if asked_now.listen:
        asyncio.run(listen(asked_now.listen))
    else:
        main()
