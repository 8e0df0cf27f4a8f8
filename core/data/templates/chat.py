"""Chat rows → Examples, by the model's own chat template.

The text of an example is what the template renders, nothing else. Around it two questions are answered:

- *What is trained on?* With `{% generation %}` blocks, what they hold. Without, each assistant message from the start of
  its content to the token that ends its turn; the header before it is not. A message with weight 0 is not trained on.
  The messages are rendered with marks around their contents (`marks`); where the marks prove nothing, the part of a
  message is found by further renderings (`exact`).
- *What is a control token?* What the template wrote as one. A user who types `<|im_end|>` has typed ten characters: a
  match inside a text of the row is no control token.

Cost: about 3 µs a row where the template can be proven to do nothing with contents but to write them, which most do: what
it writes around them is then learned once for each sequence of roles (`proof`, `skeleton`). Other templates, and rows with
tools, parts, weights or blank contents, take two renderings a row (about 20 µs each); the second is the proof that the
marks changed nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from core.data.spec import Example, Row
from core.data.templates.exact import exact_spans
from core.data.templates.marks import ANY_NUMBER, Found, check_reserved, find_marks, mark, mark_all, mark_core
from core.data.templates.messages import Conversation, Habits, Message, is_plain, read_conversation
from core.data.templates.pieces import Span, cut
from core.data.templates.probe import probe_habits, probe_turn_end
from core.data.templates.refusal import RowRefused
from core.data.templates.renderer import Renderer
from core.data.templates.skeleton import (
    MOST_LEARNED,
    MOST_MESSAGES,
    Skeleton,
    learn,
    marked_messages,
    read_ordinary,
    with_spaces,
)

Marking = Callable[[str, int], str]


class ChatTemplate:
    """`tool_renderer` is the template for rows with tools, where a model has one of its own."""

    def __init__(self, renderer: Renderer, *, control_tokens: Iterable[str], tool_renderer: Renderer | None = None) -> None:
        self._control_tokens = tuple(sorted(control_tokens, key=lambda token: (-len(token), token)))
        self._controls = re.compile("|".join(map(re.escape, self._control_tokens)) or "(?!)")
        self._plain = _Dialect(renderer, self._controls)
        self._with_tools = _Dialect(tool_renderer, self._controls) if tool_renderer else self._plain
        self._skeletons: dict[tuple[str, ...], Skeleton | None] = {}

    def example(self, row: Row) -> Example:
        """Tell a row's parts; raises RowRefused."""
        return self._by_skeleton(row) or self.rendered(row)

    def _by_skeleton(self, row: Row) -> Example | None:
        """Fill the skeleton of an ordinary row's roles; None where there is none."""
        messages = row.value["messages"]
        if not self._plain.renderer.is_proven or row.value.get("tools") or len(messages) > MOST_MESSAGES:
            return None
        ordinary = read_ordinary(messages)
        if ordinary is None:
            return None
        roles, contents = ordinary
        if roles not in self._skeletons:
            self._learn(roles, row)
        skeleton = self._skeletons[roles]
        if skeleton is None:
            return None
        check_reserved("".join(contents))
        return Example(row.ref, skeleton.pieces(contents))

    def _learn(self, roles: tuple[str, ...], row: Row) -> None:
        if len(self._skeletons) >= MOST_LEARNED:
            self._skeletons.clear()
        skeleton = self._skeleton(roles)
        if skeleton is not None:
            written = "".join(piece.text for piece in skeleton.pieces([each["content"] for each in row.value["messages"]]))
            if written != self._plain.renderer.render(row.value["messages"]):
                skeleton = None
        self._skeletons[roles] = skeleton

    def _skeleton(self, roles: tuple[str, ...]) -> Skeleton | None:
        messages = marked_messages(roles)
        found = find_marks(self._plain.renderer.render(messages, marks_generation=True))
        found = with_spaces(found) if found else None
        chat = read_conversation({"messages": messages}, self._plain.habits)
        if found is None:
            return None
        trained = self._told(self._plain, chat, found.text, found)
        if trained is None:
            return None
        return learn(found, cut(found.text, trained=trained, controls=self._controls_in(chat, found.text, found)))

    def rendered(self, row: Row) -> Example:
        """Render a row and tell its parts, whatever can be known of it beforehand; raises RowRefused."""
        dialect = self._with_tools if row.value.get("tools") else self._plain
        chat = read_conversation(row.value, dialect.habits)
        text = dialect.renderer.render(chat.messages, chat.tools)
        check_reserved(text)
        found = self._marked(dialect, chat, text)
        trained = self._trained(dialect, chat, text, found)
        return Example(row.ref, cut(text, trained=trained, controls=self._controls_in(chat, text, found)))

    def _marked(self, dialect: _Dialect, chat: Conversation, text: str) -> Found | None:
        """The rendering's marks, those inside outer white space where those around it change the text; None when both do."""
        for marking in (mark, mark_core):
            messages = [self._marked_message(message, k, marking) for k, message in enumerate(chat.messages)]
            tools = mark_all(chat.tools, self._only_spelled(marking))
            try:
                rendering = dialect.renderer.render(messages, tools, marks_generation=True)
            except RowRefused:
                continue
            found = find_marks(rendering)
            if found is not None and found.text == text:
                return found
        return None

    def _marked_message(self, message: Message, k: int, marking: Marking) -> Message:
        """Mark the content with the message's number, and any other text but the role if it spells a control token."""
        marked = {key: value if key == "role" else mark_all(value, self._only_spelled(marking))
                  for key, value in message.items() if key != "content"}
        if "content" in message:
            content = message["content"]
            marked["content"] = marking(content, min(k, ANY_NUMBER)) if isinstance(content, str) else content
        return marked

    def _only_spelled(self, marking: Marking) -> Callable[[str], str]:
        return lambda text: marking(text, ANY_NUMBER) if self._controls.search(text) else text

    def _is_spelled(self, texts: Iterable[str]) -> bool:
        return any(self._controls.search(text) for text in texts)

    def _controls_in(self, chat: Conversation, text: str, found: Found | None) -> list[Span]:
        """The control tokens that the template wrote: those that touch no text of the row."""
        spans = [match.span() for match in self._controls.finditer(text)]
        if found is not None:
            return list(_apart_from(spans, [span for _, span in found.texts]))
        if self._is_spelled(chat.texts()):
            raise RowRefused("it spells a control token in a text that the model's chat template rewrites; take it out")
        return spans

    def _trained(self, dialect: _Dialect, chat: Conversation, text: str, found: Found | None) -> list[Span]:
        if not any(chat.is_trained):
            return []
        spans = self._told(dialect, chat, text, found)
        if spans is None:
            spans = exact_spans(dialect.renderer, chat, text, turn_end=dialect.turn_end,
                                control_tokens=self._control_tokens)
        return spans

    def _told(self, dialect: _Dialect, chat: Conversation, text: str, found: Found | None) -> list[Span] | None:
        """The trained spans as far as marks tell them."""
        if dialect.renderer.has_generation_marks:
            return _generated(chat, found or dialect.generation_of(chat, text))
        return _between_marks(chat, text, found, dialect.turn_end)


class _Dialect:
    """A template and what was found out about it, once."""

    def __init__(self, renderer: Renderer, controls: re.Pattern[str]) -> None:
        self.renderer = renderer
        self.habits: Habits = probe_habits(renderer)
        self.turn_end: str = probe_turn_end(renderer, controls)

    def generation_of(self, chat: Conversation, text: str) -> Found | None:
        """Where the generation blocks ended up, when nothing else can be marked."""
        found = find_marks(self.renderer.render(chat.messages, chat.tools, marks_generation=True))
        return found if found is not None and found.text == text else None


def _generated(chat: Conversation, found: Found | None) -> list[Span] | None:
    """The generation blocks of the trained messages; None when blocks and messages cannot be told to belong together."""
    if found is None or not found.generated:
        return None
    if len(found.generated) == len(chat.assistants):
        return [span for span, is_trained in zip(found.generated, chat.is_trained, strict=True) if is_trained]
    return found.generated if all(chat.is_trained) else None


def _between_marks(chat: Conversation, text: str, found: Found | None, turn_end: str) -> list[Span] | None:
    """From each trained message's content to the end of its turn; None unless every one of them is told exactly once."""
    if found is None or not turn_end:
        return None
    told: dict[int, list[Span]] = {}
    for number, span in found.texts:
        told.setdefault(number, []).append(span)
    spans = []
    for k, is_trained in zip(chat.assistants, chat.is_trained, strict=True):
        if not is_trained:
            continue
        mine = told.get(k, [])
        if len(mine) != 1 or not is_plain(chat.messages[k]) or not text.startswith(turn_end, mine[0][1]):
            return None
        spans.append((mine[0][0], mine[0][1] + len(turn_end)))
    return spans


def _apart_from(spans: list[Span], texts: list[Span]) -> Iterable[Span]:
    """Those of the spans that touch none of the texts; both sorted."""
    at = 0
    for start, end in spans:
        while at < len(texts) and texts[at][1] <= start:
            at += 1
        if at == len(texts) or texts[at][0] >= end:
            yield start, end
