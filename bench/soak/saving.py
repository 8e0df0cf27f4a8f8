"""Kills around saving: SIGKILL before and after each call that writes, syncs, renames or removes a file, or writes a row.

    python bench/soak/saving.py [--kills 1000] [--database sqlite|postgresql] [--seed 1]

One *scene* is all that saving is: the trainer's own saver publishes two recovery points, a listed and a final checkpoint, and
the supervisor's own scribe reads each against its manifest, writes its row and deletes what the row made superfluous. The scene
is played in a forked process. A profile hook counts the calls of interest in all its threads, at their begin and at their end,
and kills the process at the k-th; every third kill comes at a random moment instead, which may lie within a call. Then, as
the next run would, this program asks the ledger what can be restored:

- every checkpoint with a row verifies, byte for byte, and so does what clients are shown;
- the newest of them loads, and holds the weights of its step;
- after the next start in the same folder, nothing there that has a final name is partial.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

import torch  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

from bench.soak.postgres import open_postgres  # noqa: E402
from bench.soak.results import commit, machine  # noqa: E402
from core.checkpoints import service as checkpoints  # noqa: E402
from core.clock import system_clock  # noqa: E402
from core.db.migrate import migrate  # noqa: E402
from core.db.session import Ledger  # noqa: E402
from core.errors import HeadraceError  # noqa: E402
from core.jobs.claims import Claim  # noqa: E402
from core.storage import manifest  # noqa: E402
from core.storage.artifacts import Artifacts  # noqa: E402
from tests import factories  # noqa: E402
from tests.tiny_model import tiny_base  # noqa: E402
from tests.worker.making import ORIGIN  # noqa: E402
from worker.run_spec import find_restorable  # noqa: E402
from worker.scribe import Scribe  # noqa: E402
from worker.training.checkpointing import Saver, Snapshot  # noqa: E402
from worker.training.publishing import KEPT_UNDER_SUPERVISOR, Publisher  # noqa: E402
from worker.training.state import State, read_state  # noqa: E402

SAVES: tuple[tuple[int, Any], ...] = ((1, "recovery"), (2, "recovery"), (3, "listed"), (4, "final"))
FILE_CALLS = frozenset({"open", "write", "fsync", "rename", "replace", "mkdir", "rmdir", "unlink", "remove", "chmod", "close",
                        "sendfile", "serialize_file"})
LEDGER_CALLS = frozenset({"execute", "executemany", "commit", "rollback"})
WEIGHTS = 4096


@dataclass
class Findings:
    kills: int = 0
    points: int = 0
    """Numbered moments of one scene."""
    torn_checkpoints_loaded: int = 0
    partial_checkpoints_listed: int = 0
    partial_folders_left: int = 0
    by_newest: dict[int, int] = field(default_factory=dict)
    """How many kills left which step as the newest to restore; 0 for none."""
    words: list[str] = field(default_factory=list)

    def blame(self, count: str, words: str) -> None:
        setattr(self, count, getattr(self, count) + 1)
        self.words.append(f"{count}: {words}")


class Stage:
    """Plays scenes, each of a job of its own, and kills them."""

    def __init__(self, url: str, folder: Path, *, seed: int = 1) -> None:
        torch.set_num_threads(1)
        self._url, self._artifacts = url, Artifacts(folder / "storage")
        self._random = random.Random(seed)
        tiny_base()
        self.points, self.seconds = self._measure()

    def kill_at(self, points: Iterator[int] | list[int], *, at_random: int = 0) -> Findings:
        """Kill a scene at each of these points, and so many more at random moments; look at what each leaves."""
        found = Findings(points=self.points)
        for point in points:
            self._kill(found, point=point)
        for _ in range(at_random):
            self._kill(found, seconds=self._random.uniform(0.0, self.seconds))
        return found

    def _measure(self) -> tuple[int, float]:
        reading, writing = os.pipe()
        began = time.monotonic()
        pid = self._play(self._claim(), at=0, tell=writing)
        os.close(writing)
        points = int(os.read(reading, 32) or b"0")
        os.close(reading)
        _, status = os.waitpid(pid, 0)
        assert status == 0, "an undisturbed scene does not end well"
        return points, time.monotonic() - began

    def _kill(self, found: Findings, *, point: int = 0, seconds: float | None = None) -> None:
        claim = self._claim()
        pid = self._play(claim, at=point)
        if seconds is not None:
            time.sleep(seconds)
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        found.kills += 1
        self._look(claim, found)

    def _claim(self) -> Claim:
        ledger = Ledger(self._url, pool_size=1)
        try:
            with ledger.write() as session:
                return factories.a_running_job(session)
        finally:
            ledger.close()  # a connection must not cross the fork

    def _play(self, claim: Claim, *, at: int, tell: int | None = None) -> int:
        if pid := os.fork():
            return pid
        status = 1
        with contextlib.suppress(BaseException):
            counter = KillAt(at)
            threading.setprofile(counter)
            sys.setprofile(counter)
            play(self._url, self._artifacts, claim)
            sys.setprofile(None)
            if tell is not None:
                os.write(tell, str(counter.seen).encode())
            status = 0
        os._exit(status)

    def _look(self, claim: Claim, found: Findings) -> None:
        ledger = Ledger(self._url, pool_size=1)
        with ledger.read() as session:
            rows = checkpoints.restorable(session, claim.job.id)
            shown = checkpoints.list_checkpoints(session, claim.job.id, after=None, limit=20).items
        ledger.close()
        for row in [*rows, *shown]:
            with blaming(found, "partial_checkpoints_listed"):
                manifest.verify(self._artifacts.path(row.folder_key), row.manifest_digest)
        newest, damaged = find_restorable(rows, self._artifacts)
        if damaged:
            found.blame("torn_checkpoints_loaded", str(damaged[0][1]))
        found.by_newest[newest.step if newest else 0] = found.by_newest.get(newest.step if newest else 0, 0) + 1
        if newest is not None:
            with blaming(found, "torn_checkpoints_loaded"):
                load(self._artifacts.path(newest.folder_key), newest.step)
        self._start_again(claim, newest.step if newest else 0, found)

    def _start_again(self, claim: Claim, step: int, found: Findings) -> None:
        folder = self._artifacts.path(claim.run.folder_key)
        Publisher(folder).open(step)
        for left in (folder / "checkpoints").iterdir():
            with blaming(found, "partial_folders_left"):
                manifest.verify(left)


class KillAt:
    """A profile hook for all threads: counts calls of interest, and kills the process at one of them."""

    def __init__(self, at: int) -> None:
        self._at, self._count = at, itertools.count(1)
        self.seen = 0

    def __call__(self, frame: Any, event: str, called: Any) -> None:
        if event in ("c_call", "c_return", "c_exception"):
            name = getattr(called, "__name__", "")
            is_one = name in FILE_CALLS or name in LEDGER_CALLS
        else:  # psycopg's own calls are no C functions to Python
            is_one = frame.f_code.co_name in LEDGER_CALLS and "psycopg" in frame.f_code.co_filename
        if is_one:
            self.seen = next(self._count)
            if self.seen == self._at:
                os.kill(os.getpid(), signal.SIGKILL)


def play(url: str, artifacts: Artifacts, claim: Claim) -> None:
    """One scene: what a run saves, and what its supervisor writes of it."""
    ledger = Ledger(url, durability="NORMAL", pool_size=2)
    scribe = Scribe(ledger, artifacts, job_id=claim.job.id, run_id=claim.run.id, fence=claim.run.fence, ring=lambda job: None,
                    clock=system_clock, keep_recovery=1)
    saver = Saver(artifacts.path(claim.run.folder_key), base_model=tiny_base(), origin=ORIGIN, report=scribe.note,
                  keep=KEPT_UNDER_SUPERVISOR)
    saver.open(0)
    for step, kind in SAVES:
        saver.save(weights_of(step), kind, {})
    saver.wait()
    assert scribe.close(60)
    assert scribe.fault is None
    ledger.close()


def weights_of(step: int) -> Snapshot:
    weights = torch.full((WEIGHTS,), float(step))
    return Snapshot(State(step=step), {"w": weights}, b"{}\n", {"w.exp_avg": weights + 1}, {"cpu": torch.get_rng_state()})


def load(folder: Path, step: int) -> None:
    """Load a checkpoint as a run does; raises HeadraceError where it does not hold what was saved at its step."""
    state = read_state(folder, ORIGIN)
    tensors = load_file(folder / "adapter_model.safetensors")["w"], load_file(folder / "optimizer.safetensors")["w.exp_avg"]
    if state.step != step or not torch.equal(tensors[0], torch.full((WEIGHTS,), float(step))) or not torch.equal(
            tensors[1], tensors[0] + 1):
        raise manifest.FolderDamaged(f"{folder} holds step {state.step} with other weights than those of step {step}")


@contextlib.contextmanager
def blaming(found: Findings, count: str) -> Iterator[None]:
    try:
        yield
    except (HeadraceError, OSError, ValueError) as error:
        found.blame(count, str(error))


def main() -> int:
    asked = parse()
    results = HERE / "saving.json"
    told = json.loads(results.read_text()) if results.exists() else {"rows": []}
    for database in asked.database or ["sqlite", "postgresql"]:
        with contextlib.ExitStack() as opened:
            folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="headrace-saving-")))
            url = (opened.enter_context(open_postgres()).new_database("saving") if database == "postgresql"
                   else f"sqlite:///{folder / 'headrace.db'}")
            migrate(url)
            stage = Stage(url, folder, seed=asked.seed)
            at_random = asked.kills // 3
            found = stage.kill_at(spread(asked.kills - at_random, stage.points), at_random=at_random)
        print(json.dumps({"database": database, "points": found.points, "kills": found.kills, "newest": found.by_newest,
                          "faults": found.words}), flush=True)
        case = f"fault: SIGKILL around saving, {database}, {found.points} points, seed {asked.seed}"
        told["rows"] = [row for row in told["rows"] if row["case"].split(",")[1] != f" {database}"]
        told["rows"] += [{"system": "headrace", "metric": name, "case": case, "value": getattr(found, name), "unit": "count",
                          "runs": 1}
                         for name in ("kills", "torn_checkpoints_loaded", "partial_checkpoints_listed",
                                      "partial_folders_left")]
        told |= {"commit": commit(), "machine": machine(), "command": f"python bench/soak/saving.py --kills {asked.kills}"}
        results.write_text(json.dumps(told, indent=1) + "\n")
    return 0


def spread(kills: int, points: int) -> list[int]:
    """So many of the points, evenly from the first to the last; each of them at least once where there are enough kills."""
    return [1 + number * points // kills for number in range(kills)]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Kill around saving, and load what is left.")
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--database", action="append", choices=["sqlite", "postgresql"], help="default: both")
    parser.add_argument("--seed", type=int, default=1, help="of the random moments")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
