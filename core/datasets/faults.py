"""The first faults of a version in words, for errors that clients read."""

from __future__ import annotations

from typing import Any

SHOWN_FAULTS = 5


def first_faults(report: dict[str, Any] | None) -> str:
    """Name the first fault of each code in an index's report with its line; how many more faults there are follows."""
    report = report or {}
    firsts: dict[str, dict[str, Any]] = {}
    for fault in report.get("faults") or []:
        firsts.setdefault(fault["code"], fault)
    named = list(firsts.values())[:SHOWN_FAULTS]
    told = "; ".join(map(_told, named)) or "see the data set's report"
    more = (report.get("faulty") or 0) - len(named)
    return f"{told}; and {more:,} more" if named and more > 0 else told


def _told(fault: dict[str, Any]) -> str:
    line = f"line {fault['line']}"
    return fault["message"] if line in fault["message"] or not fault["line"] else f"{line}: {fault['message']}"
