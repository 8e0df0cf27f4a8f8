"""Reports of steps, with figures that a reader can follow."""

from __future__ import annotations

from typing import Any

from worker.reports import StepDone


def a_step(step: int, **figures: Any) -> StepDone:
    told: dict[str, Any] = {
        "train_loss": 1.0 / step, "train_mean_token_accuracy": 0.5, "learning_rate": 1e-4, "grad_norm": 1.0, "epoch": step / 4,
        "examples": 4, "tokens": 40, "trained_tokens": 10, "step_seconds": 0.01, "data_wait_seconds": 0.0, "memory_bytes": 1,
    }
    return StepDone(step=step, **(told | figures))
