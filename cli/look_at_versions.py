"""Whether what is installed is what this release was made for: Python, the packages it needs, those that training needs.

The demands are those of the package itself, read from its installed metadata, so that they are told in one place only.
"""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from importlib.util import find_spec
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from cli.finding import Finding

TRAINING = ("torch", "transformers", "peft")
"""Without these a machine trains nothing."""
REMEDY = "make its environment anew (`make install` in the release's folder)"
CUDA_LINE = re.compile(r"^cuda\b.*=\s*'([\d.]+)'", re.MULTILINE)


def look_at_python() -> Finding:
    """Compare this interpreter, and the packages that every part needs, with what the release asks for."""
    asked = metadata("headrace")["Requires-Python"]
    here = f"{platform.python_version()} at {sys.executable}, headrace {version('headrace')}"
    if not SpecifierSet(asked).contains(platform.python_version(), prereleases=True):
        return Finding("python", "fault", f"{here}; this release runs on Python {asked}: {REMEDY} with one of those")
    if told := list(misfits(demands())):
        return Finding("python", "fault", f"{here}; {'; '.join(told)}: {REMEDY}")
    return Finding("python", "ok", here)


def look_at_training() -> Finding:
    """Compare what a train worker needs; a machine without it serves and indexes all the same."""
    missing = [name for name in TRAINING if find_spec(name) is None]
    if missing:
        return Finding("training", "note", f"{', '.join(missing)} not installed: this machine serves and indexes, and trains "
                                           "nothing; for training run `make install` in the release's folder")
    here = ", ".join(f"{name} {version(name)}" for name in TRAINING)
    if told := list(misfits(demands("train"))):
        return Finding("training", "fault", f"{here}; {'; '.join(told)}: {REMEDY}")
    return Finding("training", "ok", here)


def demands(extra: str = "") -> list[Requirement]:
    """List what this release asks for: of every part, or of an extra alone."""
    asked = [Requirement(line) for line in requires("headrace") or ()]
    return [each for each in asked if _belongs(each, extra)]


def misfits(asked: Iterable[Requirement]) -> Iterable[str]:
    """Tell of each package that is missing or of another version than asked for; a build's local label does not count."""
    for each in asked:
        try:
            found = version(each.name)
        except PackageNotFoundError:
            yield f"{each.name} is not installed, this release needs {each.specifier}"
            continue
        if not each.specifier.contains(found, prereleases=True):
            yield f"{each.name} is {found}, this release needs {each.specifier}"


def cuda_of_torch() -> str | None:
    """Read for which CUDA the installed torch was built, without importing it: None for a build without CUDA, "" if it does
    not say."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return ""
    told = Path(spec.origin).parent / "version.py"
    return read_cuda(told.read_text()) if told.is_file() else ""


def read_cuda(source: str) -> str | None:
    """Find the version of CUDA in the text of torch's version.py."""
    found = CUDA_LINE.search(source)
    return found.group(1) if found else None


def _belongs(asked: Requirement, extra: str) -> bool:
    if asked.marker is None:
        return not extra
    return asked.marker.evaluate({"extra": extra}) and (not extra or not asked.marker.evaluate({"extra": ""}))
