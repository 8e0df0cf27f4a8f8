"""What running out of memory has taught about a job: kept with it, so that a run which goes on does not learn it again."""

from __future__ import annotations

from core.jobs.models import Job


def note_limit(job: Job, limit_tokens: int) -> None:
    """Note how many tokens of several examples fit at once on the device that the job's run computes on."""
    told = job.progress or {}
    job.progress = {**told, "memory": {"device": told.get("device"), "limit_tokens": limit_tokens}}


def limit_of(job: Job, device: str) -> int | None:
    """What was noted on this kind of device; None where nothing was."""
    known = (job.progress or {}).get("memory") or {}
    return known.get("limit_tokens") if known.get("device") == device else None
