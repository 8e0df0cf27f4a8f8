from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from core.errors import ConfigurationError
from tests.tiny_model import tiny_base
from worker.model_folder import ModelFacts, check_model_folder, describe


def copied(folder: Path) -> Path:
    shutil.copytree(tiny_base(), folder / "model")
    return folder / "model"


def with_auto_map(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        told = orjson.loads((folder / name).read_bytes())
        (folder / name).write_bytes(orjson.dumps({**told, "auto_map": {"AutoModel": "x.Y"}}))
    return change


def holding(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"")
    return change


def without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def test_the_tiny_base_is_a_model() -> None:
    check_model_folder(tiny_base())


@pytest.mark.parametrize(("change", "told"), [
    (holding("modeling_x.py"), "is code"),
    (holding("nested/deep.PY"), "is code"),
    (holding("pytorch_model.bin"), "pickle.*safetensors"),
    (holding("weights.pt"), "pickle"), (holding("weights.pth"), "pickle"), (holding("weights.ckpt"), "pickle"),
    (holding("weights.pkl"), "pickle"), (holding("training_args.bin"), "pickle"),
    (with_auto_map("config.json"), "auto_map"), (with_auto_map("tokenizer_config.json"), "auto_map"),
    (without("config.json"), "no config.json"), (without("tokenizer.json"), "no tokenizer.json"),
    (without("model.safetensors"), r"no \*.safetensors"),
    (lambda folder: (folder / "config.json").write_bytes(b"{"), "cannot be read"),
    (lambda folder: (folder / "config.json").write_bytes(b"[1]"), "a JSON object was expected"),
    (lambda folder: (folder / "config.json").write_bytes(b"{}"), "architectures None"),
])
def test_a_folder_with_anything_that_runs_or_lacks_is_refused(tmp_path: Path, change, told: str) -> None:
    folder = copied(tmp_path)
    change(folder)
    with pytest.raises(ConfigurationError, match=told):
        check_model_folder(folder)


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is not a folder"):
        check_model_folder(tmp_path / "nowhere")


def test_facts_come_from_headers() -> None:
    facts = describe(tiny_base())
    assert (facts.architecture, facts.context_length, facts.has_chat_template) == ("LlamaForCausalLM", 2048, True)
    assert facts.parameters == 133440
    assert facts.bytes == sum(path.stat().st_size for path in tiny_base().iterdir())


def test_the_digest_is_of_the_content(tmp_path: Path) -> None:
    first = describe(tiny_base())
    folder = copied(tmp_path)
    assert describe(folder) == first
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    assert describe(folder).digest != first.digest


def test_a_file_that_is_no_safetensors_is_told(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    (folder / "model.safetensors").write_bytes(b"\xff" * 64)
    with pytest.raises(ConfigurationError, match="safetensors header"):
        describe(folder)


def test_facts_are_plain() -> None:
    assert set(dataclasses.asdict(describe(tiny_base()))) == {f.name for f in dataclasses.fields(ModelFacts)}
