"""What a chat template does, found out by asking it: short conversations are rendered once, when it is opened."""

from __future__ import annotations

import re

from core.data.templates.marks import find_marks, mark
from core.data.templates.messages import Habits, Message
from core.data.templates.refusal import RowRefused
from core.data.templates.renderer import Renderer

_ARGUMENTS = '{"probed_key": "probed"}'


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
    """Whether it has a word for developers, and in which form of a tool call's arguments it writes JSON."""
    is_text = not _writes_json(renderer, {"probed_key": "probed"}) and _writes_json(renderer, _ARGUMENTS)
    return Habits(knows_developer="developer" in renderer.source, wants_arguments_as_text=is_text)


def _writes_json(renderer: Renderer, arguments: object) -> bool:
    call = {"id": "call00001", "type": "function", "function": {"name": "look_up", "arguments": arguments}}
    try:
        rendering = renderer.render(_asked({"role": "assistant", "content": "", "tool_calls": [call]}))
    except RowRefused:
        return False
    return '"probed_key"' in rendering


def _asked(answer: Message) -> list[Message]:
    return [{"role": "user", "content": "Is it?"}, answer]
