"""A small training child without torch: `python -m bench.soak.trainer [options] SPEC`, where a server runs `worker.run SPEC`.

It is a child in all that surviving is made of: the same ties to its supervisor, the same rows in the same order, the same
checkpoints, published and verified by the same code. Only the arithmetic is small: an update is a few sums over the step's
tokens and a random vector, so a run starts in half a second, and its weights depend on every row, the order and the random
state.

With `--trace DIR` it writes down what it does as it does it, in `DIR/JOB.jsonl`: when a run starts, from which weights, when it
ends each step, with the digest of the weights then. A line is one write, so a kill loses none that was written.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
import xxhash

from core.data.pipeline import open_stream
from core.data.row_set import RowSet
from core.data.spec import Batch, Position, StreamSpec
from core.specs.run import RunSpec
from core.storage import manifest
from worker.child import Child, open_child
from worker.reports import CheckpointKind, Failed, Finished, PhaseChanged, Saved, Started, StepDone, Stopped
from worker.training.lineage import Seen
from worker.training.publishing import KEPT_UNDER_SUPERVISOR, Publisher

SIZE = 2048
WEIGHTS, STATE = "adapter_model.safetensors", "state.json"
NO_FAULTS = RowSet()
"""Of rows at fault that were met before: what it is given has none."""


@dataclass
class Trained:
    """All that a checkpoint holds."""

    step: int
    position: Position
    seen: Seen
    weights: np.ndarray
    """float64, shape (SIZE,)."""
    random: np.random.Generator

    @classmethod
    def fresh(cls, seed: int) -> Trained:
        return cls(0, Position(), Seen(), np.zeros(SIZE), np.random.default_rng(seed))

    @classmethod
    def read(cls, folder: Path) -> Trained:
        """Read a checkpoint that its manifest vouches for."""
        manifest.verify(folder)
        told = json.loads((folder / STATE).read_bytes())
        made = cls(told["step"], Position.from_json(told["position"]), Seen.from_json(told["seen"]),
                   np.frombuffer((folder / WEIGHTS).read_bytes()).copy(), np.random.default_rng())
        made.random.bit_generator.state = told["random"]
        return made

    def write(self, folder: Path) -> None:
        told = {"step": self.step, "position": self.position.to_json(), "seen": self.seen.to_json(),
                "random": self.random.bit_generator.state}
        (folder / STATE).write_text(json.dumps(told))  # the generator has integers of 128 bits, which orjson refuses
        (folder / WEIGHTS).write_bytes(self.weights.tobytes())
        (folder / "adapter_config.json").write_bytes(b"{}\n")

    def take(self, batch: Batch) -> None:
        """Train one step."""
        tokens = np.concatenate([micro.ids for micro in batch.micro_batches])
        drawn = np.bincount(tokens % SIZE, minlength=SIZE)
        self.weights = 0.9 * self.weights + 0.1 * drawn + 0.001 * self.random.random(SIZE)
        self.step, self.position, self.seen = batch.step, batch.position, self.seen.after(batch, NO_FAULTS)

    @property
    def digest(self) -> str:
        return xxhash.xxh3_64_hexdigest(self.weights.tobytes())


def main() -> int:
    asked = parse()
    spec = RunSpec.model_validate_json(Path(asked.spec).read_bytes())
    child = open_child(silence_seconds=asked.silence_seconds)
    told = Trace(asked.trace, Path(spec.folder))
    child.report(PhaseChanged("loading"))
    trained = Trained.read(Path(spec.resume_from)) if spec.resume_from else Trained.fresh(spec.seed)
    told.note("start", trained)
    child.stands_at(trained.step)
    child.report(Started(from_step=trained.step, total_steps=spec.total_steps, parameters=SIZE, trainable_parameters=SIZE,
                         device="cpu", dtype="fp32"))
    publisher = Publisher(Path(spec.folder), keep=KEPT_UNDER_SUPERVISOR)
    publisher.open(trained.step)

    def save(kind: CheckpointKind) -> None:
        made = publisher.publish(trained.step, kind, trained.write)
        child.report(Saved(trained.step, kind, str(made.folder), made.digest, made.bytes, trained.position.to_json(), {},
                           trained.seen.to_json()))
        publisher.prune()

    child.begins()
    return train(spec, asked, child, trained, told, save)


def train(spec: RunSpec, asked: argparse.Namespace, child: Child, trained: Trained, told: Trace,
          save: Callable[[CheckpointKind], None]) -> int:
    """Train what is left; the exit code is 1 after a failure that was asked for."""
    saved_at, done_before = time.monotonic(), trained.step
    with open_stream(StreamSpec.from_json(spec.stream)) as stream:
        for batch in stream.batches(trained.position) if trained.step < spec.total_steps else ():
            if batch.step == done_before + 1:
                child.report(PhaseChanged("training"))
            if misfortune := misfortune_of(asked, spec.seed, batch.step):
                misfortune(child)
                return 1
            time.sleep(asked.step_seconds)
            if child.is_stopping():
                save("recovery")
                child.report(Stopped(trained.step))
                return 0
            trained.take(batch)
            told.note("step", trained)
            child.report(step_done(batch, trained))
            if kind := due(spec, trained.step, seconds=time.monotonic() - saved_at):
                save(kind)
                saved_at = time.monotonic()
    told.note("end", trained)
    child.report(Finished(step=trained.step, trained_tokens=sum(trained.seen.trained_tokens)))
    return 0


def due(spec: RunSpec, step: int, *, seconds: float) -> CheckpointKind | None:
    if step == spec.total_steps:
        return "final"
    if step in spec.epoch_ends:
        return "listed"
    return "recovery" if seconds >= spec.recovery_every_seconds else None


def misfortune_of(asked: argparse.Namespace, seed: int, step: int) -> Callable[[Child], None] | None:
    """What happens before a step to a job whose seed calls for it."""
    if step != asked.bad_step:
        return None
    return {asked.poison_seed: die, asked.refused_seed: refuse}.get(seed)


def die(child: Child) -> None:
    print("this row is poison", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


def refuse(child: Child) -> None:
    child.report(Failed("user", "bad_row", "the row on line 3 of 'rows.jsonl' is no row; correct it", "training_file"))


def step_done(batch: Batch, trained: Trained) -> StepDone:
    return StepDone(
        step=batch.step, train_loss=float(trained.weights.mean()), train_mean_token_accuracy=0.5, learning_rate=1e-4,
        grad_norm=1.0, epoch=batch.epoch, examples=len(batch.rows), tokens=batch.tokens, trained_tokens=batch.trained_tokens,
        step_seconds=0.01, data_wait_seconds=0.0, memory_bytes=1, rows_digest=f"{batch.digest:016x}")


class Trace:
    """What runs of one job did, in the order in which they did it; by one clock, that of the host."""

    def __init__(self, folder: str | None, run_folder: Path) -> None:
        self._run = run_folder.name
        self._file = os.open(Path(folder) / f"{run_folder.parents[1].name}.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT,
                             0o644) if folder else None

    def note(self, what: str, trained: Trained) -> None:
        if self._file is not None:
            line = {"run": self._run, "at": time.monotonic(), "what": what, "step": trained.step, "digest": trained.digest}
            os.write(self._file, orjson.dumps(line) + b"\n")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.soak.trainer", description="A small training child.")
    parser.add_argument("--trace", help="folder of the traces")
    parser.add_argument("--step-seconds", type=float, default=0.0, help="how long a step takes at least")
    parser.add_argument("--silence-seconds", type=float, default=15.0, help="how long nothing may be heard of the supervisor")
    parser.add_argument("--bad-step", type=int, default=4, help="before which step a misfortune comes")
    parser.add_argument("--poison-seed", type=int, help="seed of jobs that die there")
    parser.add_argument("--refused-seed", type=int, help="seed of jobs whose data is at fault there")
    parser.add_argument("spec")
    return parser.parse_args()


if __name__ == "__main__":
    status = main()
    sys.stderr.flush()
    os._exit(status)
