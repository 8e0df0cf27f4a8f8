from __future__ import annotations

import struct
from pathlib import Path

import orjson
import pytest

from core.estimates.memory import adapter_of
from core.estimates.shape import ModelShape, read_header, read_shape
from core.specs.job import Lora
from tests.tiny_model import tiny_base

LLAMA = {"hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 176, "num_attention_heads": 4,
         "num_key_value_heads": 2, "vocab_size": 640}


def test_sizes_are_read_under_the_names_of_each_architecture() -> None:
    told = {"n_embd": 768, "n_layer": 12, "n_head": 12, "n_inner": None, "vocab_size": 50257}
    gpt = ModelShape.from_config(told, 124_000_000)
    assert (gpt.hidden, gpt.layers, gpt.intermediate, gpt.keys) == (768, 12, 3072, 768)
    assert ModelShape.from_config({"text_config": LLAMA}, 1).layers == 2
    shape = ModelShape.from_config(LLAMA, 1)
    assert (shape.queries, shape.keys) == (64, 32)


def test_a_head_that_scales_or_caps_its_logits_is_known() -> None:
    assert ModelShape.from_config({**LLAMA, "final_logit_softcapping": None, "logit_scale": 1.0}, 1).has_plain_head
    assert not ModelShape.from_config({**LLAMA, "final_logit_softcapping": 30.0}, 1).has_plain_head
    assert not ModelShape.from_config({**LLAMA, "logits_scaling": 8.0}, 1).has_plain_head


def test_linear_layers_are_counted_by_the_names_of_tensors() -> None:
    tensors = {"model.embed_tokens.weight": [640, 64], "lm_head.weight": [640, 64], "model.norm.weight": [64],
               "model.layers.0.self_attn.q_proj.weight": [64, 64], "model.layers.1.self_attn.q_proj.weight": [64, 64],
               "model.layers.0.self_attn.q_proj.bias": [64], "model.layers.0.mlp.experts.0.w1.weight": [64, 64],
               "model.layers.0.mlp.gate.weight": [4, 64], "model.layers.0.mlp.down_proj.weight": [64, 176]}
    shape = ModelShape.from_config(LLAMA, 0).with_tensors(tensors)
    assert [(each.name, each.sizes, each.count) for each in shape.linears] == [
        ("down_proj", (64, 176), 1), ("q_proj", (64, 64), 2)]
    assert shape.parameters == 640 * 64 * 2 + 64 + 64 * 64 * 3 + 64 + 4 * 64 + 64 * 176


def test_an_adapter_on_some_layers_counts_those_alone() -> None:
    shape = ModelShape.from_config(LLAMA, 1)
    assert adapter_of(shape, Lora(r=4, target_modules=["q_proj"])).parameters == 4 * 2 * (64 + 64)
    assert adapter_of(shape, Lora(r=4, target_modules=["self_attn.q_proj"])).parameters == 4 * 2 * (64 + 64)
    assert adapter_of(shape, Lora(r=4, target_modules=["q_proj"], use_dora=True)).parameters == 4 * 2 * 128 + 2 * 64


def test_a_shape_survives_json_and_is_found_in_a_folder() -> None:
    shape = read_shape(tiny_base())
    assert shape is not None
    assert ModelShape.from_json(orjson.loads(orjson.dumps(shape.to_json()))) == shape
    assert {each.name for each in shape.linears} == {f"{part}_proj" for part in ("q", "k", "v", "o", "gate", "up", "down")}


def test_a_folder_that_tells_nothing_has_no_shape(tmp_path: Path) -> None:
    assert read_shape(tmp_path) is None
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"no header at all")
    assert read_shape(tmp_path) is None


@pytest.mark.parametrize("content", [b"", struct.pack("<Q", 1 << 60), struct.pack("<Q", 2) + b"[]",
                                     struct.pack("<Q", 11) + b'{"a": {}}  '])
def test_a_file_without_a_header_is_refused_in_words(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="header"):
        read_header(path)
