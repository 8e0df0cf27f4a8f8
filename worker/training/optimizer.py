"""AdamW, and a learning rate that is a pure function of step and total steps.

Its moments exist from the start (zeros), so that the first update allocates nothing and a checkpoint has one shape at every
step. A resume therefore needs the moments and the step, and no scheduler's state.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from core.specs.run import OptimizerSpec

MOMENTS = ("step", "exp_avg", "exp_avg_sq")


def learning_rate_at(step: int, total_steps: int, spec: OptimizerSpec) -> float:
    """The rate of `step` (from 1): a linear warm-up, then the schedule, which would reach zero one step after the last."""
    if step <= spec.warmup_steps:
        return spec.learning_rate * step / spec.warmup_steps
    if spec.schedule == "constant":
        return spec.learning_rate
    done = (step - spec.warmup_steps - 1) / max(1, total_steps - spec.warmup_steps)
    left = 1 - min(done, 1.0)
    return spec.learning_rate * (left if spec.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * (1 - left))))


@dataclass(frozen=True)
class Optimizer:
    adamw: torch.optim.AdamW
    parameters: dict[str, torch.nn.Parameter]
    spec: OptimizerSpec
    total_steps: int
    scaler: torch.amp.GradScaler | None
    """Only for fp16: gradients are computed on a scaled loss, and an update that overflows is left out."""

    def scale(self, loss: torch.Tensor) -> torch.Tensor:
        return loss if self.scaler is None else self.scaler.scale(loss)

    def update(self, step: int) -> torch.Tensor:
        """Clip, update and clear the gradients; return their norm before clipping, still on the device."""
        rate = learning_rate_at(step, self.total_steps, self.spec)
        for group in self.adamw.param_groups:
            group["lr"] = rate
        if self.scaler is not None:
            self.scaler.unscale_(self.adamw)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters.values(), self.spec.max_grad_norm, foreach=True)
        if self.scaler is None:
            self.adamw.step()
        else:
            self.scaler.step(self.adamw)
            self.scaler.update()
        self.clear()
        return norm

    def clear(self) -> None:
        """Drop what was accumulated."""
        self.adamw.zero_grad(set_to_none=True)

    def tensors(self) -> dict[str, torch.Tensor]:
        """The moments by name, sharing memory with the optimizer."""
        return {f"{name}.{moment}": self.adamw.state[parameter][moment]
                for name, parameter in self.parameters.items() for moment in MOMENTS}

    @torch.no_grad()
    def restore(self, saved: dict[str, torch.Tensor]) -> None:
        for name, tensor in self.tensors().items():
            tensor.copy_(saved[name])


def build_optimizer(parameters: dict[str, torch.nn.Parameter], spec: OptimizerSpec, *, total_steps: int,
                    is_scaled: bool = False) -> Optimizer:
    adamw = torch.optim.AdamW(list(parameters.values()), lr=spec.learning_rate, betas=(spec.beta1, spec.beta2),
                              eps=spec.epsilon, weight_decay=spec.weight_decay, fused=True)
    for parameter in parameters.values():
        adamw.state[parameter] = {
            "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
            "exp_avg": torch.zeros_like(parameter), "exp_avg_sq": torch.zeros_like(parameter)}
    scaler = _scaler(next(iter(parameters.values())).device) if is_scaled else None
    return Optimizer(adamw, parameters, spec, total_steps, scaler)


def _scaler(place: torch.device) -> torch.amp.GradScaler:
    """A scaler whose scale is there already; it would make it when it first scales, and a rank may have no row to scale."""
    scaler = torch.amp.GradScaler(place.type)
    scaler.scale(torch.zeros((), device=place))
    return scaler
