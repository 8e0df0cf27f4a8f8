"""What a chat template does, found out by asking it: short conversations are rendered once, when it is opened."""

from __future__ import annotations

import re

from core.data.templates.marks import find_marks, mark
from core.data.templates.messages import Habits, Message
from core.data.templates.refusal import RowRefused
from core.data.templates.renderer import Renderer

_ARGUMENTS = '{"probed_key": "probed"}'
_NAME = "look_up"


def probe_turn_end(renderer: Renderer, controls: re.Pattern[str]) -> str:
    """The text behind an assistant's content up to the control token that ends the turn; empty when there is none."""
    try:
        rendering = renderer.render(_asked({"role": "assistant", "content": mark("Yes", 1)}))
    except RowRefused:
        return ""
    found = find_marks(rendering)
    if found is None or len(found.texts) != 1:
        return ""
    tail = found.text[found.texts[0][1][1]:]
    token = controls.search(tail)
    return tail[:token.end()] if token else ""


def probe_habits(renderer: Renderer) -> Habits:
    """Whether it has words for developers, tools and calls, and in which form of a call's arguments it writes JSON."""
    as_object, as_text = _with_call(renderer, {"probed_key": "probed"}), _with_call(renderer, _ARGUMENTS)
    return Habits(
        knows_developer="developer" in renderer.source,
        wants_arguments_as_text=not _holds_json(as_object) and _holds_json(as_text),
        writes_tools=_writes_tools(renderer),
        writes_calls=as_object is None or as_text is None or _NAME in as_object or _NAME in as_text,
    )


def _with_call(renderer: Renderer, arguments: object) -> str | None:
    """A conversation that ends with a call; None when the template refuses it."""
    call = {"id": "call00001", "type": "function", "function": {"name": _NAME, "arguments": arguments}}
    try:
        return renderer.render(_asked({"role": "assistant", "content": "", "tool_calls": [call]}))
    except RowRefused:
        return None


def _holds_json(rendering: str | None) -> bool:
    return rendering is not None and '"probed_key"' in rendering


def _writes_tools(renderer: Renderer) -> bool:
    """Whether tools change what is written; a template that refuses to say is taken to."""
    tool = {"type": "function", "function": {"name": _NAME, "description": "Looks up.", "parameters": {
        "type": "object", "properties": {"word": {"type": "string", "description": "What to look up."}}}}}
    messages = _asked({"role": "assistant", "content": "Yes"})
    try:
        return renderer.render(messages, [tool]) != renderer.render(messages)
    except RowRefused:
        return True


def _asked(answer: Message) -> list[Message]:
    return [{"role": "user", "content": "Is it?"}, answer]
