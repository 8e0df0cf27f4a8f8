"""The arithmetic of an estimate beside what torch really holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.profiler import ProfilerActivity, profile
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, Qwen3Config

from core.estimates.memory import Way, adapter_of, memory_of
from core.estimates.shape import ModelShape, read_shape
from core.specs.job import Lora
from core.specs.run import LoraSpec, OptimizerSpec
from tests.tiny_model import tiny_base
from tests.worker.making import micro, tiny
from worker.training.device import open_device
from worker.training.model import Model, linear_names
from worker.training.optimizer import build_optimizer
from worker.training.tensors import to_tensors

SMOLLM2 = LlamaConfig(vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
                      num_key_value_heads=3, tie_word_embeddings=True)
WIDE: dict[str, Any] = {"vocab_size": 1000, "hidden_size": 256, "intermediate_size": 688, "num_hidden_layers": 4,
                        "num_attention_heads": 8, "num_key_value_heads": 4}


def shape_of(causal: Any) -> ModelShape:
    tensors = {name: list(p.shape) for name, p in causal.named_parameters()}
    return ModelShape.from_config(causal.config.to_dict(), 0).with_tensors(tensors)


def adapted(causal: Any, lora: Lora) -> Any:
    return get_peft_model(causal, LoraConfig(task_type="CAUSAL_LM", r=lora.r, lora_dropout=lora.dropout,  # pyright: ignore[reportArgumentType]
                                             target_modules=linear_names(causal), use_dora=lora.use_dora))


@pytest.mark.parametrize("lora", [Lora(r=16), Lora(r=7, use_dora=True)])
@pytest.mark.parametrize("config", [SMOLLM2, Qwen3Config(**WIDE), GPT2Config(n_layer=2, n_embd=64, n_head=4)],
                         ids=["smollm2", "qwen3", "gpt2"])
def test_parameters_are_counted_to_the_last_one(config: Any, lora: Lora) -> None:
    if lora.use_dora and config.model_type == "gpt2":
        pytest.skip("its layers are written the other way round, and DoRA's magnitudes with them")
    with torch.device("meta"):
        causal = AutoModelForCausalLM.from_config(config)
        shape = shape_of(causal)
        peft = adapted(causal, lora)
    trained = [p for p in peft.parameters() if p.requires_grad]
    assert shape.parameters == sum(p.numel() for p in peft.parameters()) - sum(p.numel() for p in trained)
    adapter = adapter_of(shape, lora)
    assert (adapter.parameters, adapter.tensors) == (sum(p.numel() for p in trained), len(trained))


@pytest.mark.parametrize("which", ["tiny", "smollm2"])
def test_weights_adapter_gradients_and_moments_are_counted_to_the_byte(which: str) -> None:
    if which == "tiny":
        model = tiny(lora=LoraSpec(r=16, alpha=32))
        parameters, base, shape = model.parameters, model.base_parameters * 4, read_shape(tiny_base())
    else:
        causal = AutoModelForCausalLM.from_config(SMOLLM2, dtype=torch.float32)
        shape, base = shape_of(causal), sum(p.nbytes for p in causal.parameters())
        parameters = {name: p for name, p in adapted(causal, Lora(r=16)).named_parameters() if p.requires_grad}
    assert shape is not None
    optimizer = build_optimizer(parameters, OptimizerSpec(learning_rate=1e-3), total_steps=1)
    memory = memory_of(shape, adapter_of(shape, Lora(r=16)), Way("fp32", is_cuda=False), tokens=1)
    held = sum(p.nbytes for p in parameters.values())
    assert (memory.weights, memory.adapter, memory.gradients) == (base, held, held)
    assert memory.optimizer == sum(tensor.nbytes for tensor in optimizer.tensors().values())


@pytest.mark.parametrize("lengths", [[512], [128] * 4], ids=["one example", "four"])
@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("is_checkpointed", [False, True])
@pytest.mark.parametrize("config", [LlamaConfig(**WIDE), Qwen3Config(**WIDE, head_dim=64)], ids=["llama", "qwen3"])
def test_activations_are_reckoned_near_the_measured_peak(config: Any, is_checkpointed: bool, dropout: float,
                                                         lengths: list[int]) -> None:
    """Never less than the peak together with the logits, whose chunk is there at another moment; and not much more."""
    model, lora = built(config, Lora(r=16, dropout=dropout), is_checkpointed)
    shape = shape_of(AutoModelForCausalLM.from_config(config))
    tensors = to_tensors(micro(lengths), model.device)

    def step() -> None:
        losses, _ = model.token_losses(tensors)
        losses.sum().backward()

    step()  # so that gradients are there, which are counted for themselves
    peak = peak_bytes(step)
    way = Way("fp32", is_cuda=is_checkpointed)  # which is what decides whether layers are kept
    memory = memory_of(shape, adapter_of(shape, lora), way, tokens=sum(lengths), is_packed=len(lengths) > 1)
    assert 0.9 * peak < memory.activations < 1.25 * peak
    assert memory.activations + memory.logits > peak


def built(config: Any, lora: Lora, is_checkpointed: bool) -> tuple[Model, Lora]:
    device = open_device("cpu", "fp32", threads=1, seed=1)
    causal: Any = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="sdpa")
    causal.requires_grad_(False)
    peft = adapted(causal, lora)
    causal.train()
    if is_checkpointed:
        causal.activation_checkpointing_enable({"use_reentrant": False})
        causal.enable_input_require_grads()
    parameters = {name: p for name, p in causal.named_parameters() if p.requires_grad}
    return Model(causal, peft, parameters, device, True, True, 0), lora


def peak_bytes(work: Callable[[], None]) -> int:
    """What the allocator holds at most while `work` is done, beyond what it held before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        work()
    found: Any = profiled.profiler
    changes = sorted((event for event in found.kineto_results.events() if event.name() == "[memory]"),
                     key=lambda event: event.start_ns())
    held = most = 0
    for change in changes:
        held += change.nbytes()
        most = max(most, held)
    return most
