"""What a training child is told: one JSON file with every choice made, so that a resume repeats them all.

It names folders, numbers and digests; no database, no Redis, no key. `python -m worker.run spec.json` runs it by hand.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

RUN_SPEC_VERSION = 1


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class OptimizerSpec(Frozen):
    """AdamW; the schedule is a function of step / total steps."""

    learning_rate: float
    weight_decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    max_grad_norm: float = 1.0
    schedule: Literal["linear", "cosine", "constant"] = "cosine"
    warmup_steps: int = 0


class LoraSpec(Frozen):
    r: int = 16
    alpha: float = 32.0
    dropout: float = 0.0
    target_modules: str | list[str] = "all-linear"
    use_rslora: bool = False
    use_dora: bool = False


class RunSpec(Frozen):
    version: int = RUN_SPEC_VERSION
    folder: str
    """The run's own folder: checkpoints are written into `folder/checkpoints`."""
    base_model: str
    """Folder of the base model: config.json, *.safetensors, tokenizer files."""
    base_model_name: str
    """As on the operator's list; written into adapter_config.json as `base_model_name_or_path`."""
    initial_adapter: str | None = None
    """Folder of the adapter to go on from, when the job's model is itself a fine-tuned one."""
    seed: int
    device: str = "cpu"
    dtype: Literal["fp32", "bf16", "fp16"] = "fp32"
    threads: int = 1
    ranks: int = 1
    """Processes that share the rows of each step, one device each; each is started with RANK and WORLD_SIZE."""
    loader_processes: int = 0
    """Processes that read and tokenise for all ranks; 0: as many as turn out to be needed."""
    stream: dict[str, Any]
    """A `core.data.spec.StreamSpec` as JSON (part "train")."""
    validation: dict[str, Any] | None = None
    """A StreamSpec as JSON for the rows to evaluate on, unshuffled, one epoch."""
    total_steps: int
    epoch_ends: list[int]
    """Steps with a listed checkpoint and a whole evaluation."""
    optimizer: OptimizerSpec
    lora: LoraSpec
    gradient_checkpointing: bool = False
    probes: bool = False
    """Try the longest rows before step 1, unless a limit is known."""
    limit_tokens: int | None = None
    """Tokens of a micro-batch of several examples, at most, as an earlier attempt on this kind of device found them."""
    eval_every_steps: int | None = None
    checkpoint_every_steps: int | None = None
    recovery_every_seconds: float = 30.0
    min_free_bytes: int = 0
    """Bytes that checkpoints leave free on the disk."""
    sample_prompts: list[str] = []
    sample_max_tokens: int = 64
    resume_from: str | None = None
    """Folder of a verified checkpoint; None starts at step 0."""

    @property
    def streams(self) -> list[dict[str, Any]]:
        """All that the run reads, as JSON."""
        return [self.stream] if self.validation is None else [self.stream, self.validation]
