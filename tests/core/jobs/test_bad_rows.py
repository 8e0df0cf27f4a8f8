from __future__ import annotations

import pytest

from core.datasets.models import DatasetVersion
from core.errors import DataError
from core.jobs.bad_rows import bad_rows_left, most_bad_rows
from core.specs.job import TrainingOptions


def version(rows: int, faulty: int) -> DatasetVersion:
    fault = {"line": 3, "code": "broken_json", "message": "line 3: the line is no JSON"}
    return DatasetVersion(rows=rows, faulty_rows=faulty, report={"faults": [fault], "faulty": faulty})


@pytest.mark.parametrize("limits, most", [({}, None), ({"max_bad_rows": 3}, 3), ({"max_bad_share": 0.01}, 10),
                                          ({"max_bad_rows": 20, "max_bad_share": 0.01}, 10)])
def test_the_smaller_limit_holds(limits: dict, most: int | None):
    assert most_bad_rows(TrainingOptions(on_bad_row="skip", **limits), 1000) == most


def test_rows_known_to_be_faulty_count():
    options = TrainingOptions(on_bad_row="skip", max_bad_rows=5)
    assert bad_rows_left(options, [version(100, 2), version(100, 1)]) == 2


def test_too_many_known_faulty_rows_are_refused_in_words():
    options = TrainingOptions(on_bad_row="skip", max_bad_share=0.01)
    with pytest.raises(DataError, match=r"3 of 200 rows are faulty, and .* allow 2: line 3: the line is no JSON") as caught:
        bad_rows_left(options, [version(200, 3)])
    assert (caught.value.code, caught.value.param) == ("too_many_bad_rows", "options.max_bad_share")


def test_a_limit_without_skipping_is_refused():
    with pytest.raises(ValueError, match="set on_bad_row to 'skip'"):
        TrainingOptions(max_bad_rows=3)
