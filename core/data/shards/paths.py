"""Which paths a client may name inside a place, and which of a place's paths a pattern means.

A path is relative, in plain characters, its parts joined by `/`. It never leaves its place: no part is `.` or `..`, nothing in
it is decoded later, so a part that is written in another way (`%2e%2e`, a backslash) is refused instead of guessed at.
In a pattern `*` stands for any characters within a part, `?` for one, `[…]` for one of several, the part `**` for any number of
parts; a path that ends with `/` means everything below it. Hidden parts, which begin with a dot, are meant only where the
pattern writes the dot. No pattern is made into a regular expression: matching takes time proportional to pattern times path.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from core.errors import InvalidValue, shown

MOST_CHARACTERS = 1024
_WILDCARDS = re.compile(r"[*?\[]")
_ENCODED = re.compile(r"%[0-9A-Fa-f]{2}")
_TOKENS = re.compile(r"\*+|\[[^\]]+\]|.", re.DOTALL)


def check_path(path: str, *, param: str | None = "path") -> str:
    """Give the path back when it stays inside its place; raise InvalidValue with what is wrong with it."""
    if reason := _fault(path):
        raise InvalidValue(f"{param or 'path'} {shown(path)} {reason}; write it relative to the place, as in "
                           "'folder/part-*.jsonl'", param=param)
    return path


def has_wildcards(path: str) -> bool:
    return path.endswith("/") or _WILDCARDS.search(path) is not None


def folder_of(pattern: str) -> str:
    """The deepest folder that all paths of a pattern lie in, "" for the place itself; it ends without a slash."""
    first = _WILDCARDS.search(pattern)
    fixed = pattern[: first.start()] if first else pattern
    return fixed.rpartition("/")[0]


def matcher(pattern: str) -> Callable[[str], bool]:
    """Tell which paths a pattern means."""
    parts = (pattern + "**/*" if pattern.endswith("/") else pattern).split("/")
    return lambda path: _fits(parts, path.split("/"), is_many=lambda part: part == "**", is_skipped=_is_seen, fits=_part_fits)


def _fault(path: str) -> str | None:
    if not path or len(path) > MOST_CHARACTERS:
        return f"has {len(path):,} characters, and 1 to {MOST_CHARACTERS:,} are allowed"
    if not path.isprintable() or "\\" in path:
        return "has a backslash or a character that cannot be printed"
    if "://" in path or path.startswith(("/", "~")):
        return "is an address or begins at a root, and only the operator names those"
    if _ENCODED.search(path):
        return "has characters written as %XX, which are not decoded here"
    if any(part in (".", "..") for part in path.split("/")) or "//" in path:
        return "has a part that is empty, '.' or '..'"
    return None


def _fits(wanted: Sequence[str], given: Sequence[str], *, is_many: Callable[[str], bool], is_skipped: Callable[[str], bool],
          fits: Callable[[str, str], bool]) -> bool:
    """Match one after another; where that fails, let the last "any number of them" take one more, and no earlier one."""
    w = g = resumed = 0
    many = -1
    while g < len(given):
        if w < len(wanted) and is_many(wanted[w]):
            many, resumed, w = w, g, w + 1
        elif w < len(wanted) and fits(wanted[w], given[g]):
            w, g = w + 1, g + 1
        elif many >= 0 and is_skipped(given[resumed]):
            w, resumed = many + 1, resumed + 1
            g = resumed
        else:
            return False
    return all(is_many(each) for each in wanted[w:])


def _part_fits(wanted: str, given: str) -> bool:
    if given.startswith(".") and not wanted.startswith("."):
        return False
    return _fits(_TOKENS.findall(wanted), given, is_many=lambda token: token[0] == "*", is_skipped=lambda _: True,
                 fits=_character_fits)


def _character_fits(token: str, character: str) -> bool:
    if len(token) == 1:
        return token in ("?", character)
    inside = token[1:-1]
    is_negated = len(inside) > 1 and inside[0] in "!^"
    return _is_among(inside[is_negated:], character) != is_negated


def _is_among(inside: str, character: str) -> bool:
    """Tell whether a set such as `a-z0` holds the character."""
    at = 0
    while at < len(inside):
        is_range = inside[at + 1: at + 2] == "-" and at + 2 < len(inside)
        if inside[at] <= character <= inside[at + 2] if is_range else character == inside[at]:
            return True
        at += 3 if is_range else 1
    return False


def _is_seen(part: str) -> bool:
    return not part.startswith(".")
