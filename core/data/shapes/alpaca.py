"""Alpaca's rows: `{"instruction", "input", "output", "system", "history": [["question", "answer"], …]}`.

Instruction and input, a line feed between them, are the question; the history's turns stand before it, and their answers are
trained on as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from core.data.shapes.chat import MAX_MESSAGES, read_tools
from core.data.shapes.faults import RowFault, field_of, is_blank, kind_of, text_of, unfolded

Row = dict[str, Any]


@dataclass(frozen=True)
class Names:
    """The fields that the parts of a row are read from."""

    prompt: str = "instruction"
    query: str = "input"
    response: str = "output"
    system: str = "system"
    history: str = "history"
    tools: str = "tools"


def ordinary_alpaca(names: Names) -> Callable[[Any], bool]:
    """Make the cheap test of a row without history, system and tools."""
    prompt, query, response = names.prompt, names.query, names.response
    others = (names.system, names.history, names.tools)

    def fits(row: Any) -> bool:
        if type(row) is not dict or type(row.get(prompt)) is not str or type(row.get(response)) is not str:
            return False
        if type(row.get(query, "")) is not str or any(row.get(each) for each in others):
            return False
        answer = row[response]
        return bool(answer) and not answer.isspace() and not (is_blank(row[prompt]) and is_blank(row.get(query, "")))

    return fits


def ordinary_turn(names: Names) -> Callable[[Row], Row]:
    """Make what turns such a row into a chat."""
    return lambda row: {"messages": [{"role": "user", "content": _question(row, names)},
                                     {"role": "assistant", "content": row[names.response]}]}


def read_alpaca(row: Row, names: Names) -> Row:
    """Check a row and turn it into a chat; raise RowFault for the first rule that it breaks."""
    asked = read_question(row, names)
    answer = field_of(row, names.response, str, names.response)
    if is_blank(answer):
        raise RowFault("nothing_to_train_on", f"{names.response} is empty, so there is nothing to train on",
                       "write the answer, or leave the row out")
    return {**asked, "messages": [*asked["messages"], {"role": "assistant", "content": answer}]}


def read_question(row: Row, names: Names) -> Row:
    """All that stands before the answer."""
    field_of(row, names.prompt, str, names.prompt)
    text_of(row, names.query)
    question = _question(row, names)
    if is_blank(question):
        raise RowFault("missing_field", f"{names.prompt} is empty", "write what is asked")
    system = text_of(row, names.system)
    messages = [] if is_blank(system) else [{"role": "system", "content": system}]
    messages += _turns(unfolded(row.get(names.history)), names.history)
    tools = read_tools(row.get(names.tools), names.tools)
    return {"messages": [*messages, {"role": "user", "content": question}], **({"tools": tools} if tools else {})}


def _question(row: Row, names: Names) -> str:
    return "\n".join(filter(None, (row[names.prompt], row.get(names.query))))


def _turns(history: Any, path: str) -> list[Row]:
    if history is None or history == "":
        return []
    if not isinstance(history, list) or 2 * len(history) > MAX_MESSAGES:
        raise RowFault("wrong_type", f"{path} is {kind_of(history)}",
                       f'it must be a list of at most {MAX_MESSAGES // 2:,} pairs, ["question", "answer"]')
    turns: list[Row] = []
    for i, turn in enumerate(history):
        if not isinstance(turn, list) or len(turn) != 2 or not all(isinstance(text, str) for text in turn):
            raise RowFault("wrong_type", f"{path}[{i}] is no turn", 'write it as ["question", "answer"]')
        turns += [{"role": "user", "content": turn[0]}, {"role": "assistant", "content": turn[1]}]
    return turns
