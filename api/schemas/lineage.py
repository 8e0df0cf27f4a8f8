"""Lineage on the wire: the rows behind a step, and the receipt of a checkpoint."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

from core.lineage.reading import StepView


class StepRow(BaseModel):
    slot: int
    """Place of the row in its step, in the order of the draws."""
    source: str
    row: int
    file: str
    line: int
    trained: bool
    """False for a hole: the step did without the row."""
    loss: float | None
    """Mean over the row's trained tokens, as the step saw it."""
    content: dict[str, Any] | None
    error: str | None


class StepRows(BaseModel):
    object: Literal["fine_tuning.job.step.rows"] = "fine_tuning.job.step.rows"
    fine_tuning_job_id: str
    step: int
    epoch: float
    train_loss: float | None
    slots: int
    digest: str
    """xxh3-64 of the rows that the step was trained on, as the run reported it."""
    verified: bool | None
    """Whether the rows as they are read now have that digest; null when they are too large to read all of them."""
    data: list[StepRow]
    has_more: bool

    @classmethod
    def of(cls, job_id: str, step: int, digest: str, view: StepView, *, train_loss: float | None) -> StepRows:
        rows = [StepRow(slot=row.slot, source=row.source, row=row.row, file=row.file, line=row.line, trained=row.is_trained,
                        loss=row.loss, content=row.content, error=row.error) for row in view.rows]
        return cls(fine_tuning_job_id=job_id, step=step, epoch=view.epoch, train_loss=train_loss, slots=view.slot_count,
                   digest=digest, verified=view.verified, data=rows, has_more=view.has_more)


class ReceiptModel(BaseModel):
    name: str | None
    digest: str | None


class ReceiptSource(BaseModel):
    source: str
    dataset: str
    version: int
    version_id: str
    digest: str | None
    format: str | None
    rows: int | None
    rows_drawn: int
    epochs: float | None
    examples: int
    tokens: int
    trained_tokens: int
    faulty_rows: int | None
    """Known to be faulty when the data was registered: never drawn."""
    skipped_rows: int
    """Found to be at fault and skipped on the way up to the checkpoint, each counted once."""


class Receipt(BaseModel):
    object: Literal["fine_tuning.job.checkpoint.receipt"]
    fine_tuning_job_id: str
    checkpoint_id: str
    step: int
    total_steps: int | None
    adapter_digest: str
    base_model: ReceiptModel
    seed: int
    batch_size: int | None
    n_epochs: int | None
    exhaustion: str
    validation_split: float | None
    sources: list[ReceiptSource]
    overlong: dict[str, int]
    """Rows that were longer than max_length, by what was done with them, each counted once."""
    untrained_rows: int
    """Rows in which nothing is trained on, each counted once."""
    mixture: list[dict[str, Any]]
    """The mixture log up to the checkpoint, oldest entry first."""
    tokenizer_digest: str | None
    max_length: int | None
    mixture_digest: str
    """Stands for the sources and the mixture log up to the checkpoint."""
    order_digest: str | None
    """The digests of all steps up to the checkpoint, chained: equal for two runs exactly when they saw equal rows in order."""
