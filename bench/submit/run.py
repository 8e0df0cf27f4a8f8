"""Measure how long a job waits for its first training step: from the submit's request to the step's event in the stream.

    python bench/submit/run.py [--runs 5]

Starts a whole server (`headrace serve`) on loopback in a folder of its own, with the built-in tiny model, so that nearly
all of the time is what every job pays: validation, claim, and a cold training child with its imports. Each run submits one
job, on a file that is registered by then, and hears the event stream. Every figure is the median of its runs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
HEADRACE = [sys.executable, "-m", "cli.main"]
READY_SECONDS = 60.0
JOB_SECONDS = 120.0
STAGES = {"queued": "job.queued", "claimed": "run.started"}
"""Stages on the way, each with the event that ends it."""


def main() -> None:
    asked = _asked()
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder, a_server(Path(folder)) as client:
        measured = measure(client, runs=asked.runs)
    rows = [_row(f"{stage}_seconds", [each[stage] for each in measured]) for stage in (*STAGES, "first_step")]
    told = {"commit": _commit(), "machine": _machine(), "command": f"python bench/submit/run.py --runs {asked.runs}"}
    (HERE / "results.json").write_text(json.dumps({**told, "rows": rows}, indent=1) + "\n")


def measure(client: httpx.Client, *, runs: int) -> list[dict[str, float]]:
    """Run one job to register the file, and then so many that are measured."""
    rows = b"".join(json.dumps({"messages": [{"role": "user", "content": f"What is {n} and {n}?"},
                                             {"role": "assistant", "content": f"It is {2 * n}."}]}).encode() + b"\n"
                    for n in range(40))
    answer = client.post("/files", data={"purpose": "fine-tune"}, files={"file": ("rows.jsonl", rows)}).raise_for_status()
    return [first_step(client, answer.json()["id"], seed=number) for number in range(runs + 1)][1:]


def first_step(client: httpx.Client, file_id: str, *, seed: int) -> dict[str, float]:
    """Submit a job; give the seconds from the request to each stage and to the first step, as the stream shows them."""
    body = {"model": "tiny", "training_file": file_id, "seed": seed, "hyperparameters": {"n_epochs": 1, "batch_size": 4}}
    began = time.perf_counter()
    job_id = client.post("/fine_tuning/jobs", json=body).raise_for_status().json()["id"]
    seen: dict[str, float] = {}
    with client.stream("GET", f"/fine_tuning/jobs/{job_id}/events", params={"stream": "true"}) as answer:
        for line in answer.iter_lines():
            if line == "data: [DONE]":
                break
            if line.startswith("data: "):
                event = json.loads(line.removeprefix("data: "))
                stage = next((s for s, code in STAGES.items() if (event.get("data") or {}).get("code") == code), None)
                name = "first_step" if event["type"] == "metrics" else stage
                if name is not None:
                    seen.setdefault(name, time.perf_counter() - began)
    return seen


@contextmanager
def a_server(folder: Path, **settings: str) -> Iterator[httpx.Client]:
    """Run a server with a key, the tiny model and these settings; give a client of it. Its log is `serve.log` in the folder."""
    home, port = folder / "home", _free_port()
    environment = {**{k: v for k, v in os.environ.items() if not k.startswith("HEADRACE_")}, "HEADRACE_HOME": str(home),
                   **settings}
    with (folder / "serve.log").open("wb") as log:
        server = subprocess.Popen([*HEADRACE, "serve", "--port", str(port)], cwd=ROOT, env=environment,
                                  stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        _wait_until_ready(f"http://127.0.0.1:{port}/readyz", server, folder / "serve.log")
        key = _run(environment, "keys", "create", "bench").strip()
        _run(environment, "models", "add", "tiny", "--builtin", "tiny")
        with httpx.Client(base_url=f"http://127.0.0.1:{port}/v1", headers={"Authorization": f"Bearer {key}"},
                          timeout=JOB_SECONDS, trust_env=False) as client:
            yield client
    finally:
        server.terminate()
        server.wait(40)


def _wait_until_ready(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until and server.poll() is None:
        try:
            if httpx.get(url, timeout=1, trust_env=False).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    raise SystemExit(f"the server was not ready within {READY_SECONDS:.0f} s:\n{log.read_text(errors='replace')[-2000:]}")


def _run(environment: dict[str, str], *arguments: str) -> str:
    return subprocess.run([*HEADRACE, *arguments], cwd=ROOT, env=environment, check=True, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True).stdout


def _row(metric: str, values: list[float]) -> dict:
    case = "tiny model, 40 chat rows, cold child"
    row = {"system": "headrace", "metric": metric, "case": case, "value": round(statistics.median(values), 3), "unit": "s",
           "runs": len(values)}
    print(json.dumps({**row, "all": [round(value, 2) for value in values]}), flush=True)
    return row


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _commit() -> str:
    return subprocess.run(["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()


def _machine() -> str:
    model = next((line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.machine())
    return f"{model}, {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}"


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure submit to first training step.")
    parser.add_argument("--runs", type=int, default=5)
    return parser.parse_args()


if __name__ == "__main__":
    main()
