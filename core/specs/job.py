"""What a client may ask for when it submits a job: OpenAI's request, and our fields beside it.

Every model is frozen and refuses unknown fields. `null` means absent for every optional field. `JobSpec` is stored as
JSON with the job; `SPEC_VERSION` grows when its meaning changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator
from pydantic_core import PydanticCustomError

SPEC_VERSION = 1
MOST_RUN_SECONDS = 10 * 365 * 24 * 3600
"""Ten years: a later end is no limit, and a calendar has one."""

Auto = Literal["auto"]
Precision = Literal["auto", "bf16", "fp16", "fp32"]
Epochs = Annotated[int, Field(ge=1, le=50, strict=True)]
BatchSize = Annotated[int, Field(ge=1, le=256, strict=True)]
Multiplier = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False, strict=True)]
Exhaustion = Literal["repeat", "first", "all"]
Suffix = Annotated[str, StringConstraints(max_length=64, pattern=r"^[A-Za-z0-9_.-]*$")]


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Hyperparameters(Frozen):
    n_epochs: Auto | Epochs = "auto"
    batch_size: Auto | BatchSize = "auto"
    learning_rate_multiplier: Auto | Multiplier = "auto"

    @field_validator("*", mode="before")
    @classmethod
    def null_means_auto(cls, value: Any) -> Any:
        return "auto" if value is None else value


class Supervised(Frozen):
    hyperparameters: Hyperparameters | None = None


class Method(Frozen):
    type: Literal["supervised"]
    supervised: Supervised | None = None


class Lora(Frozen):
    """Shape of the adapter; alpha defaults to twice the rank."""

    r: Annotated[int, Field(ge=1, le=512, strict=True)] = 16
    alpha: Annotated[float, Field(gt=0, le=4096, allow_inf_nan=False)] | None = None
    dropout: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] = 0.0
    target_modules: Literal["all-linear"] | Annotated[list[Annotated[str, StringConstraints(
        pattern=r"^[A-Za-z0-9_.]{1,128}$")]], Field(min_length=1, max_length=64)] = "all-linear"
    use_rslora: bool = False
    use_dora: bool = False


class KeptCheckpoints(Frozen):
    """Which of the checkpoints that clients see stay; one that any of these names does."""

    last: Annotated[int, Field(ge=1, le=1000, strict=True)] | None = None
    """The newest so many."""
    best: Annotated[bool, Field(strict=True)] = False
    """The one with the lowest full_valid_loss; none in a job that holds no rows out."""
    every: Annotated[int, Field(ge=1, strict=True)] | None = None
    """Those whose step is a multiple of this."""

    @model_validator(mode="after")
    def names_something(self) -> KeptCheckpoints:
        if self.last is None and self.every is None and not self.best:
            raise ValueError("'keep_checkpoints' names none to keep; give 'last', 'best' or 'every', or \"all\"")
        return self


class TrainingOptions(Frozen):
    """What OpenAI's request has no field for."""

    learning_rate: Annotated[float, Field(gt=0, le=10, allow_inf_nan=False)] | None = None
    """Base learning rate, before the multiplier; 2e-4 when absent."""
    schedule: Literal["linear", "cosine", "constant"] = "cosine"
    warmup_ratio: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.03
    weight_decay: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.0
    max_grad_norm: Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)] = 1.0
    max_length: Annotated[int, Field(ge=8, le=1_048_576, strict=True)] | None = None
    """Tokens of one example at most; the model's context when absent (2,048 at most)."""
    overlong: Literal["truncate", "truncate_left", "keep_last_turns", "split", "drop"] = "truncate"
    """What becomes of a row that is longer: cut at its end or at its start, a chat without its oldest turns, several
    examples of the same step, or left out."""
    on_bad_row: Literal["fail", "skip"] = "fail"
    max_bad_rows: Annotated[int, Field(ge=0, le=1_000_000, strict=True)] | None = None
    """With on_bad_row "skip": rows that may be skipped, those counted when the data was registered included; any number when
    absent."""
    max_bad_share: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    """The same as a share of all rows; the smaller of both holds."""
    eval_every_steps: Annotated[int, Field(ge=1, strict=True)] | None = None
    """Evaluate also within an epoch; the end of each epoch is evaluated whenever there is something to evaluate on."""
    checkpoint_every_steps: Annotated[int, Field(ge=1, strict=True)] | None = None
    keep_checkpoints: Literal["all"] | KeptCheckpoints = KeptCheckpoints(last=10, best=True)
    """What stays of them; the last step's, pinned ones and those in use stay besides."""
    max_run_seconds: Annotated[int, Field(ge=1, le=MOST_RUN_SECONDS, strict=True)] | None = None
    devices: Annotated[int, Field(ge=1, le=64, strict=True)] = 1
    """GPUs of one host that train the job together; the rows of each step are shared among them."""
    loader_processes: Auto | Annotated[int, Field(ge=1, le=8, strict=True)] = "auto"
    """Processes that read and tokenise the rows for all devices of a run; what a step holds does not depend on them. "auto"
    begins with one, and takes more where the run waits for it and cores are free."""
    precision: Precision = "auto"
    """Numbers to multiply in; "auto" takes the best that the worker's device has."""
    micro_batch_tokens: Auto | Annotated[int, Field(ge=64, le=1_048_576, strict=True)] = "auto"
    """Tokens that go through the model at once; "auto" takes what the device has memory for, and tries it on a GPU before
    step 1. A row that is longer goes alone. Speed and memory depend on it, never which rows a step holds."""
    sample_prompts: Annotated[list[Annotated[str, StringConstraints(min_length=1, max_length=2000)]],
                              Field(max_length=8)] = []
    """Prompts answered before the first step and after the last, as events."""
    sample_max_tokens: Annotated[int, Field(ge=1, le=512, strict=True)] = 64

    @field_validator("keep_checkpoints", mode="before")
    @classmethod
    def null_means_default(cls, value: Any) -> Any:
        return KeptCheckpoints(last=10, best=True) if value is None else value

    @model_validator(mode="after")
    def limits_what_it_skips(self) -> TrainingOptions:
        if self.on_bad_row == "fail" and (self.max_bad_rows, self.max_bad_share) != (None, None):
            raise ValueError("'max_bad_rows' and 'max_bad_share' limit the rows that are skipped, and on_bad_row is 'fail'; "
                             "set on_bad_row to 'skip', or drop them")
        return self


SourceName = Annotated[str, StringConstraints(min_length=1, max_length=160)]
"""A source of a job's mixture: its name, or the id of its data set."""
SourceWeight = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]


class WeightedDataset(Frozen):
    dataset: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    version: Annotated[int, Field(ge=1, strict=True)] | None = None
    """Number of the version; the newest ready one when absent, and fixed at submit."""
    weight: SourceWeight = 1.0
    """Its share of the rows, beside the others' weights; 0 for one that a schedule brings in later."""
    epochs: Epochs | None = None
    """Passes over this data set that the exhaustion policy reckons with; `n_epochs` when absent."""


class ScheduledWeights(Frozen):
    """An entry of the mixture log that is known at submit."""

    from_step: Annotated[int, Field(ge=2, le=10_000_000, strict=True)]
    weights: Annotated[dict[SourceName, SourceWeight], Field(min_length=1, max_length=64)]
    """By the source's name; a source that is not named keeps its weight."""


class WandbIntegration(Frozen):
    project: Annotated[str, StringConstraints(min_length=1, max_length=128)]
    name: str | None = None
    entity: str | None = None
    tags: list[str] | None = None


class Integration(Frozen):
    type: Literal["wandb"]
    wandb: WandbIntegration


MetadataKey = Annotated[str, StringConstraints(max_length=64)]
MetadataValue = Annotated[str, StringConstraints(max_length=512)]


def _check_steps_increase(schedule: Sequence[ScheduledWeights]) -> None:
    for number, (before, after) in enumerate(pairwise(schedule), 1):
        if after.from_step <= before.from_step:
            raise ValueError(f"'mixture_schedule.{number}.from_step' is {after.from_step} and the entry before it has "
                             f"{before.from_step}; the steps must increase: give each entry a later step than the one "
                             "before it")


class JobSpec(Frozen):
    model: Annotated[str, StringConstraints(min_length=1, max_length=256)]
    training_file: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = None
    datasets: Annotated[list[WeightedDataset], Field(min_length=1, max_length=64)] | None = None
    exhaustion: Exhaustion | None = None
    """When a mixture ends: after as many draws as its data sets have rows (repeat), when the first of them is done (first), or
    when all are (all, the default)."""
    mixture_schedule: Annotated[list[ScheduledWeights], Field(min_length=1, max_length=100)] | None = None
    """A curriculum: weights that hold from later steps on; those in `datasets` hold from step 1."""
    validation_file: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = None
    validation_split: Annotated[float, Field(gt=0, le=0.5, allow_inf_nan=False)] | None = None
    method: Method | None = None
    hyperparameters: Hyperparameters | None = None
    suffix: Suffix | None = None
    seed: Annotated[int, Field(ge=0, le=2**63 - 1, strict=True)] | None = None
    metadata: Annotated[dict[MetadataKey, MetadataValue], Field(max_length=16)] | None = None
    integrations: Annotated[list[Integration], Field(max_length=5)] | None = None
    lora: Lora | None = None
    options: TrainingOptions | None = None
    priority: Annotated[int, Field(ge=-100, le=100, strict=True)] | None = None

    @model_validator(mode="after")
    def names_its_rows_once(self) -> JobSpec:
        if self.training_file is None and self.datasets is None:
            raise PydanticCustomError("missing_required_parameter", "'training_file' is missing; add the id of an uploaded "
                                      "file, or name 'datasets'", {"param": "training_file"})
        if self.training_file is not None and self.datasets is not None:
            raise ValueError("a job names either 'training_file' or 'datasets'; give exactly one of them")
        if self.datasets is None and (self.mixture_schedule or self.exhaustion):
            raise ValueError("'exhaustion' and 'mixture_schedule' tell how several data sets are mixed; name 'datasets'")
        if self.datasets is not None and not any(each.weight for each in self.datasets):
            raise ValueError("none of the weights in 'datasets' is above 0; at least one must be drawn from step 1 on")
        _check_steps_increase(self.mixture_schedule or [])
        if self.validation_file is not None and self.validation_split is not None:
            raise ValueError("a job is validated on 'validation_file' or on a 'validation_split', not on both; drop one")
        return self

    @property
    def asked(self) -> Hyperparameters:
        """The hyperparameters, from `method` or from the deprecated top-level field."""
        nested = self.method.supervised.hyperparameters if self.method and self.method.supervised else None
        return nested or self.hyperparameters or Hyperparameters()
