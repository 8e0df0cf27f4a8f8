"""A chat row as OpenAI writes it → the messages as a chat template reads them, and which of them are trained on.

The differences: a content in parts becomes one text; fields that are null, and `weight`, are left out; a `developer`
becomes `system` for templates that have never heard of one; a tool call's arguments, JSON in a text at OpenAI, become the
object that most templates expect.

A template that was written before tools were would leave calls and tool definitions out without a word. For such a one they
are told in the texts: the definitions at the end of the system message, a call as a line of JSON, which is how data with
tools was written before templates knew them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from core.data.templates.refusal import RowRefused
from core.errors import shown

Message = dict[str, Any]

TOOLS_TOLD = 'Functions that may be called, each by a line of JSON: {"name": "…", "arguments": {…}}'
"""Stands before tool definitions that are told in the system message."""


@dataclass(frozen=True)
class Habits:
    """What a template expects where templates differ."""

    knows_developer: bool = False
    wants_arguments_as_text: bool = False
    writes_tools: bool = True
    writes_calls: bool = True


@dataclass(frozen=True)
class Conversation:
    messages: list[Message]
    tools: list[Any] | None
    assistants: tuple[int, ...]
    """Which messages the model is to say."""
    is_trained: tuple[bool, ...]
    """Whether each of those is trained on."""

    def texts(self) -> Iterator[str]:
        """Every text that the row brings, the roles left out."""
        for message in self.messages:
            yield from texts_in({key: value for key, value in message.items() if key != "role"})
        yield from texts_in(self.tools)


def read_conversation(value: dict[str, Any], habits: Habits) -> Conversation:
    """Read a checked chat row; raises RowRefused for a content that is no text."""
    told, tools = value["messages"], value.get("tools") or None
    if tools and not habits.writes_tools:
        told, tools = _with_tools_told(told, tools), None
    if not habits.writes_calls:
        told = [_with_calls_told(message) if message.get("tool_calls") else message for message in told]
    assistants = tuple(k for k, message in enumerate(told) if message["role"] == "assistant")
    return Conversation(
        messages=[_read_message(message, habits) for message in told],
        tools=tools,
        assistants=assistants,
        is_trained=tuple(_is_trained(told[k]) for k in assistants),
    )


def is_plain(message: Message) -> bool:
    return message.keys() <= {"role", "content"}


def texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from texts_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts_in(inner)


def _with_tools_told(messages: list[Message], tools: list[Any]) -> list[Message]:
    functions = [orjson.dumps(tool.get("function", tool) if isinstance(tool, dict) else tool).decode() for tool in tools]
    text = "\n".join([TOOLS_TOLD, *functions])
    first = messages[0]
    if first["role"] not in ("system", "developer"):
        return [{"role": "system", "content": text}, *messages]
    return [{**first, "content": "\n\n".join(filter(None, [_plain_text(first.get("content")), text]))}, *messages[1:]]


def _with_calls_told(message: Message) -> Message:
    calls = [_call_told(call["function"]) for call in message["tool_calls"]]
    text = "\n".join(filter(None, [_plain_text(message.get("content")), *calls]))
    return {**{key: value for key, value in message.items() if key != "tool_calls"}, "content": text}


def _call_told(function: dict[str, Any]) -> str:
    return orjson.dumps({"name": function.get("name"), "arguments": _as_object(function.get("arguments"))}).decode()


def _plain_text(content: Any) -> str:
    return "".join(map(_text_of, content)) if isinstance(content, list) else content or ""


def _is_trained(message: Message) -> bool:
    weight = message.get("weight")
    return weight is None or weight > 0


def _read_message(told: Message, habits: Habits) -> Message:
    message = {key: value for key, value in told.items() if value is not None and key != "weight"}
    if message["role"] == "developer" and not habits.knows_developer:
        message["role"] = "system"
    if isinstance(message.get("content"), list):
        message["content"] = _plain_text(message["content"])
    if isinstance(message.get("tool_calls"), list):
        message["tool_calls"] = [_read_call(call, habits) for call in message["tool_calls"]]
    return message


def _text_of(part: Any) -> str:
    if isinstance(part, str):
        return part
    text = part.get(part.get("type")) if part.get("type") in ("text", "refusal") else None
    if not isinstance(text, str):
        raise RowRefused(f"a content part is of type {shown(part.get('type'))}; expected 'text'")
    return text


def _read_call(call: dict[str, Any], habits: Habits) -> dict[str, Any]:
    function = call.get("function")
    if not isinstance(function, dict) or "arguments" not in function:
        return call
    arguments = _as_text(function["arguments"]) if habits.wants_arguments_as_text else _as_object(function["arguments"])
    return {**call, "function": {**function, "arguments": arguments}}


def _as_object(arguments: Any) -> Any:
    """The object that a text of JSON holds; any other text stays as it is."""
    if not isinstance(arguments, str):
        return arguments
    try:
        told = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return arguments
    return told if isinstance(told, dict) else arguments


def _as_text(arguments: Any) -> str:
    return arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()
