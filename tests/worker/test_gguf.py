"""A GGUF file written here from the tiny model comes back as the tiny model."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import orjson
import torch
from safetensors.numpy import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from core.errors import ConfigurationError
from tests.tiny_model import tiny_base
from worker.convert import main
from worker.model_folder import check_model_folder

NAMES = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q",
         "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
         "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}


def interleaved(weight: np.ndarray, heads: int) -> np.ndarray:
    """The order of rows in which llama.cpp keeps query and key weights, for its way of rotating."""
    return weight.reshape(heads, 2, weight.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(weight.shape)


def write_gguf(file: Path, *, architecture: str = "llama") -> None:
    config = orjson.loads((tiny_base() / "config.json").read_bytes())
    model = orjson.loads((tiny_base() / "tokenizer.json").read_bytes())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    writer = gguf.GGUFWriter(file, architecture)
    writer.add_name("tiny")
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token.startswith("<|") else 1 for token in tokens])
    writer.add_token_merges([" ".join(pair) for pair in model["merges"]])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(0)
    writer.add_chat_template((tiny_base() / "chat_template.jinja").read_text())
    for name, weight in weights().items():
        writer.add_tensor(name, weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def weights() -> dict[str, np.ndarray]:
    found = load_file(tiny_base() / "model.safetensors")
    told = {"token_embd.weight": found["model.embed_tokens.weight"], "output_norm.weight": found["model.norm.weight"]}
    for layer in range(2):
        for ours, theirs in NAMES.items():
            weight = found[f"model.layers.{layer}.{ours}.weight"]
            heads = {"self_attn.q_proj": 4, "self_attn.k_proj": 2}.get(ours)
            told[f"blk.{layer}.{theirs}.weight"] = interleaved(weight, heads) if heads else weight
    return told


def test_a_converted_model_is_the_one_that_was_written(tmp_path: Path) -> None:
    write_gguf(tmp_path / "tiny.gguf")
    out = tmp_path / "out"
    assert main(["--gguf", str(tmp_path / "tiny.gguf"), "--out", str(out)]) == 0
    check_model_folder(out)
    assert {weight.dtype for weight in load_file(out / "model.safetensors").values()} == {np.dtype(np.float16)}
    ids = torch.arange(3, 40)[None]
    with torch.no_grad():
        found, expected = (AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)(input_ids=ids).logits
                           for folder in (out, tiny_base()))
    torch.testing.assert_close(found, expected, atol=5e-3, rtol=5e-3)


def test_its_tokenizer_gives_the_same_ids(tmp_path: Path) -> None:
    write_gguf(tmp_path / "tiny.gguf")
    main(["--gguf", str(tmp_path / "tiny.gguf"), "--out", str(tmp_path / "out")])
    found, expected = (AutoTokenizer.from_pretrained(folder) for folder in (tmp_path / "out", tiny_base()))
    chat = [{"role": "user", "content": "What is the name of this place?"}]
    text = found.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    assert text == expected.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    assert found(text)["input_ids"] == expected(text)["input_ids"]
    assert found.eos_token == "<|im_end|>"


def test_an_architecture_that_is_not_read_is_told(tmp_path: Path, capfd) -> None:
    write_gguf(tmp_path / "odd.gguf", architecture="waterwheel")
    assert main(["--gguf", str(tmp_path / "odd.gguf"), "--out", str(tmp_path / "out")]) == 1
    assert "waterwheel" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()
    assert ConfigurationError.code == "configuration"
