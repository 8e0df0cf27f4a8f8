"""ShareGPT's rows: `{"conversations": [{"from": "human", "value": "…"}, {"from": "gpt", "value": "…"}], "system", "tools"}`.

The names of the two fields of a message and of the roles are a `Tags`, so rows with other names are read the same way. A
`function_call` holds a call, or a list of calls, as JSON; an `observation` is what came back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from core.data.shapes.chat import MAX_MESSAGES, call_id, check_answers, check_call, read_tools, wrong_role
from core.data.shapes.faults import RowFault, field_of, is_blank, kind_of, text_of, unfolded

Row = dict[str, Any]

ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "chatgpt": "assistant",
         "system": "system", "function_call": "call", "observation": "tool", "tool": "tool"}
_PLAIN = ("user", "assistant", "system")


@dataclass(frozen=True)
class Tags:
    role: str = "from"
    content: str = "value"
    roles: dict[str, str] = field(default_factory=lambda: dict(ROLES))
    """What each role's name stands for: user, assistant, system, call or tool."""


def ordinary_conversation(name: str, tags: Tags, *others: str) -> Callable[[Any], bool]:
    """Make the cheap test of a row that has only a list of texts by user, assistant and system, and no other field."""
    role_field, content_field = tags.role, tags.content
    plain = {told: role for told, role in tags.roles.items() if role in _PLAIN}

    def fits(row: Any) -> bool:
        if type(row) is not dict:
            return False
        messages = row.get(name)
        if type(messages) is not list or len(messages) > MAX_MESSAGES:
            return False
        if len(row) > 1 and any(row.get(each) for each in others):
            return False
        is_trained = False
        for message in messages:
            if type(message) is not dict:
                return False
            role, content = message.get(role_field), message.get(content_field)
            if type(content) is not str or type(role) is not str:
                return False
            stands_for = plain.get(role)
            if stands_for is None:
                return False
            if stands_for == "assistant" and not is_trained:
                is_trained = not (not content or content.isspace())
        return is_trained

    return fits


def ordinary_messages(name: str, tags: Tags) -> Callable[[Row], Row]:
    """Make what turns such a row into a chat."""
    role_field, content_field, roles = tags.role, tags.content, tags.roles
    return lambda row: {"messages": [{"role": roles[message[role_field]], "content": message[content_field]}
                                     for message in row[name]]}


def read_conversation(row: Row, name: str, tags: Tags, *, system: str = "system", tools: str = "tools") -> Row:
    """Check a row and turn it into a chat; raise RowFault for the first rule that it breaks."""
    chat = read_turns(row, name, tags, system=system, tools=tools)
    check_answers(chat["messages"], name)
    return chat


def read_turns(row: Row, name: str, tags: Tags, *, system: str = "system", tools: str = "tools") -> Row:
    """The same for a conversation that may end before the answer."""
    told = dict(row)
    told[name] = unfolded(row.get(name)) if name in row else None
    if name not in row:
        del told[name]
    messages = field_of(told, name, list, name)
    if len(messages) > MAX_MESSAGES:
        raise RowFault("too_many_messages", f"{name} has {len(messages):,} messages",
                       f"at most {MAX_MESSAGES:,} are read; split the row into several conversations")
    read = read_messages(messages, name, tags)
    first = text_of(row, system)
    if not is_blank(first) and not (read and read[0]["role"] == "system"):
        read.insert(0, {"role": "system", "content": first})
    definitions = read_tools(row.get(tools), tools)
    return {"messages": read, **({"tools": definitions} if definitions else {})}


def read_messages(messages: list[Any], path: str, tags: Tags) -> list[Row]:
    """Turn messages under a row's own names into OpenAI's; an observation answers the call before it."""
    read: list[Row] = []
    called = 0
    for number, message in enumerate(messages):
        role, content = _parts_of(message, f"{path}[{number}]", tags)
        if role == "call":
            called = number
            read.append({"role": "assistant", "content": None,
                         "tool_calls": _calls(content, number, f"{path}[{number}].{tags.content}")})
        elif role == "tool":
            read.append({"role": "tool", "tool_call_id": call_id(called), "content": content})
        else:
            read.append({"role": role, "content": content})
    return read


def _parts_of(message: Any, path: str, tags: Tags) -> tuple[str, str]:
    if not isinstance(message, dict):
        raise RowFault("wrong_type", f"{path} is {kind_of(message)}",
                       f"each message must be an object with {tags.role} and {tags.content}")
    told = field_of(message, tags.role, str, f"{path}.{tags.role}")
    role = tags.roles.get(told)
    if role is None:
        raise wrong_role(told, f"{path}.{tags.role}", tuple(tags.roles))
    content = message.get(tags.content)
    if role == "call" and isinstance(content, dict | list):
        content = orjson.dumps(content).decode()
    if not isinstance(content, str):
        raise RowFault("missing_field" if tags.content not in message else "wrong_type",
                       f"{path}.{tags.content} is {kind_of(content) if tags.content in message else 'missing'}",
                       "it must be a string; write the message's text")
    return role, content


def _calls(content: str, number: int, path: str) -> list[Row]:
    try:
        told = orjson.loads(content)
    except orjson.JSONDecodeError:
        raise RowFault("wrong_tool_call", f"{path} holds no JSON",
                       'write a call as {"name": "…", "arguments": {…}}, or a list of them') from None
    calls = told if isinstance(told, list) else [told]
    if not calls:
        raise RowFault("wrong_tool_call", f"{path} is a list without a call",
                       "write at least one call, or leave the message out")
    return [{"id": call_id(number, part), "type": "function", "function": _function(call, f"{path}[{part}]")}
            for part, call in enumerate(calls)]


def _function(call: Any, path: str) -> Row:
    if not isinstance(call, dict):
        raise RowFault("wrong_tool_call", f"{path} is {kind_of(call)}", 'write a call as {"name": "…", "arguments": {…}}')
    arguments = call.get("arguments", {})
    if not isinstance(arguments, str):
        arguments = orjson.dumps(arguments).decode()
    function = {"name": call.get("name"), "arguments": arguments}
    check_call(function, path)
    return function
