"""The result file of a job: its steps as CSV, from the metrics in its log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.events.models import Event

COLUMNS = (
    "step", "train_loss", "train_accuracy", "valid_loss", "valid_mean_token_accuracy", "train_mean_token_accuracy",
    "learning_rate", "tokens_per_second",
)
SAME_AS = {"train_accuracy": "train_mean_token_accuracy"}
"""Columns under an older name."""
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
READ_AT_ONCE = 1000


def result_csv(session: Session, job_id: str) -> Iterator[bytes]:
    """Give the lines of the file, header first, one row a step in the order of steps."""
    yield (",".join(COLUMNS) + "\n").encode()
    query = select(Event.data).where(Event.job_id == job_id, Event.step.is_not(None)).order_by(Event.step)
    for data in session.scalars(query.execution_options(yield_per=READ_AT_ONCE)):
        yield (",".join(cell((data or {}).get(SAME_AS.get(c, c))) for c in COLUMNS) + "\n").encode()


def result_name(job_id: str) -> str:
    return f"{job_id}-results.csv"


def cell(value: Any) -> str:
    """Write a value so that no spreadsheet takes it for a formula and no reader for two cells."""
    if value is None or value != value:
        return ""
    if isinstance(value, (int, float)):
        return repr(value)
    text = str(value)
    text = "'" + text if text.startswith(FORMULA_STARTS) else text
    return '"' + text.replace('"', '""') + '"' if any(c in text for c in ',"\n\r') else text
