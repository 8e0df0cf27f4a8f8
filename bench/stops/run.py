"""Stop jobs at random moments, and measure how soon the training child is gone and its device is free.

    python -m bench.stops.run [--cancels 100] [--pauses 100] [--preempts 50] [--terms 20] [--seed 1]

Starts a whole server (`headrace serve`) on loopback in a folder of its own, with the built-in tiny model, one train worker and
short samples and evaluations in each job. A first job that nobody disturbs tells how long a run takes from its claim to its
end; of each later run a random part of that passes, so moments fall into every phase however fast the machine is. Then the job
is cancelled, or paused, or one of higher priority is submitted, or its worker gets TERM. Clocks start with the request (or the
signal).

Paused and preempted jobs go on and are stopped again until they are done; each must end in the bytes of the first.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

import httpx
import psutil

from bench.submit.run import _commit, _machine, a_server

HERE = Path(__file__).resolve().parent
JOBS = "/fine_tuning/jobs"
FINISHED = ("succeeded", "failed", "cancelled")
EPOCHS = 30
LIMIT_SECONDS = {"child_told_seconds": 1.0, "child_gone_seconds": 5.0, "device_free_seconds": 5.0}
PATIENCE_SECONDS = 120.0
ROWS = "".join(json.dumps({"messages": [{"role": "user", "content": f"What is {n} and {n}?"},
                                        {"role": "assistant", "content": f"It is {2 * n}, said the miller."}]}) + "\n"
               for n in range(96)).encode()


@dataclass(frozen=True)
class Stopped:
    """One stop: at which phase, and what it took."""

    phase: str
    told_seconds: float | None
    """From the request, of a preemption from upkeep's decision, until the supervisor wrote the stop into the child's pipe, by
    the times in the log; None where there was no child yet."""
    gone_seconds: float
    """Until no process of the child's group was seen to live."""
    free_seconds: float
    """Until the job had left its run, and so its device."""


def main() -> None:
    asked = _asked()
    chance = random.Random(asked.seed)
    print(f"seed {asked.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder, a_server(
            Path(folder), HEADRACE_PREEMPT_AFTER_SECONDS="0") as client:
        bench = Bench(client, chance, Path(folder) / "serve.log")
        rows = _rows("cancel", [bench.cancel(number) for number in range(asked.cancels)])
        for what, count, stop in (("pause", asked.pauses, bench.pause), ("preempt", asked.preempts, bench.preempt)):
            stops, differing, jobs = bench.again_and_again(what, count, stop)
            rows += [*_rows(what, stops),
                     _row("adapters_differing", f"{what}: {len(stops)} over {jobs} jobs", differing, "jobs", jobs)]
        terms = bench.terms(asked.terms)
        rows += [*_rows("term", terms), _row("attempts_counted_as_failed", f"{len(terms)} workers ended by TERM", bench.failed,
                                             "attempts", len(terms))]
    command = f"python -m bench.stops.run --cancels {asked.cancels} --pauses {asked.pauses} " \
              f"--preempts {asked.preempts} --terms {asked.terms} --seed {asked.seed}"
    told = {"commit": _commit(), "machine": _machine(), "command": command, "seed": asked.seed}
    (HERE / "results.json").write_text(json.dumps({**told, "rows": rows}, indent=1) + "\n")


class Bench:
    """One server, and what is done to its jobs."""

    def __init__(self, client: httpx.Client, chance: random.Random, log: Path) -> None:
        self._client, self._chance, self._log = client, chance, log
        answer = client.post("/files", data={"purpose": "fine-tune"}, files={"file": ("rows.jsonl", ROWS)})
        self._file_id = answer.raise_for_status().json()["id"]
        self.failed = 0
        self._twin, self._span_seconds = self._undisturbed()

    def cancel(self, number: int) -> Stopped:
        """Cancel a job of its own at a random moment."""
        print(f"cancel {number}", flush=True)
        while True:
            job_id = self._submit()
            self._wait_for_moment(job_id)
            with contextlib.suppress(httpx.HTTPStatusError):  # it was done before the request came
                return self._stop(job_id, partial(self._post, job_id, "cancel"), FINISHED)

    def again_and_again(self, what: str, count: int, stop: Callable[[str], Stopped]) -> tuple[list[Stopped], int, int]:
        """Stop jobs at random moments, each again and again until it is done; give the stops, and how many jobs differ."""
        stops: list[Stopped] = []
        adapters: list[str] = []
        while len(stops) < count:
            job_id = self._submit()
            while len(stops) < count and self._wait_for_moment(job_id):
                print(f"{what} {len(stops)} of {count}", flush=True)
                with contextlib.suppress(httpx.HTTPStatusError):  # it was done before the request came
                    stops.append(stop(job_id))
            adapters.append(self._finished(job_id))
        return stops, sum(adapter != self._twin for adapter in adapters), len(adapters)

    def pause(self, job_id: str) -> Stopped:
        stopped = self._stop(job_id, partial(self._post, job_id, "pause"), ("paused", *FINISHED))
        self._post(job_id, "resume")
        return stopped

    def preempt(self, job_id: str) -> Stopped:
        """Submit a job of higher priority, which takes the only device, and cancel it when the other has made room."""
        urgent: list[str] = []
        stopped = self._stop(job_id, lambda: urgent.append(self._submit(priority=10)), ("queued", *FINISHED))
        with contextlib.suppress(httpx.HTTPStatusError):
            self._post(urgent[0], "cancel")
        return stopped

    def terms(self, count: int) -> list[Stopped]:
        """End the train worker by TERM at random moments of a job, which is handed back each time."""
        stops: list[Stopped] = []
        job_ids = [self._submit()] if count else []
        for number in range(count):
            print(f"term {number} of {count}", flush=True)
            while not self._wait_for_moment(job_ids[-1]):
                job_ids.append(self._submit())
            worker = next(p for p in _processes() if _line(p)[-2:] == ["--queue", "train"])
            stops.append(self._stop(job_ids[-1], worker.terminate, ("queued", *FINISHED)))
        codes = [event["data"]["code"] for each in job_ids for event in self._events(each) if event["type"] == "message"]
        self.failed = codes.count("run.interrupted")
        return stops

    def _wait_for_moment(self, job_id: str) -> bool:
        """Wait until a run has the job, and then so long as chance says; False when the job is done."""
        is_running = self._wait(job_id, ("running", *FINISHED))["status"] == "running"
        if is_running:
            time.sleep(self._chance.uniform(0, self._span_seconds))
        return is_running

    def _stop(self, job_id: str, ask: Callable[[], object], ends: tuple[str, ...]) -> Stopped:
        """Ask, and look until the child's group is dead and the job is in a state in which no run holds it."""
        phase = (self._job(job_id)["progress"] or {}).get("phase") or "claimed"
        groups: set[int] = set()
        began, asked_at = time.monotonic(), time.time()
        ask()
        gone: float | None = None
        free = 0.0
        while True:
            groups |= {_group(process.pid) for process in _processes() if any(job_id in part for part in _line(process))}
            lives = bool(groups & {_group(process.pid) for process in _processes()})
            now = time.monotonic() - began
            gone = None if lives else now if gone is None else gone
            free = free or (now if self._job(job_id)["status"] in ends else 0.0)
            if free and gone is not None:
                return Stopped(phase, self._told_after(job_id, asked_at), gone, free)
            if now > PATIENCE_SECONDS:
                found = f"{self._job(job_id)['status']} and its child is {'alive' if lives else 'gone'}"
                raise SystemExit(f"job {job_id} is {found} {PATIENCE_SECONDS:.0f} s after it was told to stop (phase {phase})")
            time.sleep(0.02)

    def _told_after(self, job_id: str, asked_at: float) -> float | None:
        """Seconds from `asked_at`, or from upkeep's word that the job makes room, until the log says its child was told."""
        since = asked_at
        for line in self._log.read_text(errors="replace").splitlines():
            if job_id in line and ("child.told_to_end" in line or "run.preempting" in line):
                word = json.loads(line[line.index("{"):])
                at = datetime.fromisoformat(word["timestamp"]).timestamp()
                if at >= asked_at and word["event"] == "child.told_to_end":
                    return at - since
                since = max(since, at)
        return None

    def _undisturbed(self) -> tuple[str, float]:
        """The adapter of a job that nobody stops, and how long its run took."""
        job_id = self._submit()
        self._wait(job_id, ("running",))
        began = time.monotonic()
        return self._finished(job_id), time.monotonic() - began

    def _submit(self, priority: int = 0) -> str:
        body = {"priority": priority, "model": "tiny", "training_file": self._file_id, "seed": 7, "validation_split": 0.2,
                "hyperparameters": {"n_epochs": EPOCHS, "batch_size": 4},
                "options": {"eval_every_steps": 10, "sample_prompts": ["Tell me of the mill."], "sample_max_tokens": 64}}
        return self._client.post(JOBS, json=body).raise_for_status().json()["id"]

    def _job(self, job_id: str) -> dict:
        return self._client.get(f"{JOBS}/{job_id}").raise_for_status().json()

    def _post(self, job_id: str, verb: str) -> None:
        self._client.post(f"{JOBS}/{job_id}/{verb}").raise_for_status()

    def _wait(self, job_id: str, states: tuple[str, ...]) -> dict:
        until = time.monotonic() + PATIENCE_SECONDS
        while (job := self._job(job_id))["status"] not in states:
            if time.monotonic() > until:
                raise SystemExit(f"job {job_id} is {job['status']} after {PATIENCE_SECONDS:.0f} s")
            time.sleep(0.05)
        return job

    def _events(self, job_id: str) -> list[dict]:
        events, after = [], {}
        while True:
            page = self._client.get(f"{JOBS}/{job_id}/events", params={"limit": 100, **after}).raise_for_status().json()
            events += page["data"]
            if not page["has_more"]:
                return events
            after = {"after": events[-1]["id"]}

    def _finished(self, job_id: str) -> str:
        """Wait for the end of a job; give the SHA-256 of its adapter."""
        self._wait(job_id, FINISHED)
        newest = self._client.get(f"{JOBS}/{job_id}/checkpoints").raise_for_status().json()["data"][0]["id"]
        path = f"{JOBS}/{job_id}/checkpoints/{newest}/files/adapter_model.safetensors"
        return hashlib.sha256(self._client.get(path).raise_for_status().content).hexdigest()


def _processes() -> list[psutil.Process]:
    """What descends from this program, and runs."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def _line(process: psutil.Process) -> list[str]:
    with contextlib.suppress(psutil.Error):
        return process.cmdline()
    return []


def _group(pid: int) -> int:
    """The process group; a number of none for a process that has gone."""
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return -pid


def _rows(what: str, stops: list[Stopped]) -> list[dict]:
    if not stops:
        return []
    phases = {phase: sum(stop.phase == phase for stop in stops) for phase in sorted({stop.phase for stop in stops})}
    case = f"{what} at a random moment; phases " + ", ".join(f"{phase} {count}" for phase, count in phases.items())
    rows = []
    told = [stop.told_seconds for stop in stops if stop.told_seconds is not None]
    for metric, seconds in (("child_told_seconds", told), ("child_gone_seconds", [stop.gone_seconds for stop in stops]),
                            ("device_free_seconds", [stop.free_seconds for stop in stops])):
        rows += [_row(f"{metric}_median", case, round(statistics.median(seconds), 3), "s", len(seconds)),
                 _row(f"{metric}_max", case, round(max(seconds), 3), "s", len(seconds)),
                 _row(f"{metric}_over_limit", f"{case}; limit {LIMIT_SECONDS[metric]:g} s",
                      sum(s > LIMIT_SECONDS[metric] for s in seconds), "stops", len(seconds))]
    return rows


def _row(metric: str, case: str, value: float, unit: str, runs: int) -> dict:
    row = {"system": "headrace", "metric": metric, "case": case, "value": value, "unit": unit, "runs": runs}
    print(json.dumps(row), flush=True)
    return row


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Stop jobs at random moments.")
    for name, count in (("cancels", 100), ("pauses", 100), ("preempts", 50), ("terms", 20)):
        parser.add_argument(f"--{name}", type=int, default=count)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
