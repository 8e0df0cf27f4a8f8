"""Names of models: the operator's, a job's (`ft:{base}:{org}:{suffix}:{id}`), and a checkpoint's (`…:ckpt-step-{n}`)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from core.errors import InvalidValue, shown

BASE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,127}")
TUNED_PREFIX = "ft:"
CHECKPOINT = re.compile(r"(?P<model>ft:.+):ckpt-step-(?P<step>[0-9]{1,12})")
SHORT_LENGTH = 8
"""Characters of a job's id in its model's name: 47 bits, and the name is the table's key besides."""
JOB_PREFIX = "ftjob-"


@dataclass(frozen=True)
class CheckpointName:
    model: str
    step: int


def check_base_name(name: str) -> str:
    """Raise InvalidValue unless the operator may put `name` on the list."""
    parts = name.split("/")
    if not BASE_NAME.fullmatch(name) or any(part in ("", ".", "..") for part in parts):
        raise InvalidValue(
            f"model name {shown(name)} is not usable; a name is 1 to 128 of A-Z a-z 0-9 . _ - /, begins with a letter or "
            "digit, and has no empty or dotted part", param="name")
    return name


def tuned_name(*, base: str, organization_id: str, suffix: str | None, job_id: str) -> str:
    return f"{TUNED_PREFIX}{base}:{organization_id}:{suffix or ''}:{short_id(job_id)}"


def checkpoint_name(model: str, step: int) -> str:
    return f"{model}:ckpt-step-{step}"


def short_id(job_id: str) -> str:
    return job_id.removeprefix(JOB_PREFIX)[:SHORT_LENGTH]


def job_prefix_of(model: str) -> str:
    """The beginning of the id of the job that makes the model of this name."""
    return JOB_PREFIX + model.rpartition(":")[2]


def parse_checkpoint_name(name: str) -> CheckpointName | None:
    match = CHECKPOINT.fullmatch(name)
    return CheckpointName(match["model"], int(match["step"])) if match else None
