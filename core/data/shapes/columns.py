"""What a user says of a file's fields: a mapping comes in, `Columns` go out.

A mapping names, for each part of a row, the field that it is read from: `{"prompt": "question", "completion": "answer"}`. For
conversations it also names the two fields of a message and the roles: `{"messages": "dialog", "role": "from", "content":
"value", "user": "human", "assistant": "gpt"}`. LLaMA-Factory's spelling is understood too: a whole entry of its
dataset_info.json (`formatting`, `columns`, `tags`, `ranking`), or the names that it uses there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from core.data.shapes.faults import near
from core.errors import InvalidValue, shown

PARTS = ("messages", "system", "tools", "prompt", "query", "response", "completion", "history", "text", "chosen", "rejected",
         "input")
"""What a row is made of. `query` is the part of a question that Alpaca calls input; `input` is OpenAI's preference field."""
TAGS = {"role": "role", "content": "content", "user": "user", "assistant": "assistant", "observation": "tool", "tool": "tool",
        "function_call": "call", "function": "call"}
"""Names of a message's fields, and of the roles that a message may have."""
IGNORED = ("images", "videos", "audios", "kto_tag", "image", "video", "audio")
_ENTRY = ("columns", "tags", "formatting", "ranking", "file_name", "subset", "split", "folder", "num_samples")
MOST_NAME = 128


@dataclass(frozen=True)
class Columns:
    """Fields by part, and the names of roles; what is absent is found in the rows."""

    parts: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    """role and content: fields of a message."""
    roles: dict[str, str] = field(default_factory=dict)
    """What a role's name stands for: user, assistant, system, call or tool."""
    formatting: str | None = None
    """LLaMA-Factory's word for the family, alpaca or sharegpt, when its entry was given."""
    is_ranking: bool = False

    @property
    def has_tags(self) -> bool:
        return bool(self.tags or self.roles)


def read_columns(told: Any) -> Columns:
    """Read a user's mapping; raise InvalidValue for a name that is none, with the one that was probably meant."""
    if told is None:
        return Columns()
    if not isinstance(told, dict):
        raise InvalidValue(f"columns is {shown(told)}; it must be an object that names fields, such as "
                           '{"prompt": "question", "completion": "answer"}', param="columns")
    if any(name in _ENTRY or name.endswith("_hub_url") for name in told):
        return _read_entry(told)
    return _read_flat(told)


def _read_entry(entry: dict[str, Any]) -> Columns:
    """An entry of LLaMA-Factory's dataset_info.json; where its file lies is said elsewhere."""
    for name in entry:
        if name not in _ENTRY and not name.endswith("_hub_url"):
            raise _unknown(name, _ENTRY)
    formatting = entry.get("formatting", "alpaca")
    if formatting not in ("alpaca", "sharegpt", "openai"):
        raise InvalidValue(f"columns.formatting is {shown(formatting)}; it must be 'alpaca', 'sharegpt' or 'openai'",
                           param="columns")
    flat = _read_flat({**_of(entry, "columns"), **{name if name.endswith("_tag") else f"{name}_tag": value
                                                   for name, value in _of(entry, "tags").items()}})
    return Columns(flat.parts, flat.tags, flat.roles, formatting, bool(entry.get("ranking")))


def _of(entry: dict[str, Any], name: str) -> dict[str, Any]:
    told = entry.get(name) or {}
    if not isinstance(told, dict):
        raise InvalidValue(f"columns.{name} is {shown(told)}; it must be an object that names fields", param="columns")
    return told


def _read_flat(told: dict[str, Any]) -> Columns:
    parts: dict[str, str] = {}
    tags: dict[str, str] = {}
    roles: dict[str, str] = {}
    for name, value in told.items():
        if value is None or name in IGNORED:
            continue
        if not isinstance(value, str) or not 0 < len(value) <= MOST_NAME:
            raise InvalidValue(f"columns.{name if name.isidentifier() else shown(name)} is {shown(value)}; it must be the name "
                               f"of a field, 1 to {MOST_NAME} characters", param="columns")
        tag = name.removesuffix("_tag")
        if name == "system_tag":
            roles[value] = "system"
        elif name in PARTS:
            parts[name] = value
        elif tag in ("role", "content"):
            tags[tag] = value
        elif tag in TAGS:
            roles[value] = TAGS[tag]
        else:
            raise _unknown(name, (*PARTS, *TAGS))
    return Columns(parts, tags, roles)


def _unknown(name: Any, known: tuple[str, ...]) -> InvalidValue:
    return InvalidValue(f"columns names {shown(name)}, which is no part of a row; {near(str(name), known)}use some of "
                        f"{', '.join(known)}", param="columns")
