"""A shape's name and the user's columns → the shapes that rows may have, the likelier first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from core.data.shapes import alpaca, plain, preference, sharegpt
from core.data.shapes.chat import is_ordinary_chat, read_chat
from core.data.shapes.columns import Columns
from core.data.shapes.faults import unfolded
from core.data.shapes.shape import Row, RowShape, ShapeName

_LISTS = ("messages", "conversations", "conversation", "dialog")
"""Where rows keep their messages when nobody says it."""


def variants(name: ShapeName, columns: Columns) -> Iterator[RowShape]:
    """Every way to read a shape that the columns leave open."""
    return _MAKERS[name](columns)


def _chats(columns: Columns) -> Iterator[RowShape]:
    tools = columns.parts.get("tools", "tools")
    for messages in _names(columns, "messages", *_LISTS):
        is_named = (messages, tools) == ("messages", "tools")
        yield RowShape(
            "chat", "chat", {"messages": messages, "tools": tools}, _has_turns(messages, "role"),
            is_ordinary_chat if is_named else _never, lambda row, m=messages: read_chat(row, messages=m, tools=tools))


def _sharegpts(columns: Columns) -> Iterator[RowShape]:
    system, tools = columns.parts.get("system", "system"), columns.parts.get("tools", "tools")
    for messages in _names(columns, "messages", "conversations", *_LISTS):
        for tags in _tags(columns):
            yield RowShape(
                "sharegpt", "chat", {**_conversation(messages, tags), "system": system, "tools": tools},
                _has_turns(messages, tags.role), sharegpt.ordinary_conversation(messages, tags, system, tools),
                lambda row, m=messages, t=tags: sharegpt.read_conversation(row, m, t, system=system, tools=tools),
                sharegpt.ordinary_messages(messages, tags), dict(columns.roles))


def _alpacas(columns: Columns) -> Iterator[RowShape]:
    names = _alpaca_names(columns)
    yield RowShape(
        "alpaca", "chat", {"prompt": names.prompt, "query": names.query, "response": names.response, "system": names.system,
                           "history": names.history, "tools": names.tools},
        _has(names.prompt, names.response), alpaca.ordinary_alpaca(names),
        lambda row: alpaca.read_alpaca(row, names), alpaca.ordinary_turn(names))


def _pairs(columns: Columns) -> Iterator[RowShape]:
    prompt = columns.parts.get("prompt", "prompt")
    completion = columns.parts.get("completion") or columns.parts.get("response", "completion")
    told, has_fields = {"prompt": prompt, "completion": completion}, _has(prompt, completion)
    yield RowShape(
        "prompt_completion", "prompt_completion", told, lambda row: has_fields(row) and isinstance(row[completion], str),
        plain.ordinary_texts(prompt, completion),
        lambda row: dict(zip(("prompt", "completion"), plain.read_texts(row, prompt, completion), strict=True)),
        _renaming({"prompt": prompt, "completion": completion}))
    yield RowShape(
        "prompt_completion", "chat", told, lambda row: plain.has_turns(row, prompt, completion), _never,
        lambda row: plain.read_turns(row, prompt, completion))


def _texts(columns: Columns) -> Iterator[RowShape]:
    text = columns.parts.get("text") or columns.parts.get("prompt", "text")
    yield RowShape(
        "text", "text", {"text": text}, _has(text), plain.ordinary_texts(text),
        lambda row: {"text": plain.read_texts(row, text)[0]}, _renaming({"text": text}))


def _openai_pairs(columns: Columns) -> Iterator[RowShape]:
    asked = columns.parts.get("input", "input")
    chosen, rejected = columns.parts.get("chosen", "preferred_output"), columns.parts.get("rejected", "non_preferred_output")
    yield RowShape(
        "preference_openai", "preference", {"input": asked, "chosen": chosen, "rejected": rejected},
        _has(asked, chosen, rejected), _never,
        lambda row: preference.read_openai(row, asked, chosen, rejected))


def _sharegpt_pairs(columns: Columns) -> Iterator[RowShape]:
    chosen, rejected = _sides(columns)
    system, tools = columns.parts.get("system", "system"), columns.parts.get("tools", "tools")
    for messages in _names(columns, "messages", "conversations", *_LISTS):
        for tags in _tags(columns):
            has_turns, has_sides = _has_turns(messages, tags.role), _has(chosen, rejected)
            yield RowShape(
                "preference_sharegpt", "preference",
                {**_conversation(messages, tags), "chosen": chosen, "rejected": rejected, "system": system, "tools": tools},
                lambda row, a=has_turns, b=has_sides: a(row) and b(row), _never,
                lambda row, m=messages, t=tags: preference.read_sharegpt(row, m, t, chosen=chosen, rejected=rejected,
                                                                         system=system, tools=tools),
                None, dict(columns.roles))


def _alpaca_pairs(columns: Columns) -> Iterator[RowShape]:
    names, (chosen, rejected) = _alpaca_names(columns), _sides(columns)
    yield RowShape(
        "preference_alpaca", "preference",
        {"prompt": names.prompt, "query": names.query, "chosen": chosen, "rejected": rejected, "system": names.system,
         "history": names.history},
        _has(names.prompt, chosen, rejected), _never,
        lambda row: preference.read_alpaca(row, names, chosen=chosen, rejected=rejected))


def _trl_pairs(columns: Columns) -> Iterator[RowShape]:
    prompt, (chosen, rejected) = columns.parts.get("prompt", "prompt"), _sides(columns)
    yield RowShape(
        "preference_trl", "preference", {"prompt": prompt, "chosen": chosen, "rejected": rejected},
        _has(chosen, rejected), _never, lambda row: preference.read_trl(row, prompt, chosen, rejected))


def _names(columns: Columns, part: str, *usual: str) -> list[str]:
    asked = columns.parts.get(part)
    return [asked] if asked else list(dict.fromkeys(usual))


def _tags(columns: Columns) -> list[sharegpt.Tags]:
    """The names of a message's parts: the user's, else ShareGPT's, else OpenAI's."""
    pairs = [("from", "value"), ("role", "content")]
    if columns.tags:
        pairs = [(columns.tags.get("role", "from"), columns.tags.get("content", "value"))]
    elif columns.formatting == "sharegpt":
        pairs = pairs[:1]
    roles = {**sharegpt.ROLES, **columns.roles}
    return [sharegpt.Tags(role, content, roles) for role, content in pairs]


def _alpaca_names(columns: Columns) -> alpaca.Names:
    usual = alpaca.Names()
    parts = columns.parts
    return alpaca.Names(
        prompt=parts.get("prompt", usual.prompt), query=parts.get("query") or parts.get("input", usual.query),
        response=parts.get("response") or parts.get("completion", usual.response), system=parts.get("system", usual.system),
        history=parts.get("history", usual.history), tools=parts.get("tools", usual.tools))


def _sides(columns: Columns) -> tuple[str, str]:
    return columns.parts.get("chosen", "chosen"), columns.parts.get("rejected", "rejected")


def _conversation(messages: str, tags: sharegpt.Tags) -> dict[str, str]:
    return {"messages": messages, "role": tags.role, "content": tags.content}


def _has(*names: str) -> Callable[[Any], bool]:
    return lambda row: isinstance(row, dict) and all(name in row for name in names)


def _has_turns(name: str, role: str) -> Callable[[Any], bool]:
    """Tell rows whose list begins with a message that has the role field."""

    def has_turns(row: Any) -> bool:
        messages = unfolded(row.get(name)) if isinstance(row, dict) else None
        return isinstance(messages, list) and bool(messages) and isinstance(messages[0], dict) and role in messages[0]

    return has_turns


def _renaming(fields: dict[str, str]) -> Callable[[Row], Row]:
    return lambda row: {name: row[told] for name, told in fields.items()}


def _never(_row: object) -> bool:
    return False


_MAKERS: dict[ShapeName, Callable[[Columns], Iterator[RowShape]]] = {
    "chat": _chats, "sharegpt": _sharegpts, "alpaca": _alpacas, "prompt_completion": _pairs, "text": _texts,
    "preference_openai": _openai_pairs, "preference_sharegpt": _sharegpt_pairs, "preference_alpaca": _alpaca_pairs,
    "preference_trl": _trl_pairs,
}
