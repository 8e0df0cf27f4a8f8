"""The sandbox that chat templates are rendered in.

Chat templates are programs by strangers, and they are written against the environment that transformers gives them. So
this one has the same surface (transformers 5.23, `utils/chat_template_utils.py`): jinja2's immutable sandbox, blocks
trimmed, `break` and `continue`, `raise_exception`, `strftime_now`, a `tojson` that escapes nothing beyond JSON, and the
`{% generation %}` block. Two things differ, because a step's tokens must be the same whenever they are computed:
`strftime_now` always tells `DATE`, and nothing random is offered.

The `{% generation %}` block wraps what it holds in `GENERATION_OPEN` and `GENERATION_CLOSE` while the variable
`marks_generation` is true, and otherwise writes it unchanged.
"""

from __future__ import annotations

import datetime
import functools
import json
from typing import Any

import jinja2
import jinja2.ext
from jinja2 import nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

GENERATION_OPEN = "\ufdd2"
GENERATION_CLOSE = "\ufdd3"

MARKS_GENERATION = "headrace_marks_generation"
"""Name of the template variable that turns the marks on."""

DATE = datetime.datetime(2024, 7, 26)
"""What `strftime_now` tells: the date that the Llama 3 templates themselves write when they are given none."""


def compile_template(source: str) -> jinja2.Template:
    """Compile a chat template; raises jinja2's TemplateSyntaxError."""
    return _environment().from_string(source)


def parse_template(source: str) -> nodes.Template:
    """The syntax tree of a chat template; raises jinja2's TemplateSyntaxError."""
    return _environment().parse(source)


@functools.cache
def _environment() -> jinja2.Environment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationBlock, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    del environment.filters["random"], environment.globals["lipsum"]
    environment.globals.update(
        raise_exception=_raise, strftime_now=DATE.strftime, dict=_dict, namespace=_Namespace  # pyright: ignore[reportArgumentType]
    )
    return environment


class _GenerationBlock(jinja2.ext.Extension):
    tags = {"generation"}

    def parse(self, parser: Any) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        is_marked = nodes.Name(MARKS_GENERATION, "load")
        call = self.call_method("_generated", [is_marked])
        return nodes.CallBlock(call, [], [], body).set_lineno(line)

    def _generated(self, is_marked: Any, caller: Any) -> str:
        text = caller()
        return f"{GENERATION_OPEN}{text}{GENERATION_CLOSE}" if is_marked is True else text


class _Namespace(jinja2.utils.Namespace):
    """jinja2's namespace, without names that lead into Python's own."""

    def __init__(*args: Any, **kwargs: Any) -> None:  # pyright: ignore[reportSelfClsParameterName]
        self, *rest = args
        attributes = dict(*rest, **kwargs)
        for name in attributes:
            _check_name(name)
        jinja2.utils.Namespace.__init__(self, attributes)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        super().__setitem__(name, value)


def _check_name(name: str) -> None:
    if name.startswith("_"):
        raise jinja2.exceptions.SecurityError(f"a chat template may not set {name!r} on a namespace")


def _dict(*args: Any, **kwargs: Any) -> dict:
    return dict(*args, **kwargs)


def _to_json(value: Any, ensure_ascii: bool = False, indent: int | None = None,
             separators: tuple[str, str] | None = None, sort_keys: bool = False) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise(message: str) -> None:
    raise jinja2.exceptions.TemplateError(message)
