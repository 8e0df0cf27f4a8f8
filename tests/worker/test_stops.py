"""A stop reaches the child in every phase: it saves its last border and is gone within five seconds."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.worker.runs import Supervised, chat_rows, run_spec
from worker.reports import Finished, PhaseChanged, Sampled, Saved, Stop, Stopped

GONE_SECONDS = 5.0
LONG: dict[str, dict[str, Any]] = {
    "loading": {},
    "waiting_for_data": {},
    "training": {},
    "evaluating": {"rows": chat_rows(600), "validation_fraction": 0.5, "eval_every_steps": 1},
    "sampling": {"sample_prompts": ["Tell me of the mill."] * 8, "sample_max_tokens": 512},
    "saving": {"validation_fraction": 0.0},
}
"""What makes a phase last."""


@pytest.mark.parametrize("phase", LONG)
def test_a_stop_is_obeyed_within_seconds_in_every_phase(phase: str, tmp_path: Path) -> None:
    spec = run_spec(tmp_path, **{"recovery_every_seconds": 1e9, **LONG[phase]})
    with Supervised(tmp_path, spec) as child:
        child.until(lambda line: line == PhaseChanged(phase))  # type: ignore[arg-type]
        before, asked = len(child.heard), time.monotonic()
        child.say(Stop())
        last = child.until(lambda line: isinstance(line, Stopped | Finished))
        assert child.end() == 0
        took, after = time.monotonic() - asked, child.heard[before:]
        saved = [line.step for line in child.heard if isinstance(line, Saved)]
    assert took < GONE_SECONDS
    assert not any(isinstance(line, Sampled) for line in after)
    assert isinstance(last, Stopped if phase != "saving" else Finished)
    assert last.step == (saved[-1] if saved else 0)
