"""Why a row cannot be trained on: a stable code, what was found where another thing was expected, and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

import orjson

from core.errors import DataError, shown

MAX_DEPTH = 64
"""Lists and objects inside one another; deeper ones would cost a template its stack."""
SHOWN_FIELDS = 8


class RowFault(DataError):
    """A row breaks a rule. The message names neither file nor line: who knows them puts them in front."""

    def __init__(self, code: str, reason: str, remedy: str) -> None:
        super().__init__(f"{reason}; {remedy}", code=code)
        self.reason = reason
        self.remedy = remedy


def kind_of(value: Any) -> str:
    """Name the JSON kind of a value, so that a message need not show the value."""
    return _KINDS.get(type(value), "a value of another kind")


def field_of(holder: dict[str, Any], name: str, kind: type, path: str) -> Any:
    """Give a field that must be there and of a kind."""
    if name not in holder:
        raise RowFault("missing_field", f"{path} is missing", f"add it as {kind_of(kind())}; fields found: {names_of(holder)}")
    if not isinstance(holder[name], kind):
        raise RowFault("wrong_type", f"{path} is {kind_of(holder[name])}", f"it must be {kind_of(kind())}")
    return holder[name]


def text_of(holder: dict[str, Any], name: str, *, path: str = "") -> str:
    """Give the text of a field that may be absent or null; raise RowFault for any other kind."""
    value = holder.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise RowFault("wrong_type", f"{path or name} is {kind_of(value)}",
                       "it must be a string; write its text, or leave it out")
    return value


def unfolded(value: Any) -> Any:
    """The list or object that a text of JSON holds, as tables keep it; any other value as it is."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            return orjson.loads(value)
        except orjson.JSONDecodeError:
            return value
    return value


def names_of(holder: dict[str, Any]) -> str:
    """Name the fields of an object, the first of them, each cut."""
    names = [name if name.isidentifier() and len(name) < 40 else shown(name) for name in list(holder)[:SHOWN_FIELDS]]
    return ", ".join(names) + (", …" if len(holder) > SHOWN_FIELDS else "") if names else "none"


def near(word: str, known: Iterable[str]) -> str:
    """Name the known word that a misspelt one is near to, as words to put into a message; empty when there is none."""
    found = get_close_matches(word[:40].strip().lower(), list(known), n=1, cutoff=0.7)
    return f"did you mean '{found[0]}'? " if found else ""


def is_blank(text: str) -> bool:
    return not text or text.isspace()


def check_depth(value: Any, path: str = "the row") -> None:
    """Raise RowFault for a value whose lists and objects lie too deep in one another."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [inner for each in level for inner in _inside(each) if isinstance(inner, dict | list)]
        if not level:
            return
    raise RowFault("too_deep", f"lists or objects lie more than {MAX_DEPTH} deep in {path}", "flatten it, or take it out")


def _inside(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


_KINDS = {
    dict: "an object", list: "a list", str: "a string", int: "a number", float: "a number", bool: "true or false",
    type(None): "null",
}
