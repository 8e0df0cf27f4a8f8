"""An estimate on the wire. What is not known is null, and `notes` say why."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from core.estimates.fitting import Planned
from core.estimates.memory import Memory
from core.estimates.service import Estimate, Plan, Where


class Parameters(BaseModel):
    total: int
    """Of the base model and the adapter."""
    trainable: int


class MemoryByPart(BaseModel):
    """Bytes on one device while a step runs."""

    weights: int
    adapter: int
    gradients: int
    optimizer: int
    activations: int
    logits: int
    libraries: int
    total: int

    @classmethod
    def of(cls, memory: Memory) -> MemoryByPart:
        return cls(**vars(memory), total=memory.total)


class PlannedMemory(BaseModel):
    precision: str
    micro_batch_tokens: int
    """Tokens that go through the model at once."""
    bytes: MemoryByPart
    needed_bytes: int
    """The memory that a device must have, for the longest example alone."""

    @classmethod
    def of(cls, planned: Planned) -> PlannedMemory:
        return cls(precision=planned.way.dtype, micro_batch_tokens=planned.micro_batch_tokens,
                   bytes=MemoryByPart.of(planned.memory), needed_bytes=planned.needed_bytes)


class Data(BaseModel):
    rows: int
    validation_rows: int
    tokens: int
    """Over all steps, evaluations left out."""
    longest_tokens: int
    is_sampled: bool
    """Whether the tokens are reckoned from some of the rows."""
    measured_rows: int
    n_epochs: int
    batch_size: int
    max_length: int
    steps: int

    @classmethod
    def of(cls, plan: Plan) -> Data:
        tokens, told = plan.tokens, plan.resolved
        return cls(rows=told["rows"], validation_rows=told["validation_rows"], tokens=tokens.total,
                   longest_tokens=tokens.longest, is_sampled=tokens.is_sampled, measured_rows=tokens.measured_rows,
                   n_epochs=told["n_epochs"], batch_size=told["batch_size"], max_length=told["max_length"],
                   steps=told["total_steps"])


class Time(BaseModel):
    seconds: float | None
    """Of a run from its claim to its last step: loading, and evaluations as past runs had them."""
    tokens_per_second: float | None
    measured_runs: int
    """How many past runs the speed was measured on."""
    reason: str | None
    """Why it is not known."""

    @classmethod
    def of(cls, where: Where, *, is_planned: bool) -> Time:
        if where.speed is None:
            return cls(seconds=None, tokens_per_second=None, measured_runs=0, reason=(
                f"the model was not trained on {where.fit.group.name} yet with as many devices; the first run measures it"))
        reason = None if is_planned else "the data are still being looked at"
        return cls(seconds=where.seconds, tokens_per_second=where.speed.tokens_per_second, measured_runs=where.speed.runs,
                   reason=reason)


class DeviceEstimate(BaseModel):
    host: str
    kind: str
    name: str
    count: int
    memory_bytes: int
    fits: bool
    reason: str | None
    """Why it does not fit."""
    memory: PlannedMemory | None
    time: Time


class EstimateObject(BaseModel):
    object: Literal["fine_tuning.job.estimate"] = "fine_tuning.job.estimate"
    model: str
    base_model: str
    parameters: Parameters | None
    memory: PlannedMemory | None
    """On the first device that the job fits on; where there is none, on a GPU that has just enough."""
    data: Data | None
    seconds: float | None
    """The shortest of the devices' times."""
    fits: bool | None
    """Whether a known device will do; null where no worker is alive."""
    devices: list[DeviceEstimate]
    notes: list[str]

    @classmethod
    def of(cls, made: Estimate) -> EstimateObject:
        best, load = made.best, made.load
        return cls(
            model=made.drafted.spec.model, base_model=made.drafted.base.name,
            parameters=load and Parameters(total=load.shape.parameters + load.adapter.parameters,
                                           trainable=load.adapter.parameters),
            memory=PlannedMemory.of(made.planned) if made.planned else None, data=Data.of(made.plan) if made.plan else None,
            seconds=best.seconds if best else None, fits=best is not None if made.places else None,
            devices=[_device(where, is_planned=made.plan is not None) for where in made.places], notes=list(made.notes))


def _device(where: Where, *, is_planned: bool) -> DeviceEstimate:
    fit = where.fit
    return DeviceEstimate(**vars(fit.group), fits=fit.reason is None, reason=fit.reason,
                          memory=PlannedMemory.of(fit.planned) if fit.planned else None,
                          time=Time.of(where, is_planned=is_planned))
