"""Preference pairs: a question with a better and a worse answer, in four shapes.

    preference_openai     {"input": {"messages": […], "tools": […]}, "preferred_output": […], "non_preferred_output": […]}
    preference_sharegpt   {"conversations": […], "chosen": {"from": "gpt", "value": "…"}, "rejected": {…}}
    preference_alpaca     {"instruction": "…", "input": "…", "chosen": "…", "rejected": "…"}
    preference_trl        {"prompt": …, "chosen": …, "rejected": …}, all texts, or all lists of messages (then the prompt may
                          be missing: it is what both answers begin with)

All become `{"messages": […], "chosen": […], "rejected": […]}`, lists of messages, or, where they are bare texts,
`{"prompt": "…", "chosen": "…", "rejected": "…"}`. `sides_of` makes of a pair the two rows that a template can render.
"""

from __future__ import annotations

from typing import Any

from core.data.shapes import alpaca, sharegpt
from core.data.shapes.chat import check_answers, check_messages, check_tools
from core.data.shapes.faults import RowFault, check_depth, field_of, is_blank, kind_of, unfolded
from core.data.spec import RowFormat

Row = dict[str, Any]
SIDES = ("chosen", "rejected")


def sides_of(pair: Row) -> dict[str, tuple[RowFormat, Row]]:
    """The rows by which each side of a pair is rendered: by its name, with its format; what is asked is not trained on."""
    if "prompt" in pair:
        return {side: ("prompt_completion", {"prompt": pair["prompt"], "completion": pair[side]}) for side in SIDES}
    asked = [{**message, "weight": 0} if message["role"] == "assistant" else message for message in pair["messages"]]
    tools = {"tools": pair["tools"]} if pair.get("tools") else {}
    return {side: ("chat", {"messages": [*asked, *pair[side]], **tools}) for side in SIDES}


def read_openai(row: Row, asked: str, chosen: str, rejected: str) -> Row:
    check_depth(row)
    given = field_of({**row, asked: unfolded(row[asked])} if asked in row else row, asked, dict, asked)
    messages = field_of(given, "messages", list, f"{asked}.messages")
    check_messages(messages, f"{asked}.messages")
    check_tools(given, f"{asked}.tools")
    return _pair(messages, *(_answers(unfolded(row.get(name)), name) for name in (chosen, rejected)), tools=given.get("tools"))


def read_sharegpt(row: Row, name: str, tags: sharegpt.Tags, *, chosen: str, rejected: str, system: str, tools: str) -> Row:
    chat = sharegpt.read_turns(row, name, tags, system=system, tools=tools)

    def answers(side: str) -> list[Row]:
        told = unfolded(row.get(side))
        if isinstance(told, str):
            return [{"role": "assistant", "content": told}]
        return sharegpt.read_messages(told if isinstance(told, list) else [told], side, tags)

    for side in (chosen, rejected):
        _there(row, side)
    return _pair(chat["messages"], *(_checked(answers(side), side) for side in (chosen, rejected)), tools=chat.get("tools"))


def read_alpaca(row: Row, names: alpaca.Names, *, chosen: str, rejected: str) -> Row:
    chat = alpaca.read_question(row, names)
    sides = [[{"role": "assistant", "content": field_of(row, side, str, side)}] for side in (chosen, rejected)]
    return _pair(chat["messages"], *(_checked(side, name) for side, name in zip(sides, (chosen, rejected), strict=True)),
                 tools=chat.get("tools"))


def read_trl(row: Row, prompt: str, chosen: str, rejected: str) -> Row:
    check_depth(row)
    told = {name: unfolded(row[name]) for name in (prompt, chosen, rejected) if name in row}
    better, worse, asked = _there(told, chosen), _there(told, rejected), told.get(prompt)
    if isinstance(better, str) and isinstance(worse, str) and isinstance(asked, str):
        return _texts(asked, better, worse, chosen, rejected)
    tools = row.get("tools")
    check_tools(row)
    if isinstance(asked, list):
        check_messages(asked, prompt)
        return _pair(asked, *(_answers(each, name) for each, name in ((better, chosen), (worse, rejected))), tools=tools)
    if isinstance(better, list) and isinstance(worse, list):
        check_messages(better, chosen)
        check_messages(worse, rejected)
        shared = _shared(better, worse)
        before = better[:shared] or ([{"role": "user", "content": asked}] if isinstance(asked, str) else [])
        return _pair(before, *(_checked(each[shared:], name) for each, name in ((better, chosen), (worse, rejected))),
                     tools=tools)
    raise RowFault("wrong_type", f"{prompt} is {kind_of(asked)}, {chosen} {kind_of(better)} and {rejected} {kind_of(worse)}",
                   "all three must be strings, or all lists of messages")


def _there(row: Row, name: str) -> Any:
    if row.get(name) is None:
        raise _missing(name)
    return row[name]


def _texts(asked: str, better: str, worse: str, chosen: str, rejected: str) -> Row:
    for text, name in ((better, chosen), (worse, rejected)):
        if is_blank(text):
            raise _empty(name)
    if better == worse:
        raise _same()
    return {"prompt": asked, "chosen": better, "rejected": worse}


def _pair(messages: list[Row], better: list[Row], worse: list[Row], *, tools: Any = None) -> Row:
    if not any(message["role"] not in ("system", "developer") for message in messages):
        raise RowFault("missing_field", "nothing is asked before the two answers", "add the user's message")
    if better == worse:
        raise _same()
    return {"messages": messages, "chosen": better, "rejected": worse, **({"tools": tools} if tools else {})}


def _answers(told: Any, name: str) -> list[Row]:
    """Messages of the assistant: a list, one alone, or a bare text."""
    if told is None:
        raise _missing(name)
    if isinstance(told, str):
        told = [{"role": "assistant", "content": told}]
    messages = told if isinstance(told, list) else [told]
    check_messages(messages, name)
    return _checked(messages, name)


def _checked(messages: list[Row], name: str) -> list[Row]:
    try:
        check_answers(messages, name)
    except RowFault as fault:
        if fault.code == "nothing_to_train_on":
            raise _empty(name) from None
        raise
    return messages


def _shared(better: list[Row], worse: list[Row]) -> int:
    """How many messages both begin with, the answers themselves left out."""
    most = min(len(better), len(worse)) - 1
    return next((k for k in range(most) if better[k] != worse[k]), max(most, 0))


def _missing(name: str) -> RowFault:
    return RowFault("missing_field", f"{name} is missing",
                    "a preference row needs both answers; add it, or leave the row out")


def _empty(name: str) -> RowFault:
    return RowFault("empty_answer", f"{name} is empty", "write the answer, or leave the row out")


def _same() -> RowFault:
    return RowFault("same_answers", "the chosen and the rejected answer are the same, so neither is preferred",
                    "write two different answers, or leave the row out")
