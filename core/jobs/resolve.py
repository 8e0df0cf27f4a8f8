"""What "auto" means, and the other choices that a spec leaves open: made once, stored with the job, shown to clients."""

from __future__ import annotations

from typing import Any

from core.jobs.models import Job
from core.jobs.stream_spec import max_length_of, options_of, spec_of, tokenizer_digest_of
from core.models.models import Model

AUTO_EPOCHS = 3
"""Passes over data of fewer than MANY_ROWS rows; more rows are passed once."""
MANY_ROWS = 5_000
AUTO_BATCH_MOST = 16
ROWS_PER_BATCH_ROW = 25
"""Auto batch size grows with the rows, so that small data still gets some dozens of steps an epoch."""
AUTO_MULTIPLIER = 1.0
BASE_LEARNING_RATE = 2e-4
MAX_STEPS = 10_000_000


def resolve(job: Job, *, rows: int, validation_rows: int, base: Model) -> dict[str, Any]:
    """Give every number of the plan but the steps, which follow from them."""
    asked, options = spec_of(job).asked, options_of(job)
    multiplier = AUTO_MULTIPLIER if asked.learning_rate_multiplier == "auto" else asked.learning_rate_multiplier
    return {
        "n_epochs": _epochs(job, asked.n_epochs, rows),
        "batch_size": auto_batch_size(rows) if asked.batch_size == "auto" else asked.batch_size,
        "learning_rate_multiplier": multiplier,
        "learning_rate": (options.learning_rate or BASE_LEARNING_RATE) * multiplier,
        "max_length": max_length_of(job, base),
        "rows": rows,
        "validation_rows": validation_rows,
        "base_model": base.name,
        "base_digest": base.digest,
        "tokenizer_digest": tokenizer_digest_of(base),
    }


def _epochs(job: Job, asked: int | str, rows: int) -> int:
    """Those that were asked for; of a single data set, its own."""
    own = job.sources[0].get("epochs") if len(job.sources) == 1 else None
    return own or (asked if isinstance(asked, int) else auto_epochs(rows))


def auto_epochs(rows: int) -> int:
    return AUTO_EPOCHS if rows < MANY_ROWS else 1


def auto_batch_size(rows: int) -> int:
    return min(AUTO_BATCH_MOST, max(1, rows // ROWS_PER_BATCH_ROW))
