"""Making a base model's folder in the home, by a process of `worker.convert`: this package never loads torch.

The process says where it is in JSON lines, and the model's facts in the last one. The folder appears under its name when it is
whole, so a conversion that was cut off leaves nothing that looks like a model.
"""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from cli.children import dies_with_parent
from cli.errors import CommandRefused
from cli.output import err, say

FACTS = "headrace.json"
"""The facts of a converted model, kept beside its folder, so that it is not looked through again."""


@dataclass(frozen=True)
class ModelSource:
    """Where a base model comes from: one of --path, --gguf, --hub, --builtin, with its value."""

    option: str
    value: str


@dataclass(frozen=True)
class MadeModel:
    folder: Path
    facts: dict[str, Any]
    is_cached: bool


def make_model(name: str, source: ModelSource, models: Path) -> MadeModel:
    """Make the folder of a base model under `models`; a built-in one that was made before is taken as it is."""
    folder = models / folder_name(name, source)
    kept = folder.with_name(f"{folder.name}.{FACTS}")
    asked = dataclasses.asdict(source)
    if folder.is_dir() and kept.is_file():
        told = orjson.loads(kept.read_bytes())
        if source.option == "--builtin" and told["source"] == asked:
            return MadeModel(folder, told["facts"], is_cached=True)
    models.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = folder.with_name(f".new-{folder.name}")
    shutil.rmtree(fresh, ignore_errors=True)
    facts = _convert(source, fresh)
    if folder.exists():
        shutil.rmtree(folder)
    fresh.rename(folder)
    kept.write_bytes(orjson.dumps({"source": asked, "facts": facts}))
    return MadeModel(folder, facts, is_cached=False)


def folder_name(name: str, source: ModelSource) -> str:
    """Name the folder: a built-in one by what it is, the others by the name on the list, as a file's name may hold it."""
    return source.value if source.option == "--builtin" else re.sub(r"[^A-Za-z0-9._-]", "--", name).lstrip(".")


def _convert(source: ModelSource, folder: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "worker.convert", source.option, source.value, "--out", str(folder)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               preexec_fn=dies_with_parent())
    assert process.stdout is not None
    assert process.stderr is not None
    last: dict[str, Any] = {}
    try:
        with _Bar() as bar:
            for line in process.stdout:
                last = orjson.loads(line)
                if "phase" in last:
                    bar.show(last["phase"], last["done"], last["of"])
        words = process.stderr.read().decode(errors="replace").strip()
        code = process.wait()
    except BaseException:
        process.kill()
        process.wait()
        raise
    if code != 0:
        raise CommandRefused(_last_lines(words) or f"the conversion ended with code {code} and no word of why")
    return last


class _Bar:
    """A bar on standard error; where no terminal is looking, a line for each phase."""

    def __init__(self) -> None:
        console = err()
        self._phase = ""
        self._progress = Progress(SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=30),
                                  TimeElapsedColumn(), console=console, transient=True, disable=not console.is_terminal)
        self._task = self._progress.add_task("loading libraries", total=None)

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, phase: str, done: int, of: int) -> None:
        self._progress.update(self._task, description=phase, completed=done, total=of)
        if self._progress.disable and phase != self._phase:
            say(f"        {phase}")
        self._phase = phase


def _last_lines(words: str) -> str:
    if "No module named" in words and ("torch" in words or "transformers" in words):
        return "converting needs the train extra, which is not installed here; run `make install` in the release's folder"
    return "\n".join(words.splitlines()[-3:])
