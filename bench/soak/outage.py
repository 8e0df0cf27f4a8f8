"""Redis and PostgreSQL out of reach for minutes, under a job that trains: no healthy child may be started again for it.

    python bench/soak/outage.py [--seconds 300]

The parts run on their own, with the settings that are shipped (a lease of 30 s). Both servers are stopped by SIGSTOP, so that
requests get neither an answer nor a refusal; after the time they go on, and the job must end in the attempt it began in, with
the history that it would have had.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from bench.soak.postgres import open_postgres  # noqa: E402
from bench.soak.results import commit, machine  # noqa: E402
from tests.journeys import jobs  # noqa: E402
from tests.journeys.small import a_small_server, frozen  # noqa: E402

STEP_SECONDS = 0.5
STEPS_AN_EPOCH = 32


def main() -> int:
    parser = argparse.ArgumentParser(description="Keep Redis and PostgreSQL out of reach while a job trains.")
    parser.add_argument("--seconds", type=int, default=300)
    seconds = parser.parse_args().seconds
    epochs = round((seconds * 1.1 + 20) / STEP_SECONDS / STEPS_AN_EPOCH)
    with tempfile.TemporaryDirectory(prefix="headrace-outage-") as made, open_postgres() as postgres:
        folder = Path(made)
        settings = {"HEADRACE_DATABASE_URL": postgres.new_database("outage"), "HEADRACE_LEASE_SECONDS": "30",
                    "HEADRACE_REDIS_URL": f"unix://{folder / 'home' / 'redis.sock'}", "HEADRACE_RECOVERY_SECONDS": "30"}
        with a_small_server(folder, "--step-seconds", str(STEP_SECONDS), is_apart=True, **settings) as small, \
                small.server.client() as client:
            job_id = jobs.submit(client, jobs.upload(client, jobs.chat_rows(4 * STEPS_AN_EPOCH)), epochs=epochs)
            jobs.wait_for_step(small.server, client, job_id, 5)
            child = small.child()
            with frozen(small.server.processes("redis.sock")[-1]):
                postgres.freeze()
                time.sleep(seconds)
                postgres.thaw()
            job = jobs.wait_for_end(small.server, client, job_id, seconds=seconds + 60)
            attempts, found = small.attempts(job_id), small.findings(job_id)
    case = f"fault: Redis and PostgreSQL stopped for {seconds} s, small trainer"
    figures = {"children_started_again": attempts - 1, "faults_in_history": len(found.words),
               "jobs_succeeded": int(job["status"] == "succeeded")}
    rows = [{"system": "headrace", "metric": metric, "case": case, "value": value, "unit": "count", "runs": 1}
            for metric, value in figures.items()]
    command = f"python bench/soak/outage.py --seconds {seconds}"
    told = {"commit": commit(), "machine": machine(), "command": command, "rows": rows}
    (HERE / "outage.json").write_text(json.dumps(told, indent=1) + "\n")
    print(json.dumps({**figures, "child": child.pid, "words": found.words}))
    return 0 if not found.words and attempts == 1 else 1


if __name__ == "__main__":
    sys.exit(main())
