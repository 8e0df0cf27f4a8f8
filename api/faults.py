"""What is wrong with a request's fields, in one sentence: the field, its value, what was expected, what to do.

Pydantic reports each branch of a union by itself and puts the branch's name into the location. `fault_of` walks the
body along each location, keeps the parts that exist there, gathers the reports of one field, and tells the first
field at fault, or the field within it that a branch of its union got to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastapi.exceptions import RequestValidationError

from core.errors import InvalidValue, number_of, shown

Report = Mapping[str, Any]


def fault_of(error: RequestValidationError) -> InvalidValue:
    by_field: dict[str, list[Report]] = {}
    for report in error.errors():
        by_field.setdefault(param_of(report, error.body), []).append(report)
    param = next(iter(by_field))
    within = next((deeper for deeper in by_field if param and deeper.startswith(f"{param}.")), param)
    return _tell(within, by_field[within])


def param_of(report: Report, body: Any) -> str:
    """Give the dotted path of the field that a report is about; empty for the body itself."""
    place, *location = report["loc"]
    if place != "body":
        return ".".join(str(part) for part in location)
    path: list[str] = []
    here = body
    for number, part in enumerate(location):
        is_last = number == len(location) - 1
        if _holds(here, part):
            here = here[part]
        elif not (is_last and report["type"] == "missing"):
            continue  # the name of a union's branch
        path.append(str(part))
    return ".".join(path)


def _holds(value: Any, part: str | int) -> bool:
    if isinstance(value, list):
        return isinstance(part, int) and 0 <= part < len(value)
    return isinstance(value, dict) and part in value


def _tell(param: str, reports: Sequence[Report]) -> InvalidValue:
    first = reports[0]
    kind = first["type"]
    named = shown(param)
    if kind == "missing":
        return InvalidValue(f"{named} is missing; add it to the request", code="missing_required_parameter", param=param)
    if kind == "extra_forbidden":
        return InvalidValue(f"{named} is not known here; check its spelling, or leave it out; /openapi.json lists the fields",
                            code="unknown_parameter", param=param)
    if kind == "missing_required_parameter":
        return InvalidValue(str(first["msg"]), code=kind, param=first["ctx"]["param"])
    own = next((report for report in reports if _is_of_an_object(report)), first if not param else None)
    if own is not None and own["type"] == "value_error":
        return InvalidValue(_said(own), param=param or None)
    expected = " or ".join(dict.fromkeys(_expected(report) for report in reports))
    return InvalidValue(f"{named} is {_value(first)}; expected {expected}; correct it and send the request again",
                        code=_code(reports), param=param or None)


def _is_of_an_object(report: Report) -> bool:
    """Tell whether an object's own validator spoke, in a whole sentence on how its fields go together."""
    return report["type"] == "value_error" and isinstance(report.get("input"), dict)


TYPE_REPORTS = ("_type", "_parsing", "literal_error", "int_from_float")
"""How the names of reports end that say "another type"."""


def _code(reports: Sequence[Report]) -> str:
    value = reports[0].get("input")
    for report in reports:
        is_literal = report["type"] in ("literal_error", "enum") and isinstance(value, str)
        if is_literal or not report["type"].endswith(TYPE_REPORTS):
            return "invalid_value"
    return "invalid_type"


def _value(report: Report) -> str:
    value = report.get("input")
    if isinstance(value, dict):
        return "an object" if value else "an empty object"
    if isinstance(value, list):
        return f"a list of {len(value)}" if value else "an empty list"
    return "null" if value is None else shown(value)


EXPECTED: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "literal_error": lambda ctx: str(ctx["expected"]),
    "greater_than": lambda ctx: f"a number above {ctx['gt']}",
    "greater_than_equal": lambda ctx: f"a number of at least {ctx['ge']}",
    "less_than": lambda ctx: f"a number below {ctx['lt']}",
    "less_than_equal": lambda ctx: f"a number of at most {ctx['le']}",
    "string_too_short": lambda ctx: f"text of at least {number_of(ctx['min_length'], 'character')}",
    "string_too_long": lambda ctx: f"text of at most {number_of(ctx['max_length'], 'character')}",
    "string_pattern_mismatch": lambda ctx: f"text that matches {ctx['pattern']}",
    "too_short": lambda ctx: f"at least {number_of(ctx['min_length'], 'entry', 'entries')}",
    "too_long": lambda ctx: f"at most {number_of(ctx['max_length'], 'entry', 'entries')}",
    "finite_number": lambda ctx: "a finite number",
    "string_type": lambda ctx: "text",
    "int_type": lambda ctx: "a whole number",
    "int_parsing": lambda ctx: "a whole number",
    "int_parsing_size": lambda ctx: "a whole number of at most 19 digits",
    "int_from_float": lambda ctx: "a whole number",
    "float_type": lambda ctx: "a number",
    "float_parsing": lambda ctx: "a number",
    "bool_type": lambda ctx: "true or false",
    "bool_parsing": lambda ctx: "true or false",
    "dict_type": lambda ctx: "an object",
    "model_type": lambda ctx: "an object",
    "model_attributes_type": lambda ctx: "an object",
    "list_type": lambda ctx: "a list",
}


def _expected(report: Report) -> str:
    if build := EXPECTED.get(report["type"]):
        return build(report.get("ctx") or {})
    return _said(report)


def _said(report: Report) -> str:
    """Give a validator's own words, without the prefix that Pydantic puts before them."""
    return str(report["msg"]).removeprefix("Value error, ")
