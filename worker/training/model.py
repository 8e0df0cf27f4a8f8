"""Base folder + LoRA shape → the model that a run trains.

`build_model` loads the frozen base weights and puts an adapter around every linear layer. Two questions about an architecture
are answered by trying, not by a list of names: may examples be laid end to end (some layers carry a state across them), and is
the head one matrix (some scale or cap their logits)? Both are asked once, on a dozen tokens, before the adapter is attached.
The order of random draws is fixed: the seed, then the adapter's initial weights, and nothing else.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import torch
from peft import LoraConfig, PeftModel, get_peft_model, set_peft_model_state_dict
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D

from core.errors import ConfigurationError, RunInterrupted, RunRejected, shown
from core.specs.run import LoraSpec
from worker.model_folder import check_model_folder
from worker.training.device import Device
from worker.training.loss import FrozenHeadLoss, loss_of_logits
from worker.training.tensors import MicroTensors

PROBES = ((5, 9, 6, 3, 8, 4, 7), (7, 4, 6, 9, 3))
"""Two short examples of small token ids, which every vocabulary has."""
PROBE_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.12, torch.float16: 3e-2}
"""Root mean square of a difference of logits, relative to that of the logits, that is rounding. SmolLM2-135M differs by 0.06 in
bf16 on a CPU, and by 0.28 where rows see each other."""


@dataclass(frozen=True)
class Model:
    causal: Any
    """The transformers model, with the adapter's layers inside."""
    peft: PeftModel
    parameters: dict[str, torch.nn.Parameter]
    """What is trained, by its name in the model, in the model's order."""
    device: Device
    can_pack: bool
    """Examples of a micro-batch may share one row; False: each goes through the model alone."""
    has_plain_head: bool
    """Logits are one matrix product of the hidden states, and that matrix is frozen."""
    base_parameters: int

    def token_losses(self, micro: MicroTensors) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute the loss, fp32, and whether the likeliest token is the right one, of each trained token."""
        told = {"input_ids": micro.ids, "use_cache": False}
        if self.can_pack:
            told["position_ids"] = micro.position_ids
        if self.has_plain_head:
            head = self.causal.get_output_embeddings()
            hidden = _decoder(self.causal)(**told).last_hidden_state[0, micro.predict_from]
            return FrozenHeadLoss.apply(hidden, head.weight, head.bias, micro.labels)  # pyright: ignore[reportReturnType]
        return loss_of_logits(_own_logits(self.causal, told, micro.predict_from), micro.labels)


def build_model(folder: Path, *, device: Device, lora: LoraSpec, base_model_name: str, initial_adapter: Path | None = None,
                gradient_checkpointing: bool = False, attention: str = "sdpa") -> Model:
    """Load and wrap; the caller has set the seed.

    Raises ConfigurationError for a folder that holds code or pickles, RunRejected for an adapter shape that does not fit.
    """
    causal = load_base(folder, device=device, attention=attention)
    base_parameters = sum(p.numel() for p in causal.parameters())
    can_pack, has_plain_head = probe(causal, device)
    peft = _attach(causal, lora, base_model_name, initial_adapter)
    causal.train()
    if gradient_checkpointing:
        causal.activation_checkpointing_enable({"use_reentrant": False})
        causal.enable_input_require_grads()
    parameters = {name: p for name, p in causal.named_parameters() if p.requires_grad}
    head = causal.get_output_embeddings()
    is_frozen = type(head) is torch.nn.Linear and not head.weight.requires_grad
    return Model(causal, peft, parameters, device, can_pack, has_plain_head and is_frozen, base_parameters)


def load_base(folder: Path, *, device: Device, attention: str = "sdpa") -> Any:
    """Load a base model's frozen weights, in the device's precision, from its checked folder."""
    check_model_folder(folder)
    causal: Any = AutoModelForCausalLM.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype=device.dtype,
        attn_implementation=attention)
    causal.requires_grad_(False)
    return causal.to(device.place).eval()


@torch.no_grad()
def probe(causal: Any, device: Device) -> tuple[bool, bool]:
    """Try whether packed rows give the logits of separate ones, and whether the bare head gives the model's own logits."""
    rows = [torch.tensor([row], device=device.place) for row in PROBES]
    with device.autocast():
        alone = torch.cat([causal(input_ids=row, use_cache=False).logits[0] for row in rows]).float()
        hidden = torch.cat([_decoder(causal)(input_ids=row, use_cache=False).last_hidden_state[0] for row in rows])
        head = causal.get_output_embeddings()
        bare = head(hidden).float() if head is not None else torch.zeros_like(alone)
        packed = _packed_logits(causal, rows)
    tolerance = PROBE_TOLERANCE[device.dtype] * float(alone.pow(2).mean().sqrt())
    return _agree(packed, alone, tolerance), _agree(bare, alone, tolerance)


def adapter_files(model: Model) -> tuple[dict[str, torch.Tensor], bytes]:
    """The adapter as PEFT names it: its tensors (sharing memory with the model), and adapter_config.json."""
    from peft import get_peft_model_state_dict

    tensors = get_peft_model_state_dict(model.peft, save_embedding_layers=False)
    told = model.peft.peft_config["default"].to_dict()
    told |= {"inference_mode": True}
    plain = {name: sorted(value) if isinstance(value, set) else value for name, value in told.items()}
    return tensors, orjson.dumps(plain, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS) + b"\n"


def load_adapter(peft: PeftModel, tensors: dict[str, torch.Tensor], origin: Path) -> None:
    """Put an adapter's tensors into the model; every one must find its place, and every place its tensor."""
    from peft import get_peft_model_state_dict

    expected = set(get_peft_model_state_dict(peft, save_embedding_layers=False))
    if set(tensors) != expected:
        odd = sorted(set(tensors) ^ expected)[0]
        raise RunInterrupted(f"{origin} and the adapter of this job differ in {shown(odd)}; use a checkpoint of this job",
                             code="checkpoint_differs")
    set_peft_model_state_dict(peft, tensors)


def _attach(causal: Any, lora: LoraSpec, base_model_name: str, initial: Path | None) -> PeftModel:
    shape = _shape_of(initial, lora) if initial else lora
    targets = linear_names(causal) if shape.target_modules == "all-linear" else shape.target_modules
    config = LoraConfig(
        task_type="CAUSAL_LM", r=shape.r, lora_alpha=shape.alpha, lora_dropout=lora.dropout,  # pyright: ignore[reportArgumentType]
        target_modules=targets, use_rslora=shape.use_rslora, use_dora=shape.use_dora, bias="none")
    try:
        peft: PeftModel = get_peft_model(causal, config)
    except ValueError as error:
        raise RunRejected(f"lora.target_modules is {shown(shape.target_modules)}, and the model takes no such adapter "
                          f"({shown(str(error))}); use \"all-linear\"", code="lora_does_not_fit",
                          param="lora.target_modules") from error
    config.base_model_name_or_path = base_model_name
    config.revision = None
    if initial:
        load_adapter(peft, load_file(initial / "adapter_model.safetensors"), initial)
    return peft


def linear_names(causal: Any) -> list[str] | str:
    """The last part of the name of every linear layer but the head: `["down_proj", …]`, as other programs read it.

    PEFT would write out each layer's full name; where a short one would also match the head, it does.
    """
    head = causal.get_output_embeddings()
    linear = {name.rpartition(".")[2]: layer for name, layer in causal.named_modules()
              if layer is not head and isinstance(layer, (torch.nn.Linear, Conv1D))}
    head_names = {name.rpartition(".")[2] for name, layer in causal.named_modules() if layer is head}
    return "all-linear" if head_names & set(linear) else sorted(linear)


def _shape_of(initial: Path, asked: LoraSpec) -> LoraSpec:
    """The shape of the adapter to go on from: its weights fix it; only the dropout is the new job's own."""
    try:
        told = orjson.loads((initial / "adapter_config.json").read_bytes())
        return LoraSpec(r=told["r"], alpha=told["lora_alpha"], dropout=asked.dropout, use_dora=told.get("use_dora", False),
                        use_rslora=told.get("use_rslora", False), target_modules=told["target_modules"])
    except (OSError, orjson.JSONDecodeError, KeyError, ValueError) as error:
        raise ConfigurationError(f"{initial} holds no adapter that can be read ({error}); "
                                 "start from its base model, or bring its files back") from error


def _decoder(causal: Any) -> Any:
    return getattr(causal, causal.base_model_prefix)


def _packed_logits(causal: Any, rows: list[torch.Tensor]) -> torch.Tensor | None:
    if "position_ids" not in inspect.signature(causal.forward).parameters:
        return None
    positions = torch.cat([torch.arange(row.shape[1], device=row.device) for row in rows])[None]
    return causal(input_ids=torch.cat(rows, 1), position_ids=positions, use_cache=False).logits[0].float()


def _agree(found: torch.Tensor | None, expected: torch.Tensor, tolerance: float) -> bool:
    return found is not None and bool((found.float() - expected).pow(2).mean().sqrt() <= tolerance)


def _own_logits(causal: Any, told: dict[str, Any], positions: torch.Tensor) -> torch.Tensor:
    if "logits_to_keep" in inspect.signature(causal.forward).parameters:
        return causal(**told, logits_to_keep=positions).logits[0]
    return causal(**told).logits[0, positions]
