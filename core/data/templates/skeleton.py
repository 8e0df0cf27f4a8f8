"""What a template writes around the contents of a conversation, learned once for each sequence of roles.

Only for a template that is proven to do nothing but write contents (`proof`), and for ordinary conversations. Such a
template is rendered once with marked contents of one letter between two unusual spaces. Where the marks end up are the
*slots*; whether a space is still there tells whether the template trims a content at that end. The text between the slots is
the *frame*. A row is then its frame with its contents in the slots: no template runs, and which of its text is trained on,
and which is a control token, is known beforehand.

The first row of each sequence of roles is also rendered by the template itself, and the two must agree; where they do not,
or where the trained parts do not follow from the marks, there is no skeleton, and the template renders every such row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from core.data.spec import Piece
from core.data.templates.marks import Found, mark
from core.data.templates.messages import Message
from core.data.templates.pieces import Span

SPACE = "\u2003"
"""White space at the ends of the contents that are rendered to learn from; `str.strip` takes it off."""
MOST_MESSAGES = 64
"""Longer conversations are rendered: there are too many sequences of roles to learn them all."""
MOST_LEARNED = 1024


@dataclass(frozen=True)
class Slot:
    """Where a message's content stands."""

    message: int
    is_trained: bool
    keeps_left: bool
    """Whether white space at the start of the content stays."""
    keeps_right: bool

    def filled(self, content: str) -> Piece:
        if not self.keeps_left:
            content = content.lstrip()
        return Piece(content if self.keeps_right else content.rstrip(), self.is_trained)


_OPEN = Piece("", False)
"""What a frame has in the place of a slot until it is filled."""


class Skeleton:
    def __init__(self, parts: Sequence[Piece | Slot]) -> None:
        self._frame = [part if isinstance(part, Piece) else _OPEN for part in parts]
        self._slots = [(place, part) for place, part in enumerate(parts) if isinstance(part, Slot)]

    def pieces(self, contents: Sequence[str]) -> tuple[Piece, ...]:
        """The pieces of a conversation with these contents, one a message, none of them blank."""
        pieces = self._frame.copy()
        for place, slot in self._slots:
            pieces[place] = slot.filled(contents[slot.message])
        return tuple(pieces)


def read_ordinary(messages: Sequence[Message]) -> tuple[tuple[str, ...], list[str]] | None:
    """The roles and contents of an ordinary conversation; None for any other."""
    roles: list[str] = []
    contents: list[str] = []
    for message in messages:
        content = message.get("content")
        if len(message) != 2 or type(content) is not str or not content or content.isspace() or message["role"] == "developer":
            return None
        roles.append(message["role"])
        contents.append(content)
    return tuple(roles), contents


def marked_messages(roles: Sequence[str]) -> list[Message]:
    return [{"role": role, "content": f"{SPACE}{mark('x', k)}{SPACE}"} for k, role in enumerate(roles)]


def with_spaces(found: Found) -> Found | None:
    """Extend the marked spans by the spaces that the template kept; None when a space is not at the end of a span."""
    texts = [(number, _with_spaces(span, found.text)) for number, span in found.texts]
    kept = sum(end - start - 1 for _, (start, end) in texts)
    return Found(found.text, texts, found.generated) if kept == found.text.count(SPACE) else None


def _with_spaces(span: Span, text: str) -> Span:
    start, end = span
    return start - text.startswith(SPACE, start - 1) if start else start, end + text.startswith(SPACE, end)


def learn(found: Found, pieces: Sequence[Piece]) -> Skeleton | None:
    """Take the contents out of the pieces of a marked rendering; None where a content is not whole within one of them."""
    parts: list[Piece | Slot] = []
    slots = iter(found.texts)
    slot = next(slots, None)
    at = 0
    for piece in pieces:
        end = at + len(piece.text)
        while slot is not None and slot[1][0] < end:
            number, (start, stop) = slot
            if start < at or stop > end or piece.is_control:
                return None
            parts += _frame(piece, found.text[at:start])
            inside = found.text[start:stop]
            parts.append(Slot(number, piece.is_trained, inside.startswith(SPACE), inside.endswith(SPACE)))
            at, slot = stop, next(slots, None)
        parts += _frame(piece, found.text[at:end])
        at = end
    return Skeleton(parts) if slot is None else None


def _frame(piece: Piece, text: str) -> Iterator[Piece]:
    if text:
        yield Piece(text, piece.is_trained, piece.is_control)
