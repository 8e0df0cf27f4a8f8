"""A long life without kills: what the parts of a server hold after many jobs, and whether rolling restarts lose events.

    python bench/soak/long.py [--jobs 2000] [--restarts 12]

First jobs of the small trainer run one after the other, and the resident memory and the open files of each part are read
after each twentieth. Then its parts are ended by TERM, one after the other, again and again, while every job's events are
followed by a client that connects again with the last id it saw. Writes `long.json`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

import psutil  # noqa: E402

from bench.soak.results import commit, machine  # noqa: E402
from bench.soak.soak import Plan, program, settings  # noqa: E402
from cli.client import Client  # noqa: E402
from tests.journeys import jobs  # noqa: E402
from tests.servers import Server, a_server, is_alive  # noqa: E402
from tests.waiting import wait_for  # noqa: E402

PARTS = {"api": ("-m", "api"), "train worker": ("--queue", "train"), "upkeep": ("--queue", "upkeep")}
SAMPLED_EVERY = 20
QUEUED = 5
JOB_SECONDS = 120.0
PLAN = Plan(jobs=0, kills=0, seed=1, epochs=1, step_seconds=0.0)


def main() -> None:
    asked = parse()
    with tempfile.TemporaryDirectory(prefix="headrace-long-") as name:
        folder = Path(name)
        (folder / "traces").mkdir()
        with a_server(folder, program=program(PLAN), **settings(PLAN, folder, folder / "traces")) as server:
            samples = live(server, asked.jobs)
            missed, repeated, events = roll(server, asked.restarts)
    rows = [row for part in PARTS for row in growth(part, [sample[part] for sample in samples], asked.jobs)]
    case = f"rolling restarts: {asked.restarts} TERMs over api, train worker and upkeep"
    rows += [row_of("events_missed", case, missed, "events", events),
             row_of("events_repeated", case, repeated, "events", events)]
    command = f"python bench/soak/long.py --jobs {asked.jobs} --restarts {asked.restarts}"
    told = {"commit": commit(), "machine": machine(), "command": command, "rows": rows, "samples": samples}
    (HERE / "long.json").write_text(json.dumps(told, indent=1) + "\n")


def live(server: Server, count: int) -> list[dict[str, Any]]:
    """Run jobs, a few of them waiting at any time; give what the parts hold on the way."""
    samples, waiting = [], []
    with server.client() as client:
        file_id = jobs.upload(client, jobs.chat_rows(PLAN.rows))
        for number in range(1, count + 1):
            waiting.append(jobs.submit(client, file_id, epochs=1, seed=number))
            if len(waiting) > QUEUED:
                ended = jobs.wait_for_end(server, client, waiting.pop(0), JOB_SECONDS)
                assert ended["status"] == "succeeded", ended
            if number % SAMPLED_EVERY == 0:
                samples.append({"jobs": number, **{part: held_by(server, words) for part, words in PARTS.items()}})
                print(json.dumps(samples[-1]), flush=True)
        for job_id in waiting:
            jobs.wait_for_end(server, client, job_id, JOB_SECONDS)
    return samples


def roll(server: Server, restarts: int) -> tuple[int, int, int]:
    """End the parts one after the other while jobs run and are followed; give the events missed, repeated, and in the logs."""
    followed: dict[str, list[str]] = {}
    followers = []
    with server.client() as client:
        file_id = jobs.upload(client, jobs.chat_rows(PLAN.rows))
        for number in range(restarts):
            job_id = jobs.submit(client, file_id, epochs=40, seed=number)
            follower = threading.Thread(target=follow, args=(server, job_id, followed.setdefault(job_id, [])), daemon=True)
            follower.start()
            followers.append(follower)
            restart(server, list(PARTS)[number % len(PARTS)])
        for job_id in followed:
            wait_for_success(server, job_id)
        for follower in followers:
            follower.join(JOB_SECONDS)
        logs = {job_id: [event["id"] for event in jobs.all_events(client, job_id)] for job_id in followed}
    missed = sum(len(set(log) - set(followed[job_id])) for job_id, log in logs.items())
    repeated = sum(len(seen) - len(set(seen)) for seen in followed.values())
    return missed, repeated, sum(map(len, logs.values()))


def follow(server: Server, job_id: str, seen: list[str]) -> None:
    with Client(server.url, server.key) as client:
        seen.extend(event["id"] for event in client.events(job_id))


def restart(server: Server, part: str) -> None:
    """TERM, and wait until another has taken its place and the API answers."""
    old = find(server, part)
    old.terminate()
    wait_for(lambda: not is_alive(old), f"{part} did not end", log=server.log)
    wait_for(lambda: server.processes(*PARTS[part]), f"no {part} came after it", log=server.log)
    wait_for(server._is_ready, "the API did not come back", log=server.log)
    print(f"{part} restarted", flush=True)


def wait_for_success(server: Server, job_id: str) -> None:
    with server.client() as client:
        ended = jobs.wait_for_end(server, client, job_id, JOB_SECONDS)
    assert ended["status"] == "succeeded", ended


def held_by(server: Server, words: Sequence[str]) -> dict[str, int]:
    process = server.processes(*words)[0]
    return {"pid": process.pid, "rss_bytes": process.memory_info().rss, "open_files": process.num_fds()}


def find(server: Server, part: str) -> psutil.Process:
    return server.processes(*PARTS[part])[0]


def growth(part: str, samples: Sequence[dict[str, int]], count: int) -> list[dict[str, Any]]:
    """From the second tenth of the samples to the last: the first one warms up."""
    tenth = max(len(samples) // 10, 1)
    before, after = samples[tenth:2 * tenth] or samples[:1], samples[-tenth:]
    assert before[0]["pid"] == after[-1]["pid"], f"{part} was started again"
    case = f"{part}, {count} jobs, second tenth to last"

    def median(of: Sequence[dict[str, int]], what: str) -> float:
        return statistics.median(sample[what] for sample in of)

    share = median(after, "rss_bytes") / median(before, "rss_bytes") - 1
    return [row_of("resident_memory_growth", case, round(share, 4), "share", len(samples)),
            row_of("resident_memory_bytes", case, median(after, "rss_bytes"), "bytes", len(samples)),
            row_of("open_files_growth", case, median(after, "open_files") - median(before, "open_files"), "files",
                   len(samples))]


def row_of(metric: str, case: str, value: float, unit: str, runs: int) -> dict[str, Any]:
    row = {"system": "headrace", "metric": metric, "case": case, "value": value, "unit": unit, "runs": runs}
    print(json.dumps(row), flush=True)
    return row


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Run many jobs, and see what the server holds; then restart it part by part.")
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--restarts", type=int, default=12)
    return parser.parse_args()


if __name__ == "__main__":
    main()
