"""The first faults of a version in words, for errors that clients read."""

from __future__ import annotations

from typing import Any

SHOWN_FAULTS = 5


def first_faults(report: dict[str, Any] | None) -> str:
    """Name the first faults of an index's report, each with its line; how many more there are follows."""
    report = report or {}
    faults = report.get("faults") or []
    told = "; ".join(_told(fault) for fault in faults[:SHOWN_FAULTS]) or "see the data set's report"
    more = (report.get("faulty") or 0) - min(len(faults), SHOWN_FAULTS)
    return f"{told}; and {more:,} more" if faults and more > 0 else told


def _told(fault: dict[str, Any]) -> str:
    line = f"line {fault['line']}"
    return fault["message"] if line in fault["message"] or not fault["line"] else f"{line}: {fault['message']}"
