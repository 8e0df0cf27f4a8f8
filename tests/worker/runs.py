"""Factories for tests of the whole child: a registered file, its RunSpec, and the process under a stand-in supervisor."""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from core.data.index import build_index
from core.data.pipeline import plan_stream
from core.data.spec import MixtureEntry, SourceSpec, StreamSpec
from core.specs.run import LoraSpec, OptimizerSpec, RunSpec
from tests.tiny_model import tiny_base
from tests.waiting import PATIENCE_SECONDS
from worker.reports import Line, Ping, Saved, StepDone, read_report


def chat_rows(number: int) -> list[dict]:
    return [{"messages": [{"role": "user", "content": f"What is number {n}?"},
                          {"role": "assistant", "content": f"It is {n}, and the answer after it is {n + 1}."}]}
            for n in range(number)]


def registered(folder: Path, rows: list[Any] | None = None) -> SourceSpec:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "rows.jsonl"
    lines = [row if isinstance(row, bytes) else orjson.dumps(row) for row in (chat_rows(40) if rows is None else rows)]
    file.write_bytes(b"\n".join(lines) + b"\n")
    build_index(file, folder / "index", shape="chat")
    return SourceSpec.of_file("rows", str(file), str(folder / "index"), "chat", hashlib.sha256(file.read_bytes()).hexdigest())


def run_spec(folder: Path, *, rows: list[Any] | None = None, stream: dict[str, Any] | None = None,
             validation_fraction: float = 0.2, **changes: Any) -> RunSpec:
    """A run of two epochs over 40 rows, four a step, dropout on."""
    train = StreamSpec(**{
        "sources": (registered(folder / "data", rows),), "mixture": (MixtureEntry(1, (1.0,)),), "seed": 5, "epochs": 2,
        "batch_size": 4, "tokenizer_path": str(tiny_base()), "tokenizer_digest": "t", "max_length": 128,
        "micro_batch_tokens": 96, "validation_fraction": validation_fraction, **(stream or {})})
    plan = plan_stream(train)
    held_out = {**train.to_json(), "part": "validation", "epochs": 1, "is_shuffled": False}
    return RunSpec(**{
        "folder": str(folder / "run"), "base_model": str(tiny_base()), "base_model_name": "tiny", "seed": 5,
        "stream": train.to_json(), "validation": held_out if validation_fraction else None, "total_steps": plan.total_steps,
        "epoch_ends": list(plan.epoch_ends), "optimizer": OptimizerSpec(learning_rate=2e-3, warmup_steps=2),
        "lora": LoraSpec(r=4, alpha=8, dropout=0.1), "recovery_every_seconds": 0.0, **changes})


def adapter(heard: list[Line]) -> bytes:
    last = [line for line in heard if isinstance(line, Saved)][-1]
    assert last.checkpoint == "final"
    return (Path(last.folder) / "adapter_model.safetensors").read_bytes()


def losses(heard: list[Line]) -> dict[int, tuple]:
    return {line.step: (line.train_loss, line.full_valid_loss) for line in heard if isinstance(line, StepDone)}


class Supervised:
    """A child with pipes as a supervisor gives it; pings are sent while it is listened to."""

    def __init__(self, folder: Path, spec: RunSpec) -> None:
        file = folder / "spec.json"
        file.write_text(spec.model_dump_json())
        self._reports, theirs = os.pipe()
        self.heard: list[Line] = []
        self._rest = b""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "worker.run", str(file)], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, pass_fds=[theirs], start_new_session=True,
            env={**os.environ, "HEADRACE_REPORT_FD": str(theirs), "HEADRACE_PARENT_PID": str(os.getpid())})
        os.close(theirs)

    def until(self, is_enough: Callable[[Line], bool] = lambda line: False) -> Line | None:
        """Listen until a report is enough, or None when the child has closed its end."""
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            self.say(Ping())
            if not select.select([self._reports], [], [], 1.0)[0]:
                continue
            arrived = os.read(self._reports, 65536)
            if not arrived:
                return None
            *lines, self._rest = (self._rest + arrived).split(b"\n")
            told = [read_report(line) for line in lines]
            self.heard += told
            enough = next(filter(is_enough, told), None)
            if enough:
                return enough
        raise TimeoutError(f"nothing of the kind within {PATIENCE_SECONDS} seconds; heard {self.heard[-3:]}")

    def say(self, command: Line) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(command.to_line())
            self.process.stdin.flush()

    def end(self) -> int:
        """Wait for the child; its standard error is kept in `errors`."""
        assert self.process.stderr is not None
        self.errors = self.process.stderr.read().decode()
        return self.process.wait(PATIENCE_SECONDS)

    def __enter__(self) -> Supervised:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stderr):
            if pipe and not pipe.closed:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        os.close(self._reports)
