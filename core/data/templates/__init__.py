"""Row → Example: a row's text in pieces, each trained on or not, each a control token or not.

`open_template` reads a model's folder and gives what turns the rows of one format into examples. It imports no
transformers; the tests compare it with `apply_chat_template` for several families of templates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from core.data.spec import Example, Row, RowFormat
from core.data.templates.chat import ChatTemplate
from core.data.templates.files import TemplateFiles, read_template_files
from core.data.templates.plain import PromptCompletionTemplate, TextTemplate
from core.data.templates.refusal import RowRefused
from core.data.templates.renderer import Renderer
from core.errors import DataError, shown

__all__ = ["RowRefused", "RowTemplate", "open_template"]


class RowTemplate(Protocol):
    def example(self, row: Row) -> Example:
        """Turn one row into an example; raises RowRefused."""
        ...


def open_template(folder: str, *, row_format: RowFormat, control_tokens: Sequence[str], front: Sequence[str]) -> RowTemplate:
    """Open the template for rows of a format; raises DataError when the model's folder lacks what they need.

    `front` holds the control tokens that the tokenizer itself writes at the start of a text.
    """
    files = read_template_files(folder)
    if row_format == "chat":
        return _chat_template(files, control_tokens)
    kind = PromptCompletionTemplate if row_format == "prompt_completion" else TextTemplate
    return kind(front=front, end=_end_token(files, row_format, control_tokens))


def _chat_template(files: TemplateFiles, control_tokens: Sequence[str]) -> ChatTemplate:
    if "default" not in files.chat_templates:
        raise DataError(
            f"model folder {files.folder} has no chat template (chat_template.jinja, or chat_template in "
            "tokenizer_config.json), which chat rows need; add one to the model, choose an instruction-tuned model, or "
            "register the rows as prompt and completion")
    renderers = {name: Renderer(source, special_tokens=files.special_tokens, folder=files.folder)
                 for name, source in files.chat_templates.items() if name in ("default", "tool_use")}
    return ChatTemplate(renderers["default"], control_tokens=control_tokens, tool_renderer=renderers.get("tool_use"))


def _end_token(files: TemplateFiles, row_format: RowFormat, control_tokens: Sequence[str]) -> str:
    end = files.special_tokens.get("eos_token")
    if end is None:
        raise DataError(f"model folder {files.folder} names no eos_token, with which every row of format "
                        f"'{row_format}' ends; add eos_token to tokenizer_config.json")
    if end not in control_tokens:
        raise DataError(f"eos_token of model folder {files.folder} is {shown(end)}, which is no special token of its "
                        "tokenizer.json; name one of those in tokenizer_config.json")
    return end
