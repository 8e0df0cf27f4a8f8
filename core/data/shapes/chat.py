"""OpenAI's chat rows: `{"messages": [...], "tools": [...]}`, as its fine-tuning files have them.

Fields that no rule names are left alone, in the row as in its messages: templates may read them. The older spelling
(`functions`, `function_call`, messages of role `function`) becomes the newer one (`tools`, `tool_calls`, role `tool`).
"""

from __future__ import annotations

from typing import Any

import orjson

from core.data.shapes.faults import (
    RowFault,
    check_depth,
    field_of,
    is_blank,
    kind_of,
    near,
    unfolded,
)
from core.errors import shown

ROLES = ("system", "developer", "user", "assistant", "tool", "function")
MAX_MESSAGES = 4096
"""A row with more is a log, not a conversation: no context holds it, and some templates take time by its square."""
_SYNONYMS = {"human": "user", "gpt": "assistant", "bot": "assistant", "model": "assistant", "ai": "assistant",
             "observation": "tool", "function_call": "assistant"}
_SPECIAL = frozenset(("tools", "functions", "parallel_tool_calls", "function_call"))

Row = dict[str, Any]


def is_ordinary_chat(row: Any) -> bool:
    """Tell cheaply that a row has only messages of a role and a string, an assistant's that says something among them."""
    if type(row) is not dict:
        return False
    messages = row.get("messages")
    if type(messages) is not list or len(messages) > MAX_MESSAGES:
        return False
    if len(row) > 1 and not _SPECIAL.isdisjoint(row):
        return False
    is_trained = False
    try:
        for message in messages:
            if type(message) is not dict or len(message) != 2 or type(content := message["content"]) is not str:
                return False
            role = message["role"]
            if role == "assistant":
                is_trained = is_trained or not (not content or content.isspace())
            elif role != "user" and role != "system":
                return False
    except KeyError:
        return False
    return is_trained


def read_chat(row: Row, *, messages: str = "messages", tools: str = "tools") -> Row:
    """Check a row and give it with its fields under OpenAI's names; raise RowFault for the first rule that it breaks."""
    check_depth(row)
    named = _renamed(row, messages, tools)
    if isinstance(named.get("messages"), str):
        named["messages"] = unfolded(named["messages"])
    told = field_of(named, "messages", list, messages)
    check_messages(told, messages)
    check_answers(told, messages)
    if isinstance(named.get("tools"), str):
        named["tools"] = read_tools(named["tools"], tools)
    check_tools(named, tools)
    return _modern(named)


def check_messages(messages: list[Any], path: str) -> None:
    """Raise RowFault for the first message that breaks a rule."""
    if len(messages) > MAX_MESSAGES:
        raise RowFault("too_many_messages", f"{path} has {len(messages):,} messages",
                       f"at most {MAX_MESSAGES:,} are read; split the row into several conversations")
    for i, message in enumerate(messages):
        _check_message(message, f"{path}[{i}]")


def check_answers(messages: list[Row], path: str) -> None:
    """Raise RowFault when no message is there to be trained on."""
    answers = [message for message in messages if message["role"] == "assistant"]
    if not answers:
        raise RowFault("no_assistant_message", f"{path} has {len(messages)} messages and none of the assistant, so there is "
                       "nothing to train on", "add the answer as a message with role 'assistant'")
    weighed = [message for message in answers if message.get("weight") != 0]
    if not weighed:
        raise RowFault("nothing_to_train_on", "every assistant message has weight 0, so there is nothing to train on",
                       "give one of them weight 1, or leave the row out")
    if not any(map(_says_something, weighed)):
        raise RowFault("nothing_to_train_on", "every assistant message that is trained on is empty or white space",
                       "write what the assistant is to say, or leave the row out")


def check_call(function: Any, path: str) -> None:
    """Raise RowFault for a call whose arguments are no JSON in a string."""
    arguments = function.get("arguments") if isinstance(function, dict) else None
    if not isinstance(arguments, str) or not isinstance(function.get("name"), str):
        raise RowFault("wrong_tool_call", f"{path} is no call",
                       'it must be {"name": "…", "arguments": "…"}; arguments is a string that holds JSON')
    try:
        check_depth(orjson.loads(arguments), f"the arguments of {path}")
    except orjson.JSONDecodeError:
        raise RowFault("wrong_tool_call", f"{path}.arguments holds no JSON",
                       "write the arguments as a JSON object in a string") from None


def check_tools(row: Row, path: str = "tools") -> None:
    tools = row.get("tools")
    if not isinstance(tools, list | None):
        raise RowFault("wrong_tool", f"{path} is {kind_of(tools)}", "it must be a list of tool definitions")
    for i, tool in enumerate(tools or ()):
        if not _is_function(tool):
            raise RowFault("wrong_tool", f"{path}[{i}] is no tool",
                           'it must be {"type": "function", "function": {"name": "…", "parameters": {…}}}; '
                           "rewrite or remove it")
    parallel = row.get("parallel_tool_calls")
    if not isinstance(parallel, bool | None):
        raise RowFault("wrong_type", f"parallel_tool_calls is {kind_of(parallel)}", "write true or false")
    functions = row.get("functions")
    if not isinstance(functions, list | None):
        raise RowFault("wrong_type", f"functions is {kind_of(functions)}", "it must be a list of functions")
    for i, function in enumerate(functions or ()):
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise RowFault("wrong_tool", f"functions[{i}] is no function", 'it must be {"name": "…", "parameters": {…}}')


def read_tools(value: Any, path: str) -> list[Row] | None:
    """Give tools that stand as a list or as JSON in a string, with or without the frame that OpenAI puts around each."""
    if value is None or (isinstance(value, str) and is_blank(value)):
        return None
    told = unfolded(value)
    if not isinstance(told, list):
        raise RowFault("wrong_tool", f"{path} is {kind_of(told)}",
                       "it must be a list of functions, or a string that holds one as JSON")
    check_depth(told, path)
    tools = [tool if _is_function(tool) else {"type": "function", "function": tool} for tool in told]
    check_tools({"tools": tools}, path)
    return tools or None


def _renamed(row: Row, messages: str, tools: str) -> Row:
    named = dict(row)
    for name, field in (("messages", messages), ("tools", tools)):
        if field != name:
            named.pop(name, None)
            if field in named:
                named[name] = named.pop(field)
    return named


def _check_message(message: Any, path: str) -> None:
    if not isinstance(message, dict):
        raise RowFault("wrong_type", f"{path} is {kind_of(message)}", "each message must be an object with role and content")
    role = field_of(message, "role", str, f"{path}.role")
    if role not in ROLES:
        raise wrong_role(role, f"{path}.role", ROLES)
    _check_content(message, path)
    if role == "tool":
        field_of(message, "tool_call_id", str, f"{path}.tool_call_id")
    if role == "function":
        field_of(message, "name", str, f"{path}.name")
    if message.get("name") is not None:
        field_of(message, "name", str, f"{path}.name")
    _check_weight(message, path)


def wrong_role(role: str, path: str, known: tuple[str, ...]) -> RowFault:
    """The fault of a role that is none, with the one that was probably meant."""
    meant = _SYNONYMS.get(role.strip().lower()) or role.strip().lower()
    hint = f"did you mean '{meant}'? " if meant in known else near(role, known)
    return RowFault("wrong_role", f"{path} is {shown(role)}", f"{hint}use one of {', '.join(known)}")


def _check_content(message: Row, path: str) -> None:
    calls = message.get("tool_calls")
    if calls is not None:
        _check_calls(message, calls, path)
    if message.get("function_call") is not None:
        _only_assistant_calls(message, "function_call", path)
        check_call(message["function_call"], f"{path}.function_call")
    content = message.get("content")
    if content is None:
        if calls is None and message.get("function_call") is None:
            raise RowFault("missing_field" if "content" not in message else "wrong_type", f"{path} has no content",
                           "it may be null or absent only beside tool_calls; write its text")
    elif isinstance(content, list):
        _check_parts(content, f"{path}.content")
    elif not isinstance(content, str):
        raise RowFault("wrong_type", f"{path}.content is {kind_of(content)}", "it must be a string or a list of text parts")


def _check_parts(parts: list[Any], path: str) -> None:
    if not parts:
        raise RowFault("wrong_type", f"{path} is an empty list", "write a string, or at least one text part")
    for i, part in enumerate(parts):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind in ("image_url", "image", "input_audio", "audio", "video"):
            raise RowFault("image_not_supported", f"{path}[{i}] is a part of type '{kind}', and the base models here read "
                           "text only", "remove the part or the row")
        if kind != "text" or not isinstance(part.get("text"), str):
            raise RowFault("wrong_type", f"{path}[{i}] is no text part",
                           'each part must be {"type": "text", "text": "…"}; rewrite or remove it')


def _check_weight(message: Row, path: str) -> None:
    weight = message.get("weight")
    if weight is None:
        return
    if type(weight) is not int or weight not in (0, 1):
        raise RowFault("wrong_weight", f"{path}.weight is {shown(weight)}", "it must be the number 0 or 1")
    if message["role"] != "assistant":
        raise RowFault("wrong_weight", f"{path}.weight stands on a message of role {shown(message['role'])}",
                       "only assistant messages take a weight; remove it")


def _check_calls(message: Row, calls: Any, path: str) -> None:
    _only_assistant_calls(message, "tool_calls", path)
    if not isinstance(calls, list) or not calls:
        raise RowFault("wrong_tool_call", f"{path}.tool_calls is {kind_of(calls)} without a call",
                       "it must be a list of at least one call, or be left out")
    for i, call in enumerate(calls):
        if not _is_function(call) or not isinstance(call.get("id"), str):
            raise RowFault("wrong_tool_call", f"{path}.tool_calls[{i}] is no call",
                           'it must be {"id": "…", "type": "function", "function": {"name": "…", "arguments": "…"}}')
        check_call(call["function"], f"{path}.tool_calls[{i}].function")


def _only_assistant_calls(message: Row, name: str, path: str) -> None:
    if message["role"] != "assistant":
        raise RowFault("wrong_tool_call", f"{path}.{name} stands on a message of role {shown(message['role'])}",
                       "only the assistant calls tools; remove it")


def _says_something(message: Row) -> bool:
    if message.get("tool_calls") or message.get("function_call"):
        return True
    content = message.get("content")
    texts = [part["text"] for part in content] if isinstance(content, list) else [content or ""]
    return any(not is_blank(text) for text in texts)


def _is_function(holder: Any) -> bool:
    """Tell the shape that a tool and a call of it share: `{"type": "function", "function": {"name": "…", …}}`."""
    function = holder.get("function") if isinstance(holder, dict) else None
    return isinstance(function, dict) and holder.get("type") == "function" and isinstance(function.get("name"), str)


def _modern(row: Row) -> Row:
    """Write functions as tools; each function's answer gets the id of the call before it."""
    messages = row["messages"]
    if not row.get("functions") and not any(m.get("function_call") or m["role"] == "function" for m in messages):
        return row
    told = {key: value for key, value in row.items() if key not in ("functions", "function_call")}
    if row.get("functions"):
        told["tools"] = [*(row.get("tools") or ()), *({"type": "function", "function": each} for each in row["functions"])]
    told["messages"] = [_modern_message(message, number, messages) for number, message in enumerate(messages)]
    return told


def _modern_message(message: Row, number: int, messages: list[Row]) -> Row:
    if message.get("function_call"):
        kept = {key: value for key, value in message.items() if key != "function_call"}
        return {**kept, "tool_calls": [{"id": call_id(number), "type": "function", "function": message["function_call"]}]}
    if message["role"] == "function":
        called = next((k for k in range(number - 1, -1, -1) if messages[k].get("function_call")), 0)
        return {**message, "role": "tool", "tool_call_id": call_id(called)}
    return message


def call_id(number: int, part: int = 0) -> str:
    """An id for a call whose row gives it none: nine letters and digits, which is what the strictest templates take."""
    return f"c{number % 10**5:05d}{part % 10**3:03d}"
