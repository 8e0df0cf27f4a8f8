from __future__ import annotations

from typing import Any

import pytest
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from api.faults import fault_of
from core.errors import InvalidValue
from core.specs.job import JobSpec


def told_of(body: dict[str, Any]) -> InvalidValue:
    with pytest.raises(ValidationError) as caught:
        JobSpec.model_validate(body)
    reports = [{**report, "loc": ("body", *report["loc"])} for report in caught.value.errors()]
    return fault_of(RequestValidationError(reports, body=body))


@pytest.mark.parametrize(("schedule", "message"), [
    ([], "'mixture_schedule' is an empty list; expected at least 1 entry; correct it and send the request again"),
    ([{"from_step": 9, "weights": {}}],
     "'mixture_schedule.0.weights' is an empty object; expected at least 1 entry; correct it and send the request again"),
    ([{"from_step": 9, "weights": {"a": 1}}, {"from_step": 5, "weights": {"a": 2}}],
     "'mixture_schedule.1.from_step' is 5 and the entry before it has 9; the steps must increase: give each entry a later step "
     "than the one before it")])
def test_a_bad_schedule_is_told_by_its_entry_and_value(schedule: list[Any], message: str) -> None:
    assert told_of({"model": "tiny", "datasets": [{"dataset": "a"}], "mixture_schedule": schedule}).message == message


@pytest.mark.parametrize(("options", "param", "message"), [
    ({"keep_checkpoints": {}}, "options.keep_checkpoints",
     "'keep_checkpoints' names none to keep; give 'last', 'best' or 'every', or \"all\""),
    ({"keep_checkpoints": "some"}, "options.keep_checkpoints",
     "'options.keep_checkpoints' is 'some'; expected 'all' or an object; correct it and send the request again"),
    ({"max_run_seconds": 10**12}, "options.max_run_seconds",
     "'options.max_run_seconds' is 1000000000000; expected a number of at most 315360000; correct it and send the request "
     "again")])
def test_what_an_object_says_of_its_own_fields_is_told_alone(options: dict[str, Any], param: str, message: str) -> None:
    told = told_of({"model": "tiny", "training_file": "file-x", "options": options})
    assert (told.message, told.param) == (message, param)
