"""The sources of a job: entries of its row, in an order that only grows, so that their numbers never change."""

from __future__ import annotations

from typing import Any

from core.jobs.models import Job


def named_sources(job: Job) -> list[dict[str, Any]]:
    """The job's sources under names that differ: a name that comes again gets its number. A name never changes."""
    taken: set[str] = set()
    named: list[dict[str, Any]] = []
    for number, entry in enumerate(job.sources, 1):
        name = entry["name"] if entry["name"] not in taken else f"{entry['name']} #{number}"
        taken.add(name)
        named.append({**entry, "name": name})
    return named


def submitted(job: Job) -> list[dict[str, Any]]:
    """The sources that the job was submitted with: those that its plan was made of."""
    return [entry for entry in job.sources if not entry.get("is_added")]


def first_weights(job: Job) -> tuple[float, ...]:
    """The weights that hold from step 1, by the submit."""
    return tuple(float(entry["weight"]) for entry in submitted(job))


def param_of(job: Job, version_id: str) -> str:
    """The field of the submit that named a version."""
    if version_id == job.validation_version_id:
        return "validation_file"
    number = next(number for number, entry in enumerate(job.sources) if entry["version_id"] == version_id)
    return f"datasets.{number}.dataset" if job.sources[number].get("dataset_id") else "training_file"


def find_source(job: Job, named: str) -> int | None:
    """Find a source's number by its name, or its data set's id."""
    for number, entry in enumerate(named_sources(job)):
        if named in (entry["name"], entry.get("dataset_id")):
            return number
    return None
