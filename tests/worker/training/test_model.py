from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import orjson
import pytest
import torch
from peft import PeftModel
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, Gemma2Config, Gemma2ForCausalLM, MambaConfig, MambaForCausalLM

from core.data.spec import MicroBatch
from core.errors import ConfigurationError, RunInterrupted, RunRejected
from core.specs.run import LoraSpec, OptimizerSpec
from tests.tiny_model import tiny_base
from tests.worker.making import batch, micro, tiny
from worker.training.device import Device
from worker.training.memory import one_by_one
from worker.training.model import adapter_files, load_adapter, load_base, probe
from worker.training.optimizer import build_optimizer
from worker.training.step import accumulate, measure
from worker.training.tensors import to_tensors
from worker.training.transfer import Transfer

CPU = Device(torch.device("cpu"), torch.float32, Transfer(torch.device("cpu")))


def losses(model, parts: tuple[MicroBatch, ...]) -> torch.Tensor:
    with torch.no_grad():
        return torch.cat([model.token_losses(to_tensors(part, model.device))[0] for part in parts])


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_examples_of_one_row_do_not_see_each_other(attention: str) -> None:
    model = tiny(attention=attention)
    model.causal.eval()
    packed = micro([9, 14, 1, 6])
    assert model.can_pack
    torch.testing.assert_close(losses(model, (packed,)), losses(model, one_by_one([packed])), atol=2e-6, rtol=1e-6)


def test_the_loss_is_that_of_the_models_own_logits() -> None:
    model, one = tiny(), micro([12, 7])
    with torch.no_grad():
        rows = [model.causal(input_ids=torch.from_numpy(part.ids.astype(np.int64))[None]).logits[0, :-1].log_softmax(-1)
                for part in one_by_one([one])]
    expected = [-row[t - 1, int(part.ids[t])] for part, row in zip(one_by_one([one]), rows, strict=True)
                for t in np.flatnonzero(part.loss_mask)]
    torch.testing.assert_close(losses(model, (one,)), torch.stack(expected), atol=2e-6, rtol=1e-6)


@pytest.mark.parametrize("has_plain_head", [True, False])
def test_gradients_are_those_of_cross_entropy(has_plain_head: bool) -> None:
    model = dataclasses.replace(tiny(lora=LoraSpec(r=4, alpha=8)), has_plain_head=has_plain_head)
    one = micro([12, 7])
    wake(model)
    tensors = to_tensors(one, model.device)
    model.token_losses(tensors)[0].sum().backward()
    found = gradients(model)
    logits = model.causal(input_ids=tensors.ids, position_ids=tensors.position_ids, use_cache=False).logits[0]
    torch.nn.functional.cross_entropy(logits[tensors.predict_from], tensors.labels, reduction="sum").backward()
    for ours, theirs in zip(found, gradients(model), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_a_capped_head_is_noticed() -> None:
    config = Gemma2Config(vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
                          num_key_value_heads=1, head_dim=16, final_logit_softcapping=0.5, sliding_window=64)
    assert probe(Gemma2ForCausalLM(config).eval(), CPU) == (True, False)


def test_layers_that_carry_a_state_across_examples_are_noticed() -> None:
    config = MambaConfig(vocab_size=64, hidden_size=32, num_hidden_layers=2, state_size=4)
    assert probe(MambaForCausalLM(config).eval(), CPU) == (False, True)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "modeling.py"])
def test_a_base_that_could_run_code_is_not_loaded(tmp_path: Path, name: str) -> None:
    folder = shutil.copytree(tiny_base(), tmp_path / "base")
    (folder / name).write_bytes(b"")
    with pytest.raises(ConfigurationError, match=name):
        load_base(folder, device=CPU)


def test_only_the_adapter_is_trained() -> None:
    model = tiny()
    assert all("lora_" in name for name in model.parameters)
    assert all("lora_" in name for name, p in model.causal.named_parameters() if p.requires_grad)


def test_the_adapters_first_weights_follow_the_seed() -> None:
    first, again, other = (adapter_files(tiny(seed=seed))[0] for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_peft_loads_what_is_written(tmp_path: Path) -> None:
    model, one = tiny(), micro([12, 7])
    wake(model)
    tensors, config = adapter_files(model)
    save_file(tensors, tmp_path / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_bytes(config)
    base = AutoModelForCausalLM.from_pretrained(tiny_base(), dtype=torch.float32)
    loaded = PeftModel.from_pretrained(base, str(tmp_path)).eval()
    ids = torch.from_numpy(one.ids.astype(np.int64))[None]
    model.causal.eval()
    with torch.no_grad():
        assert torch.equal(loaded(input_ids=ids).logits, model.causal(input_ids=ids).logits)


def test_the_adapters_configuration_names_the_model_and_no_path() -> None:
    told = orjson.loads(adapter_files(tiny())[1])
    assert told["base_model_name_or_path"] == "tiny"
    assert told["target_modules"] == sorted(["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"])
    assert str(tiny_base()).encode() not in adapter_files(tiny())[1]


def test_going_on_from_an_adapter_takes_its_shape_and_weights(tmp_path: Path) -> None:
    first = tiny(lora=LoraSpec(r=3, alpha=5, use_rslora=True))
    wake(first)
    tensors, config = adapter_files(first)
    save_file(tensors, tmp_path / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_bytes(config)
    second = tiny(lora=LoraSpec(r=8, alpha=16), initial_adapter=tmp_path, seed=99)
    assert adapter_files(second)[1] == config
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in adapter_files(second)[0].items())
    assert all(p.requires_grad for p in second.parameters.values())


def test_an_adapter_of_another_shape_is_refused() -> None:
    small, large = tiny(lora=LoraSpec(r=2, target_modules=["q_proj"])), tiny()
    with pytest.raises(RunInterrupted, match="differ in"):
        load_adapter(large.peft, adapter_files(small)[0], Path("there"))


def test_unknown_target_modules_are_the_users_error() -> None:
    with pytest.raises(RunRejected, match="all-linear"):
        tiny(lora=LoraSpec(target_modules=["nothing_like_it"]))


@pytest.mark.parametrize("changes", [{"use_dora": True}, {"use_rslora": True}, {"target_modules": ["q_proj", "lm_head"]}])
def test_every_shape_of_adapter_learns(changes: dict) -> None:
    model, one = tiny(lora=LoraSpec(r=4, alpha=8, **changes)), micro([30, 20])
    optimizer = build_optimizer(model.parameters, OptimizerSpec(learning_rate=1e-2, schedule="constant"), total_steps=10)
    trained = int(one.loss_mask.sum())
    seen = []
    for step in range(1, 9):
        sums = accumulate([one], batch(step, one), model, optimizer, before_each=lambda part: None)
        optimizer.update(step)
        seen.append(float(sums.loss) / trained)
    assert seen[-1] < seen[0] - 0.1


def test_gradient_checkpointing_changes_memory_and_not_the_gradients() -> None:
    found = []
    for gradient_checkpointing in (False, True):
        model = tiny(lora=LoraSpec(r=4, alpha=8, dropout=0.1), gradient_checkpointing=gradient_checkpointing)
        wake(model)
        torch.manual_seed(4)
        one = micro([12, 7])
        accumulate([one], batch(1, one), model, build_optimizer(model.parameters, OptimizerSpec(learning_rate=1e-3),
                   total_steps=1), before_each=lambda part: None)
        found.append(gradients(model))
    assert all(torch.equal(*pair) for pair in zip(*found, strict=True))


def test_measuring_draws_nothing_and_leaves_no_gradient() -> None:
    model = tiny(lora=LoraSpec(r=4, dropout=0.5))
    before = torch.get_rng_state()
    model.causal.eval()
    first = measure([micro([8])], model, sources=1, before_each=lambda part: None)
    assert torch.equal(before, torch.get_rng_state())
    assert not first.loss.requires_grad


def wake(model) -> None:
    """Give lora_B weights, which start at zero and would hide a wrong lora_A."""
    with torch.no_grad():
        for name, parameter in model.parameters.items():
            if "lora_B" in name:
                parameter.normal_(std=0.05)


def gradients(model) -> list[torch.Tensor]:
    taken = [p.grad.clone() for p in model.parameters.values() if p.grad is not None]
    assert len(taken) == len(model.parameters)
    for parameter in model.parameters.values():
        parameter.grad = None
    return taken
