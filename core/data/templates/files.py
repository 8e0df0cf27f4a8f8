"""What a model's folder says about its text: the chat templates by name, and the names of its special tokens."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from core.errors import DataError, shown

SPECIAL_NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


@dataclass(frozen=True)
class TemplateFiles:
    folder: str
    chat_templates: dict[str, str]
    """By name: "default", and where a model has them "tool_use" and others. Empty when the model has none."""
    special_tokens: dict[str, str]
    """Text of "bos_token", "eos_token" …, those that the folder names; templates see them as variables."""


def read_template_files(folder: str) -> TemplateFiles:
    """Read the template files of a model's folder; raises DataError for a file that is not what its name says."""
    root = Path(folder)
    config = _read_json(root / "tokenizer_config.json")
    legacy = _read_json(root / "special_tokens_map.json")
    return TemplateFiles(folder, _chat_templates(root, config), _special_tokens({**legacy, **config}))


def _chat_templates(root: Path, config: dict[str, Any]) -> dict[str, str]:
    """Files win over the configuration, as they do where the model was saved."""
    files = {path.stem: path for path in sorted((root / "additional_chat_templates").glob("*.jinja"))}
    if (root / "chat_template.jinja").is_file():
        files["default"] = root / "chat_template.jinja"
    if files:
        return {name: path.read_text(encoding="utf-8") for name, path in files.items()}
    return _templates_in(config.get("chat_template"), root)


def _templates_in(told: Any, root: Path) -> dict[str, str]:
    match told:
        case None:
            return {}
        case str():
            return {"default": told}
        case list():
            return {entry["name"]: entry["template"] for entry in told}
        case dict():
            return dict(told)
    raise DataError(f"chat_template in {root / 'tokenizer_config.json'} is {shown(told)}; expected text or a list of "
                    "named templates; repair the file")


def _special_tokens(told: dict[str, Any]) -> dict[str, str]:
    texts = {name: _text(told.get(name)) for name in SPECIAL_NAMES}
    return {name: text for name, text in texts.items() if text is not None}


def _text(token: Any) -> str | None:
    """A special token is written as text, or as an object that holds it."""
    return token["content"] if isinstance(token, dict) else token


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise DataError(f"{path} is no JSON ({error}); copy the file from the model again") from error
