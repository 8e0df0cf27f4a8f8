"""A training child without torch: `python -m tests.worker.fake_child [options] SPEC`.

It speaks the same lines, saves folders with manifests, goes on from `resume_from`, and misbehaves on demand.
"""

from __future__ import annotations

import argparse
import os
import queue
import signal
import sys
import threading
import time
from pathlib import Path

import orjson

from core.storage import manifest
from core.storage.artifacts import STORAGE
from tests.worker.fake_steps import a_step
from worker.reports import (
    Failed,
    Finished,
    Line,
    PhaseChanged,
    Saved,
    Started,
    Steer,
    SteerCommitted,
    SteerProposed,
    Stop,
    Stopped,
    Warned,
    read_command,
)


def main() -> None:
    asked = parse()
    spec = orjson.loads(Path(asked.spec).read_bytes())
    stop, steering = listen(asked.is_deaf)
    proposed: SteerProposed | None = None
    if asked.is_deaf:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    done = read_step(spec["resume_from"])
    report(PhaseChanged("loading"))
    report(Started(from_step=done, total_steps=spec["total_steps"], parameters=1, trainable_parameters=1, device="cpu",
                   dtype="fp32"))
    for step in range(done + 1, spec["total_steps"] + 1):
        misbehave(asked, step)
        if proposed is not None and step == proposed.from_step:
            answer = steering.get(timeout=10)
            assert isinstance(answer, SteerCommitted)
            report(Warned(f"the log has {len((answer.stream or {}).get('mixture', ()))} entries"))
            proposed = None
        if proposed is None and not steering.empty():
            proposed = SteerProposed(steering.get().number, step + 1)
            report(proposed)
            if asked.dies_proposing:
                os.kill(os.getpid(), signal.SIGKILL)
        if stop.wait(asked.step_seconds) and not asked.is_deaf:
            save(spec, step - 1, "recovery")
            report(Stopped(step - 1))
            return
        report(a_step(step))
        if step == spec["total_steps"]:
            save(spec, step, "final")
        elif step in spec["epoch_ends"] or asked.saves_each:
            save(spec, step, "listed" if step in spec["epoch_ends"] else "recovery")
    report(Finished(step=spec["total_steps"], trained_tokens=10 * (spec["total_steps"] - done)))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--step-seconds", type=float, default=0.0)
    parser.add_argument("--die-at", type=int)
    parser.add_argument("--stall-at", type=int)
    parser.add_argument("--fail-at", type=int)
    parser.add_argument("--failure", default="user")
    parser.add_argument("--unreached-at", type=int, help="ends since its rows in the bucket cannot be read")
    parser.add_argument("--babble-at", type=int)
    parser.add_argument("--deaf", dest="is_deaf", action="store_true")
    parser.add_argument("--dies-proposing", action="store_true")
    parser.add_argument("--saves-each", action="store_true")
    parser.add_argument("--lies-at", type=int, help="saves a checkpoint whose files do not agree with its manifest")
    parser.add_argument("spec")
    return parser.parse_args()


def misbehave(asked: argparse.Namespace, step: int) -> None:
    if step == asked.die_at:
        print("out of luck", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    if step == asked.stall_at:
        time.sleep(600)
    if step == asked.fail_at:
        report(Failed(asked.failure, "bad_row", "row 3 is no row", "training_file"))
        sys.exit(1)
    if step == asked.unreached_at:
        report(Failed("infrastructure", "place_unreachable", f"'files/f' in place {STORAGE!r} could not be read in 8 tries"))
        sys.exit(1)
    if step == asked.babble_at:
        os.write(FD, b"I am not a report\n")
        time.sleep(600)
    if step == asked.lies_at:
        report(Saved(step=step, checkpoint="listed", folder=orjson.loads(Path(asked.spec).read_bytes())["folder"],
                     manifest_digest="0" * 64, bytes=1, position={"step": step}))


def listen(is_deaf: bool) -> tuple[threading.Event, queue.SimpleQueue]:
    stop, steering = threading.Event(), queue.SimpleQueue()

    def hear() -> None:
        for line in sys.stdin.buffer:
            command = read_command(line)
            if isinstance(command, Stop):
                stop.set()
            elif isinstance(command, Steer | SteerCommitted):
                steering.put(command)
        if not is_deaf:
            os._exit(1)

    threading.Thread(target=hear, daemon=True).start()
    return stop, steering


def read_step(resume_from: str | None) -> int:
    return orjson.loads((Path(resume_from) / "state.json").read_bytes())["step"] if resume_from else 0


def save(spec: dict, step: int, kind: str) -> None:
    if os.environ.get("RANK", "0") != "0":
        return
    folder = Path(spec["folder"]) / "checkpoints" / f"step-{step:08d}-{kind}"
    folder.mkdir(parents=True)
    (folder / "state.json").write_bytes(orjson.dumps({"step": step}))
    (folder / "adapter_model.safetensors").write_bytes(b"weights after step %d" % step)
    sealed = manifest.seal(folder)
    report(Saved(step=step, checkpoint=kind, folder=str(folder), manifest_digest=sealed.digest, bytes=sealed.bytes,  # type: ignore[arg-type]
                 position={"step": step}, metrics={}))


FD = int(os.environ["HEADRACE_REPORT_FD"])


def report(line: Line) -> None:
    os.write(FD, line.to_line())


if __name__ == "__main__":
    main()
