"""What a client may ask of a job's mixture: a plan at submit, and changes while the job waits or runs."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, StringConstraints, model_validator

from core.specs.job import Frozen, SourceName, SourceWeight, WeightedDataset

MOST_ROWS = 1000
Names = Annotated[list[SourceName], Field(max_length=64)]


class QuarantinedRow(Frozen):
    source: SourceName
    row: Annotated[int, Field(ge=0, le=10**15, strict=True)]
    """Number of the row in its data set version, from 0, as `GET /v1/datasets/{id}/rows` tells it."""


class Quarantine(Frozen):
    sources: Names = []
    rows: Annotated[list[QuarantinedRow], Field(max_length=MOST_ROWS)] = []


class Lift(Frozen):
    rows: Annotated[list[QuarantinedRow], Field(min_length=1, max_length=MOST_ROWS)]


class MixtureUpdate(Frozen):
    weights: Annotated[dict[SourceName, SourceWeight], Field(max_length=64)] | None = None
    """New weights by the source's name; a source that is not named keeps its own."""
    add: Annotated[list[WeightedDataset], Field(max_length=64)] | None = None
    drop: Names | None = None
    quarantine: Quarantine | None = None
    lift: Lift | None = None
    """Rows whose quarantine ends; a source comes back when it is given a weight."""
    reason: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    """Why, in a person's words; kept with the change."""

    @model_validator(mode="before")
    @classmethod
    def null_means_absent(cls, told: Any) -> Any:
        return {name: value for name, value in told.items() if value is not None} if isinstance(told, dict) else told

    @model_validator(mode="after")
    def asks_for_something(self) -> MixtureUpdate:
        quarantine = self.quarantine or Quarantine()
        if not (self.weights or self.add or self.drop or quarantine.sources or quarantine.rows or self.lift):
            raise ValueError("the change asks for nothing; give 'weights', 'add', 'drop', 'quarantine' or 'lift'")
        return self
