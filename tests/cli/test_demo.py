"""The demo, with the tiny model in place of the real one."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

from cli.demo import Told
from tests.servers import HEADRACE, ROOT


def run(home: Path) -> subprocess.CompletedProcess[str]:
    own = {k: v for k, v in os.environ.items() if not k.startswith("HEADRACE_")}
    told = {**own, "HEADRACE_HOME": str(home), "HEADRACE_THREADS": "1", "HEADRACE_DEVICE": "cpu"}
    return subprocess.run([*HEADRACE, "demo", "--tiny"], env=told, cwd=ROOT, capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=200, check=False)


def test_the_demo_goes_from_nothing_to_an_adapter_and_leaves_no_process(tmp_path: Path) -> None:
    done = run(tmp_path / "home")
    again = run(tmp_path / "home")

    assert done.returncode == 0, done.stderr
    assert again.returncode == 0, again.stderr
    assert "240 rows in one voice" in done.stdout
    assert "step 28/28" in done.stdout
    assert "held-out loss" in done.stdout
    assert "made before" in again.stdout
    adapters = list((tmp_path / "home" / "adapters").iterdir())
    assert len(adapters) == 2
    assert all((adapter / "adapter_model.safetensors").is_file() for adapter in adapters)
    assert processes_in(tmp_path / "home") == []


def test_the_end_of_the_demo_is_told_from_the_jobs_events() -> None:
    def sampled(step: int, answer: str) -> dict[str, Any]:
        samples = [{"prompt": "Q", "answer": answer}]
        return {"type": "message", "data": {"code": "sample.generated", "step": step, "samples": samples}}

    def step(number: int, **figures: float) -> dict[str, Any]:
        return {"type": "metrics", "data": {"step": number, **figures}}

    told = Told()
    events = [sampled(0, "no"), step(1), step(4, full_valid_loss=4.0), step(8, valid_loss=3.0), sampled(8, "yes")]
    shown = list(told.take(iter(events)))

    assert told.before[0]["answer"] == "no"
    assert told.after[0]["answer"] == "yes"
    assert told.held_out == [(4, 4.0), (8, 3.0)]
    assert len(shown) == 4


def processes_in(home: Path) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                environment = (entry / "environ").read_bytes()
            except OSError:
                continue
            if f"HEADRACE_HOME={home}\0".encode() in environment:
                found.append(entry.name)
    return found
