"""What a job's weights are when nothing happens to it: its run once more, by hand, from the first step.

The spec is that of the job's last run, without the checkpoint it went on from and in a folder of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bench.soak.trainer import WEIGHTS, Trained
from core.data.pipeline import open_stream
from core.data.spec import StreamSpec
from core.specs.run import RunSpec

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Twin:
    digests: dict[int, str]
    """Of the weights after each step; empty where they are not told."""
    adapter: bytes


def small_twin(spec: RunSpec) -> Twin:
    """Train a spec of the small trainer in this process."""
    trained = Trained.fresh(spec.seed)
    digests = {0: trained.digest}
    with open_stream(StreamSpec.from_json(spec.stream)) as stream:
        for batch in stream.batches():
            trained.take(batch)
            digests[trained.step] = trained.digest
    return Twin(digests, trained.weights.tobytes())


def real_twin(spec: RunSpec, folder: Path) -> Twin:
    """Train a spec of the real model in a child without a supervisor."""
    folder.mkdir(parents=True)
    file = folder / "spec.json"
    file.write_text(spec.model_copy(update={"folder": str(folder), "resume_from": None}).model_dump_json())
    subprocess.run([sys.executable, "-m", "worker.run", str(file)], cwd=ROOT, check=True, stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
    return Twin({}, (folder / "checkpoints" / f"step-{spec.total_steps:08d}" / WEIGHTS).read_bytes())
