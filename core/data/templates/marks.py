"""Marks: where a row's own texts, and what the model would generate, end up in a rendering.

A text is marked by code points that Unicode reserves for a program's internal use (U+FDD0 … U+FDEF), so no row has them
by right and no template looks for them. Marked messages are rendered, the marks are found and taken out, and what is left
must be, character for character, the rendering of the unmarked messages: only then do the marks count. So a template that
looks into its texts, or rewrites them, is noticed and cannot move a mask.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from core.data.templates.environment import GENERATION_OPEN
from core.data.templates.pieces import Span
from core.data.templates.refusal import RowRefused

_RESERVED = re.compile("[\ufdd0-\ufdef]")
"""What no row may hold; the marks and the stand-ins for control tokens are made of it."""
_RESERVED_LEAD = b"\xef\xb7"
"""How each of them begins in UTF-8: bytes are searched twenty times faster."""
ANY_NUMBER = 0xFFFF
"""The number of texts that belong to no message, tool schemas for example."""

_OPEN, _CLOSE = "\ufdd0", "\ufdd1"
_MARK = re.compile("[\ufdd0-\ufdd3]")
_NUMBERS_FROM = 0x100000


@dataclass(frozen=True)
class Found:
    """A rendering without its marks, and the spans that they told."""

    text: str
    texts: list[tuple[int, Span]] = field(default_factory=list)
    """The row's own texts by the number they were marked with, in the order of the rendering."""
    generated: list[Span] = field(default_factory=list)
    """What `{% generation %}` blocks hold."""


def check_reserved(text: str) -> None:
    """Raise RowRefused for a text that holds what marks are made of."""
    if not text.isascii() and _RESERVED_LEAD in text.encode() and (reserved := _RESERVED.search(text)):
        raise RowRefused(f"it holds U+{ord(reserved[0]):04X}, which Unicode reserves for internal use; take it out")


def mark(text: str, number: int) -> str:
    """Mark a text; an empty one stays empty, since templates ask whether there is any."""
    return f"{_OPEN}{chr(_NUMBERS_FROM + number)}{text}{_CLOSE}" if text else text


def mark_core(text: str, number: int) -> str:
    """Mark a text inside its outer white space, which many templates strip."""
    core = text.strip()
    if not core:
        return text
    start = text.index(core)
    return text[:start] + mark(core, number) + text[start + len(core):]


def mark_all(value: Any, marking: Callable[[str], str]) -> Any:
    """Mark every text inside a JSON value; keys stay."""
    if isinstance(value, str):
        return marking(value)
    if isinstance(value, dict):
        return {key: mark_all(inner, marking) for key, inner in value.items()}
    if isinstance(value, list):
        return [mark_all(inner, marking) for inner in value]
    return value


def find_marks(rendering: str) -> Found | None:
    """Take the marks out; None when a template has cut one apart or nested them in a way that says nothing."""
    parts: list[str] = []
    at = length = text_start = block_start = 0
    number: int | None = None
    found = Found("")
    for match in _MARK.finditer(rendering):
        here = match.start()
        parts.append(rendering[at:here])
        length += here - at
        at = here + 1
        kind = rendering[here]
        if kind == _OPEN:
            if number is not None or at == len(rendering):
                return None
            number, text_start, at = ord(rendering[at]) - _NUMBERS_FROM, length, at + 1
        elif kind == _CLOSE:
            if number is None:
                return None
            found.texts.append((number, (text_start, length)))
            number = None
        elif kind == GENERATION_OPEN:
            block_start = length
        else:
            found.generated.append((block_start, length))
    if number is not None:
        return None
    parts.append(rendering[at:])
    return Found("".join(parts), found.texts, found.generated)
