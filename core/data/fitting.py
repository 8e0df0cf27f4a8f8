"""Rows and their examples → examples that fit, by the policy for rows that are too long.

    truncate           what is behind `max_length` tokens is cut off
    truncate_left      the end is kept, behind what the tokenizer itself writes in front
    keep_last_turns    a chat loses its oldest turns until it fits; its system message and its tools stay
    split              one row becomes several examples in its slot of the step: a text by tokens, each of which is trained on
                       exactly once; a chat by turns, each example with the system message and the tools
    drop               the row is left out

A turn begins with a user's message. What cannot be done by turns (a single turn that is too long; a text, for
keep_last_turns) is truncated. All examples of a row belong to the step that the row belongs to, so nothing else in the order
moves, and a step's rows are the same under each policy. Rows that fit cost nothing here; one that does not is tried with
half of its turns, a quarter …: some renderings more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from core.data.spec import Example, Overlong, Row, RowFormat
from core.data.templates import RowRefused, RowTemplate
from core.data.tokens import Encoded, RowEncoder, RowLeftOut

Turns = list[list[dict[str, Any]]]


@dataclass(frozen=True, eq=False)
class Fitted:
    """The examples of one row, at least one."""

    examples: tuple[Encoded, ...]
    overlong: Overlong | None = None
    """What was done with a row that was too long; None where it fitted."""


class Fitter:
    def __init__(self, encoder: RowEncoder, templates: Mapping[RowFormat, RowTemplate]) -> None:
        self._encoder = encoder
        self._templates = templates
        self._overlong: Overlong = encoder.overlong

    def fit(self, rows: Sequence[tuple[Row, RowFormat, Example]]) -> list[Fitted | RowRefused]:
        """Encode rows' examples in one call, and bring those that are too long to their length; a row that leaves nothing to
        train on is refused, in its place."""
        encoded = self._encoder.encode([example for _, _, example in rows])
        return [self._fitted(*row, each) for row, each in zip(rows, encoded, strict=True)]

    def _fitted(self, row: Row, row_format: RowFormat, example: Example, encoded: Encoded | RowRefused) -> Fitted | RowRefused:
        if not _is_long(encoded):
            return Fitted((encoded,)) if isinstance(encoded, Encoded) else encoded
        if self._overlong in ("keep_last_turns", "split") and row_format == "chat":
            return self._by_turns(row, encoded)
        if self._overlong == "split":
            pieces = self._encoder.encode_pieces(example)
            return Fitted(tuple(pieces), "split") if isinstance(pieces, list) else pieces
        done: Overlong = "truncate_left" if self._overlong == "truncate_left" else "truncate"
        return Fitted((encoded,), done) if isinstance(encoded, Encoded) else encoded

    def _by_turns(self, row: Row, encoded: Encoded | RowRefused) -> Fitted | RowRefused:
        head, turns = split_turns(row.value["messages"])
        if len(turns) < 2:
            return Fitted((encoded,), "truncate") if isinstance(encoded, Encoded) else encoded

        def encode(some: Turns) -> Encoded | RowRefused:
            return self._encode(row, [*head, *(message for turn in some for message in turn)])

        return _last_turns(turns, encode) if self._overlong == "keep_last_turns" else _all_turns(turns, encode)

    def _encode(self, row: Row, messages: list[dict[str, Any]]) -> Encoded | RowRefused:
        part = replace(row, value={**row.value, "messages": messages})
        try:
            example = self._templates["chat"].example(part)
        except RowRefused as refused:
            return refused
        return self._encoder.encode([example])[0]


def split_turns(messages: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], Turns]:
    """Part a chat into the system messages at its head, and its turns."""
    start = next((k for k, message in enumerate(messages) if message["role"] not in ("system", "developer")), len(messages))
    turns: Turns = []
    for before, message in zip([None, *messages[start:]], messages[start:], strict=False):
        if before is None or (message["role"] == "user" and before["role"] != "user"):
            turns.append([])
        turns[-1].append(message)
    return list(messages[:start]), turns


def _last_turns(turns: Turns, encode: Callable[[Turns], Encoded | RowRefused]) -> Fitted | RowRefused:
    """Keep as many of the last turns as fit, at least one."""
    dropped, found = len(turns) - 1, encode(turns[-1:])
    least = 1
    while least < dropped:
        middle = (least + dropped) // 2
        kept = encode(turns[middle:])
        if _fits(kept):
            dropped, found = middle, kept
        else:
            least = middle + 1
    if not isinstance(found, Encoded):
        return found
    return Fitted((found,), "truncate" if found.is_truncated else "keep_last_turns")


def _all_turns(turns: Turns, encode: Callable[[Turns], Encoded | RowRefused]) -> Fitted | RowRefused:
    """Give all turns, as many in each example as fit; a turn that is too long by itself is truncated, or left out where its
    question alone fills an example, and then the last example counts as truncated."""
    examples: list[Encoded] = []
    refused: list[RowRefused] = []
    at = 0
    while at < len(turns):
        end, encoded = _most(turns, at, encode)
        if isinstance(encoded, Encoded):
            examples.append(encoded)
        else:
            refused.append(encoded)
        at = end
    if examples:
        is_cut = any(map(_is_long, refused))
        examples[-1] = replace(examples[-1], is_truncated=examples[-1].is_truncated or is_cut)
        return Fitted(tuple(examples), "split")
    return refused[0]


def _most(turns: Turns, at: int, encode: Callable[[Turns], Encoded | RowRefused]) -> tuple[int, Encoded | RowRefused]:
    """The end of the longest stretch of turns from `at` on that fits, at least one turn, and what it becomes."""
    end, found = at + 1, encode(turns[at : at + 1])
    least, most = at + 2, len(turns)
    while least <= most:
        middle = (least + most) // 2
        kept = encode(turns[at:middle])
        if _fits(kept):
            end, found, least = middle, kept, middle + 1
        else:
            most = middle - 1
    return end, found


def _fits(encoded: Encoded | RowRefused) -> bool:
    """Tell what is short enough, also where nothing in it is trained on; what a template refuses is not."""
    return not _is_long(encoded) and isinstance(encoded, Encoded | RowLeftOut)


def _is_long(encoded: Encoded | RowRefused) -> bool:
    return encoded.is_truncated if isinstance(encoded, Encoded) else isinstance(encoded, RowLeftOut) and encoded.is_long
