"""Device sums of a step → its report, read without holding the device up.

On CUDA the numbers are copied to the host behind the step's own work and read when the next step has been launched; on a CPU
they are simply read. A step without trained tokens (every row of it was a hole) updates nothing and repeats the loss, the
accuracy and the norm last seen, with `trained_tokens` 0: it has no figures of its own, and a dip to zero would be a lie.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from core.data.row_set import RowSet
from core.data.spec import Batch
from core.errors import RunRejected
from worker.reports import SKIPPED_ROWS_TOLD, SkippedRow, StepDone
from worker.training.lineage import Seen, SlotCounts, row_losses
from worker.training.step import Sums


@dataclass(frozen=True)
class Timing:
    step_seconds: float
    """From the end of the step before, the wait for data included; evaluation, sampling and saving left out."""
    data_wait_seconds: float


class StepRecord:
    """A step that is done, whose numbers may still be on their way from the device."""

    def __init__(self, batch: Batch, sums: Sums, norm: torch.Tensor, *, skipped_before: RowSet, learning_rate: float,
                 is_scaled: bool) -> None:
        numbers = torch.cat([torch.stack([sums.loss, sums.matches, norm.to(torch.float32)]), sums.by_slot])
        self._numbers, self._event = _start_copy(numbers)
        self._learning_rate, self._is_scaled = learning_rate, is_scaled
        self._skipped_before = skipped_before
        self.batch, self.tokens = batch, int(SlotCounts.of(batch).tokens.sum())

    def read(self, timing: Timing, *, names: Sequence[str], seen: Seen, last: StepDone | None, memory_bytes: int) -> StepDone:
        """Wait for the numbers and shape the report; `seen` is what was seen up to this step.

        Raises RunRejected where the loss or the gradient is not a number.
        """
        if self._event is not None:
            self._event.synchronize()
        loss, matches, norm, *by_slot = self._numbers.tolist()
        batch, trained = self.batch, self.batch.trained_tokens
        counts = SlotCounts.of(batch)
        if not np.isfinite(loss) or not (np.isfinite(norm) or self._is_scaled):
            raise _not_finite(batch.step, "loss" if not np.isfinite(loss) else "gradient")
        return StepDone(
            step=batch.step,
            train_loss=loss / trained if trained else last.train_loss if last else 0.0,
            train_mean_token_accuracy=(
                matches / trained if trained else last.train_mean_token_accuracy if last else 0.0),
            learning_rate=self._learning_rate,
            grad_norm=(norm if np.isfinite(norm) else 0.0) if trained else last.grad_norm if last else 0.0,
            epoch=batch.epoch, examples=int(counts.examples.sum()), tokens=self.tokens,
            trained_tokens=trained, step_seconds=timing.step_seconds, data_wait_seconds=timing.data_wait_seconds,
            memory_bytes=memory_bytes, truncated=batch.truncated, overlong=batch.overlong, spelled=batch.spelled,
            by_reference=batch.loading.by_reference,
            **_by_source(batch, counts, by_slot, names),
            rows_digest=f"{batch.digest:016x}", row_losses=row_losses(counts, by_slot),
            skipped=skipped_rows(batch, names, self._skipped_before),
            source_skipped=dict(zip(names, seen.skipped, strict=False)),
            overlong_rows=seen.overlong, untrained_rows=seen.untrained,
        )


def skipped_rows(batch: Batch, names: Sequence[str], skipped_before: RowSet) -> list[SkippedRow]:
    """Name the rows that a job does without from this step on: each of them once, and none that it was told to keep out."""
    new = set(skipped_before.new_among(batch.faults))
    missed = [hole for hole in batch.holes
              if hole.ref in new or (hole.is_first and hole.cause in ("untrained", "overlong"))]
    return [{"source": names[hole.ref.source], "file": hole.file or names[hole.ref.source], "line": hole.line,
             "reason": hole.reason} for hole in missed[:SKIPPED_ROWS_TOLD]]


def _by_source(batch: Batch, counts: SlotCounts, losses: Sequence[float], names: Sequence[str]) -> dict[str, Any]:
    """The figures of each source that the step drew from."""
    numbers = (np.asarray(losses), counts.trained, counts.examples, counts.tokens)
    found = list(zip(names, *(counts.by_source(number, len(names)) for number in numbers), strict=True))
    return {
        "source_losses": {name: loss / trained for name, loss, trained, *_ in found if trained},
        "source_examples": {name: int(examples) for name, _, _, examples, _ in found if examples},
        "source_tokens": {name: int(tokens) for name, *_, tokens in found if tokens},
        "source_drawn": dict(zip(names, batch.position.drawn, strict=False)),
    }


def _start_copy(numbers: torch.Tensor) -> tuple[torch.Tensor, torch.cuda.Event | None]:
    if numbers.device.type != "cuda":
        return numbers, None
    there = torch.empty(numbers.shape, dtype=numbers.dtype, pin_memory=True)
    there.copy_(numbers, non_blocking=True)
    event = torch.cuda.Event()
    event.record()
    return there, event


def _not_finite(step: int, what: str) -> RunRejected:
    return RunRejected(f"the {what} of step {step} is not a finite number; lower learning_rate_multiplier (or "
                       "options.learning_rate), or look at the rows of that step", code="loss_not_finite",
                       param="hyperparameters.learning_rate_multiplier")
