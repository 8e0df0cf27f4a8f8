"""The rules of a chat row: `{"messages": [...], "tools": [...]}`, as OpenAI's fine-tuning files have it.

Fields that no rule names are left alone, in the row as in its messages: templates may read them.
"""

from __future__ import annotations

from typing import Any

import orjson

from core.data.index.faults import RowFault, kind_of
from core.errors import shown

ROLES = ("system", "developer", "user", "assistant", "tool", "function")


def is_ordinary_chat(row: Any) -> bool:
    """Tell cheaply that a row has only messages of a role and a string, an assistant's among them."""
    if type(row) is not dict or len(row) != 1:
        return False
    messages = row.get("messages")
    if type(messages) is not list:
        return False
    is_trained = False
    for message in messages:
        if type(message) is not dict or len(message) != 2 or type(message.get("content")) is not str:
            return False
        role = message.get("role")
        if role == "assistant":
            is_trained = True
        elif role != "user" and role != "system":
            return False
    return is_trained


def check_chat(row: dict[str, Any]) -> None:
    """Raise RowFault for the first rule that the row breaks."""
    messages = _field(row, "messages", list, "messages")
    trained = [_check_message(message, f"messages[{i}]") for i, message in enumerate(messages)]
    if "assistant" not in (message["role"] for message in messages):
        raise RowFault(
            "no_assistant_message",
            f"messages has {len(messages)} messages and none of the assistant; there is nothing to train on; "
            "add the answer as a message with role 'assistant'",
        )
    if not any(trained):
        raise RowFault(
            "nothing_to_train_on",
            "every assistant message has weight 0, so there is nothing to train on; "
            "give one of them weight 1, or leave the row out",
        )
    _check_tools(row)


def _check_message(message: Any, path: str) -> bool:
    """Raise RowFault for a broken rule; tell whether the message is trained on."""
    if not isinstance(message, dict):
        raise RowFault("wrong_type", f"{path} is {kind_of(message)}; each message must be an object with role and content")
    role = _field(message, "role", str, f"{path}.role")
    if role not in ROLES:
        raise RowFault("wrong_role", f"{path}.role is {shown(role)}; use one of {', '.join(ROLES)}")
    _check_content(message, path)
    if role == "tool":
        _field(message, "tool_call_id", str, f"{path}.tool_call_id")
    if role == "function":
        _field(message, "name", str, f"{path}.name")
    if message.get("name") is not None:
        _field(message, "name", str, f"{path}.name")
    return _weight(message, path) != 0 and role == "assistant"


def _check_content(message: dict[str, Any], path: str) -> None:
    calls = message.get("tool_calls")
    if calls is not None:
        _check_calls(message, calls, path)
    content = message.get("content")
    if content is None:
        if calls is None and message.get("function_call") is None:
            raise RowFault(
                "missing_field" if "content" not in message else "wrong_type",
                f"{path} has no content; it may be null or absent only beside tool_calls; write its text",
            )
    elif isinstance(content, list):
        _check_parts(content, f"{path}.content")
    elif not isinstance(content, str):
        raise RowFault("wrong_type", f"{path}.content is {kind_of(content)}; it must be a string or a list of text parts")


def _check_parts(parts: list[Any], path: str) -> None:
    if not parts:
        raise RowFault("wrong_type", f"{path} is an empty list; write a string, or at least one text part")
    for i, part in enumerate(parts):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "image_url":
            raise RowFault(
                "image_not_supported",
                f"{path}[{i}] is an image, and the base models here read text only; remove the image or the row",
            )
        if kind != "text" or not isinstance(part.get("text"), str):
            raise RowFault(
                "wrong_type",
                f'{path}[{i}] is no text part; each part must be {{"type": "text", "text": "…"}}; rewrite or remove it',
            )


def _weight(message: dict[str, Any], path: str) -> int:
    """Give 1 where no weight is written; raise RowFault for one that is not 0 or 1, or not the assistant's."""
    weight = message.get("weight")
    if weight is None:
        return 1
    if type(weight) is not int or weight not in (0, 1):
        raise RowFault("wrong_weight", f"{path}.weight is {shown(weight)}; it must be the number 0 or 1")
    if message["role"] != "assistant":
        raise RowFault(
            "wrong_weight",
            f"{path}.weight stands on a message of role {shown(message['role'])}; "
            "only assistant messages take a weight; remove it",
        )
    return weight


def _check_calls(message: dict[str, Any], calls: Any, path: str) -> None:
    if message["role"] != "assistant":
        raise RowFault(
            "wrong_tool_call",
            f"{path}.tool_calls stands on a message of role {shown(message['role'])}; only the assistant calls tools; "
            "remove it",
        )
    if not isinstance(calls, list) or not calls:
        raise RowFault("wrong_tool_call", f"{path}.tool_calls must be a list of at least one call, or be left out")
    for i, call in enumerate(calls):
        _check_call(call, f"{path}.tool_calls[{i}]")


def _check_call(call: Any, path: str) -> None:
    arguments = call["function"].get("arguments") if _is_function(call) else None
    if not isinstance(arguments, str) or not isinstance(call.get("id"), str):
        raise RowFault(
            "wrong_tool_call",
            f'{path} must be {{"id": "…", "type": "function", "function": {{"name": "…", "arguments": "…"}}}}; '
            "arguments is a string that holds JSON",
        )
    try:
        orjson.loads(arguments)
    except orjson.JSONDecodeError:
        raise RowFault(
            "wrong_tool_call", f"{path}.function.arguments holds no JSON; write the arguments as a JSON object in a string"
        ) from None


def _check_tools(row: dict[str, Any]) -> None:
    tools = row.get("tools")
    if not isinstance(tools, list | None):
        raise RowFault("wrong_tool", f"tools is {kind_of(tools)}; it must be a list of tool definitions")
    for i, tool in enumerate(tools or ()):
        if not _is_function(tool):
            raise RowFault(
                "wrong_tool",
                f'tools[{i}] must be {{"type": "function", "function": {{"name": "…", "parameters": {{…}}}}}}; '
                "rewrite or remove it",
            )
    parallel = row.get("parallel_tool_calls")
    if not isinstance(parallel, bool | None):
        raise RowFault("wrong_type", f"parallel_tool_calls is {kind_of(parallel)}; write true or false")
    functions = row.get("functions")
    if not isinstance(functions, list | None):
        raise RowFault("wrong_type", f"functions is {kind_of(functions)}; it must be a list of functions")


def _is_function(holder: Any) -> bool:
    """Tell the shape that a tool and a call of it share: `{"type": "function", "function": {"name": "…", …}}`."""
    function = holder.get("function") if isinstance(holder, dict) else None
    return isinstance(function, dict) and holder.get("type") == "function" and isinstance(function.get("name"), str)


def _field(holder: dict[str, Any], name: str, kind: type, path: str) -> Any:
    """Give a field that must be there and of a kind."""
    if name not in holder:
        raise RowFault("missing_field", f"{path} is missing; add it as {kind_of(kind())}")
    if not isinstance(holder[name], kind):
        raise RowFault("wrong_type", f"{path} is {kind_of(holder[name])}; it must be {kind_of(kind())}")
    return holder[name]
