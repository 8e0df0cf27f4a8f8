"""What a look at the installation found, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "note", "fault"]
"""A note is worth knowing; a fault must be mended before this machine does its part."""


@dataclass(frozen=True)
class Finding:
    about: str
    verdict: Verdict
    says: str
