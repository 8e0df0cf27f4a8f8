"""Rows without a conversation: `{"prompt": "…", "completion": "…"}` and `{"text": "…"}`.

A prompt and a completion that are lists of messages make a chat, of which the completion alone is trained on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from core.data.shapes.chat import check_answers, check_messages, check_tools
from core.data.shapes.faults import RowFault, check_depth, field_of, is_blank

Row = dict[str, Any]


def ordinary_texts(*names: str) -> Callable[[Any], bool]:
    """Make the cheap test of a row of texts, the last of which is trained on."""
    last = names[-1]

    def fits(row: Any) -> bool:
        if type(row) is not dict:
            return False
        for name in names:
            if type(row.get(name)) is not str:
                return False
        return bool(row[last]) and not row[last].isspace()

    return fits


def read_texts(row: Row, *names: str) -> list[str]:
    """Check the fields of a row of texts and give them; raise RowFault."""
    texts = [field_of(row, name, str, name) for name in names]
    if is_blank(texts[-1]):
        raise RowFault("nothing_to_train_on", f"{names[-1]} is empty, so there is nothing to train on",
                       "write its text, or leave the row out")
    return texts


def has_turns(row: Any, prompt: str, completion: str) -> bool:
    """Tell rows whose prompt and completion are lists of messages."""
    return isinstance(row, dict) and isinstance(row.get(prompt), list) and isinstance(row.get(completion), list)


def read_turns(row: Row, prompt: str, completion: str) -> Row:
    """Turn a prompt and a completion of messages into a chat in which only the completion is trained on."""
    check_depth(row)
    asked, answers = field_of(row, prompt, list, prompt), field_of(row, completion, list, completion)
    check_messages(asked, prompt)
    check_messages(answers, completion)
    check_answers(answers, completion)
    check_tools(row)
    tools = {"tools": row["tools"]} if row.get("tools") else {}
    return {"messages": [*map(_untrained, asked), *answers], **tools}


def _untrained(message: Row) -> Row:
    return {**message, "weight": 0} if message["role"] == "assistant" else message
