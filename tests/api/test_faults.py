from __future__ import annotations

from typing import Any

import pytest
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from api.faults import fault_of
from core.specs.job import JobSpec


@pytest.mark.parametrize(("options", "param", "message"), [
    ({"keep_checkpoints": {}}, "options.keep_checkpoints",
     "'keep_checkpoints' names none to keep; give 'last', 'best' or 'every', or \"all\""),
    ({"keep_checkpoints": "some"}, "options.keep_checkpoints",
     "'options.keep_checkpoints' is 'some'; expected 'all' or an object; correct it and send the request again")])
def test_what_an_object_says_of_its_own_fields_is_told_alone(options: dict[str, Any], param: str, message: str) -> None:
    body = {"model": "tiny", "training_file": "file-x", "options": options}
    with pytest.raises(ValidationError) as caught:
        JobSpec.model_validate(body)
    reports = [{**report, "loc": ("body", *report["loc"])} for report in caught.value.errors()]
    told = fault_of(RequestValidationError(reports, body=body))
    assert (told.message, told.param) == (message, param)
