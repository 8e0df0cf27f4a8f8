"""Specs that were written down by another release: read, brought up to date, or refused in words.

A job's spec lies in the ledger with its version (`SPEC_VERSION`), a run's in its file (`RUN_SPEC_VERSION`). Each release reads
every version before its own: `JOB_STEPS` and `RUN_STEPS` hold, by version, what turns its JSON into that of the next one. A
later version, or one that no step begins at, is refused, since a guess would train something else than was asked for.

A new field with a default that means what its absence meant needs no new version; anything else does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from core.errors import RunRejected, shown
from core.specs.job import SPEC_VERSION, JobSpec
from core.specs.run import RUN_SPEC_VERSION, RunSpec

Step = Callable[[dict[str, Any]], dict[str, Any]]
Spec = TypeVar("Spec", bound=BaseModel)

JOB_STEPS: Mapping[int, Step] = {}
RUN_STEPS: Mapping[int, Step] = {}


def read_job_spec(told: dict[str, Any], version: int) -> JobSpec:
    """Raise RunRejected for a spec that this release cannot read."""
    return _read(JobSpec, "job", told, version, newest=SPEC_VERSION, steps=JOB_STEPS)


def read_run_spec(content: bytes) -> RunSpec:
    """Read a run's spec file; raise RunRejected for one that this release cannot read."""
    try:
        told = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise RunRejected(f"the spec of the run is no JSON ({error}); write it anew", code="spec_unreadable") from error
    version = told.get("version", RUN_SPEC_VERSION) if isinstance(told, dict) else None
    if not isinstance(version, int):
        raise RunRejected(f"the spec of the run begins {shown(str(told))}; a JSON object with a number as 'version' was "
                          "expected: write it anew", code="spec_unreadable")
    spec = _read(RunSpec, "run", told, version, newest=RUN_SPEC_VERSION, steps=RUN_STEPS)
    return spec.model_copy(update={"version": RUN_SPEC_VERSION})


def up_to_date(told: dict[str, Any], version: int, *, newest: int, steps: Mapping[int, Step]) -> dict[str, Any] | None:
    """Take the steps from a version to the newest; None where one is missing, or for a version that is newer still."""
    if version > newest:
        return None
    for number in range(version, newest):
        if number not in steps:
            return None
        told = steps[number](told)
    return told


def _read(kind: type[Spec], named: str, told: dict[str, Any], version: int, *, newest: int, steps: Mapping[int, Step]) -> Spec:
    current = up_to_date(told, version, newest=newest, steps=steps) if version > 0 else None
    if current is None:
        way = "let a worker of that release run it, or upgrade this one" if version > newest else "submit the job again"
        raise RunRejected(f"the spec of the {named} has version {version}, and this release reads versions "
                          f"{min([*steps, newest])} to {newest}; {way}", code="spec_version_unknown")
    try:
        return kind.model_validate(current)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        at = ".".join(map(str, first["loc"]))
        raise RunRejected(f"the spec of the {named} (version {version}) does not fit this release: {shown(at)}: "
                          f"{first['msg']}; submit the job again", code="spec_unreadable") from error
