"""Which part of a rendering one assistant message became, found by rendering the conversation again.

The slow way, for messages that a template rewrites. Two differences are tried, each of which proves what it says:

1. *Another answer.* The message is replaced by a text that nothing else holds. What stands before and after that text in
   the new rendering must stand at the two ends of the old one; the message became what lies between.
2. *Prefixes.* The rendering of the messages before it, with the header that asks for an answer, must begin the rendering,
   and so must that of the messages up to it; the message became the difference. This serves where an answer without
   thoughts or tool calls is laid out otherwise than one with them.

Both add the token that ends the turn and leave out the white space behind it. Cost: one to three renderings a message.
"""

from __future__ import annotations

from core.data.templates.messages import Conversation
from core.data.templates.pieces import Span
from core.data.templates.refusal import RowRefused
from core.data.templates.renderer import Renderer

MOST_RENDERED = 100_000
"""Messages that are rendered for the sake of one row: about a second."""
_ANSWER = "\ufdd4\ufdd5"


def exact_spans(renderer: Renderer, chat: Conversation, text: str, *, turn_end: str,
                control_tokens: tuple[str, ...]) -> list[Span]:
    """Give the spans of the trained assistant messages in `text`, the rendering of `chat`, in their order."""
    asked = [k for k, is_trained in zip(chat.assistants, chat.is_trained, strict=True) if is_trained]
    if len(asked) * len(chat.messages) > MOST_RENDERED:
        raise RowRefused(f"the model's chat template rewrites its messages, and with {len(chat.messages)} of them finding each "
                         "one's part would take minutes; split the row into several conversations")
    return [_span(renderer, chat, text, k, turn_end, control_tokens) for k in asked]


def _span(renderer: Renderer, chat: Conversation, text: str, k: int, turn_end: str,
          control_tokens: tuple[str, ...]) -> Span:
    span = _by_another_answer(renderer, chat, text, k, turn_end)
    span = span or _by_prefixes(renderer, chat, text, k, control_tokens)
    if span is None:
        raise RowRefused(f"the model's chat template rewrites message {k + 1} so that its part of the text cannot be told")
    return span


def _by_another_answer(renderer: Renderer, chat: Conversation, text: str, k: int, turn_end: str) -> Span | None:
    answer = {"role": "assistant", "content": _ANSWER}
    try:
        other = renderer.render([*chat.messages[:k], answer, *chat.messages[k + 1:]], chat.tools)
    except RowRefused:
        return None
    head, found, tail = other.partition(_ANSWER)
    is_told = found and _ANSWER not in tail and text.startswith(head) and text.endswith(tail)
    end = len(text) - len(tail)
    if not is_told or end < len(head):
        return None
    return len(head), end + (len(turn_end) if tail.startswith(turn_end) else 0)


def _by_prefixes(renderer: Renderer, chat: Conversation, text: str, k: int,
                 control_tokens: tuple[str, ...]) -> Span | None:
    try:
        before = renderer.render(chat.messages[:k], chat.tools, add_generation_prompt=True)
        after = renderer.render(chat.messages[:k + 1], chat.tools)
    except RowRefused:
        return None
    if not (after.startswith(before) and text.startswith(after)):
        return None
    told = after.rstrip()
    return len(before), len(told) if told.endswith(control_tokens) else len(after)
