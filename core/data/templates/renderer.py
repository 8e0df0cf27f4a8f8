"""One chat template, compiled: messages → text. What a template raises is said as a refusal of the row."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import jinja2

from core.data.templates.environment import MARKS_GENERATION, compile_template, parse_template
from core.data.templates.messages import Message
from core.data.templates.proof import writes_contents_only
from core.data.templates.refusal import RowRefused
from core.errors import DataError, shown

_GENERATION = re.compile(r"\{%[-+]?\s*generation\s*[-+]?%\}")

_RAISED = (jinja2.TemplateError, jinja2.UndefinedError, TypeError, ValueError, LookupError, AttributeError,
           ArithmeticError, RecursionError)
"""What the code of a template can raise on a row that it was not written for."""


class Renderer:
    def __init__(self, source: str, *, special_tokens: dict[str, str], folder: str) -> None:
        try:
            self._template = compile_template(source)
        except jinja2.TemplateSyntaxError as error:
            raise DataError(f"the chat template of {folder} does not compile (line {error.lineno}: {error.message}); "
                            "repair the model's chat_template.jinja") from error
        self.is_proven = writes_contents_only(parse_template(source))
        """Whether the template does nothing with the contents of an ordinary conversation but to write them."""
        self._special_tokens = special_tokens
        self.source = source
        self.has_generation_marks = _GENERATION.search(source) is not None

    def render(self, messages: Sequence[Message], tools: Any = None, *, add_generation_prompt: bool = False,
               marks_generation: bool = False) -> str:
        """Render a conversation; raises RowRefused with the template's own words."""
        try:
            return self._template.render(
                **self._special_tokens, messages=list(messages), tools=tools, documents=None,
                add_generation_prompt=add_generation_prompt, **{MARKS_GENERATION: marks_generation},
            )
        except _RAISED as error:
            raise RowRefused(f"the model's chat template refuses it: {shown(str(error))}") from error
