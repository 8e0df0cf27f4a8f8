"""The first faults of a version in words: each kind once, with its line, and how many more there are."""

from __future__ import annotations

from core.datasets.faults import first_faults


def fault(line: int, code: str, reason: str) -> dict[str, object]:
    return {"line": line, "code": code, "message": f"line {line}: {reason}"}


def test_a_fault_that_all_rows_have_is_told_once() -> None:
    rows = [fault(line, "unknown_format", "no shape can be told") for line in range(2, 52)]
    assert first_faults({"faults": rows, "faulty": 50}) == "line 2: no shape can be told; and 49 more"


def test_faults_of_different_kinds_are_told_in_the_order_of_the_rows() -> None:
    rows = [fault(1, "broken_json", "no JSON"), fault(2, "broken_json", "no JSON"), fault(5, "wrong_role", "'bot' is no role")]
    assert first_faults({"faults": rows, "faulty": 3}) == "line 1: no JSON; line 5: 'bot' is no role; and 1 more"


def test_a_version_without_a_report_points_to_it() -> None:
    assert first_faults(None) == "see the data set's report"
