"""The numbers that the operator sets for the order of the queue, for backfill and for preemption."""

from __future__ import annotations

from dataclasses import dataclass

from core.projects.usage import HALF_LIFE_SECONDS
from core.settings import Settings


@dataclass(frozen=True)
class Policy:
    half_life_seconds: float = HALF_LIFE_SECONDS
    """After so long a device-second counts half."""
    backfill_seconds: float = 600.0
    """How long smaller jobs may pass a job that waits for several devices, where nothing foretells when it can start."""
    preempt_after_seconds: float = 60.0
    """A run is left alone for so long before a job of higher priority may take its devices."""

    @classmethod
    def of(cls, settings: Settings) -> Policy:
        return cls(settings.fair_share_half_life_seconds, settings.backfill_seconds, settings.preempt_after_seconds)


DEFAULT = Policy()
"""What holds where no settings are at hand."""

__all__ = ["DEFAULT", "Policy"]
