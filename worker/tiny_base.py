"""A base model made in a moment: a two-layer random Llama with a byte-level tokenizer.

It answers nonsense and learns in seconds: to try the server, to test clients and ourselves without a GPU. Its bytes depend on
this file and the pinned libraries alone. Made with numpy and tokenizers: torch is not imported, so it takes a fraction of a
second.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import orjson
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers, trainers
from tokenizers.models import BPE

HIDDEN, LAYERS, HEADS, KEY_VALUE_HEADS, INTERMEDIATE, CONTEXT, VOCABULARY = 64, 2, 4, 2, 176, 2048, 640
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")

CHAT_TEMPLATE = """\
{%- for message in messages -%}
{{- '<|im_start|>' + message['role'] + '\\n' -}}
{%- if message['role'] == 'assistant' -%}
{%- generation -%}{{- (message['content'] or '') + '<|im_end|>' -}}{%- endgeneration -%}
{{- '\\n' -}}
{%- else -%}
{{- (message['content'] or '') + '<|im_end|>\\n' -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}
"""

PROSE = """\
The mill stands where the river bends, and the headrace carries the water to its wheel. When the gate is raised the stream
runs quicker; when it is lowered the wheel slows and the stones come to rest. The miller knows by the sound how much grain is
left, and by the colour of the sky whether there will be rain tomorrow. What is the name of this place? It has had many names.
How many sacks were ground last week? Forty, perhaps forty-one, and each of them was weighed twice before it was tied.
A good question deserves a short answer. Please write the answer in one sentence, then explain the reason for it.
Every model learns from examples: the user asks, the assistant answers, and the system says how to behave. Some answers are
wrong, some are right, and the difference between them is what training is for. Numbers such as 1, 2, 3, 10, 100 and 1,000 are
written with digits; words such as first, second and third are not. Yes, I can help you with that. No, this is not possible
today, but it will be after the next release. Here is a list of things to remember: the file, the function, the test, the error.
"""


def make_tiny_base(folder: Path) -> None:
    """Write the model's folder; it must not exist."""
    folder.mkdir(parents=True)
    _tokenizer().save(str(folder / "tokenizer.json"))
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    _write(folder / "tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": CONTEXT, "clean_up_tokenization_spaces": False,
        "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "unk_token": "<|endoftext|>",
    })
    _write(folder / "config.json", {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "dtype": "float32", "vocab_size": VOCABULARY,
        "hidden_size": HIDDEN, "intermediate_size": INTERMEDIATE, "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS, "num_key_value_heads": KEY_VALUE_HEADS, "head_dim": HIDDEN // HEADS,
        "hidden_act": "silu", "max_position_embeddings": CONTEXT, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
        "attention_bias": False, "mlp_bias": False, "attention_dropout": 0.0, "tie_word_embeddings": True,
        "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
    })
    _write(folder / "generation_config.json", {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0})
    save_file(_weights(), folder / "model.safetensors", metadata={"format": "pt"})


def _tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                                  special_tokens=[AddedToken(s, special=True) for s in SPECIAL], show_progress=False)
    tokenizer.train_from_iterator([PROSE], trainer)
    return tokenizer


def _weights() -> dict[str, np.ndarray]:
    numbers = np.random.Generator(np.random.PCG64(20))
    head = HIDDEN // HEADS
    shapes = {
        "self_attn.q_proj": (HEADS * head, HIDDEN), "self_attn.k_proj": (KEY_VALUE_HEADS * head, HIDDEN),
        "self_attn.v_proj": (KEY_VALUE_HEADS * head, HIDDEN), "self_attn.o_proj": (HIDDEN, HEADS * head),
        "mlp.gate_proj": (INTERMEDIATE, HIDDEN), "mlp.up_proj": (INTERMEDIATE, HIDDEN),
        "mlp.down_proj": (HIDDEN, INTERMEDIATE),
    }
    weights = {"model.embed_tokens.weight": _normal(numbers, (VOCABULARY, HIDDEN))}
    for layer in range(LAYERS):
        name = f"model.layers.{layer}."
        weights |= {f"{name}{part}.weight": _normal(numbers, shape) for part, shape in shapes.items()}
        weights |= {f"{name}{norm}.weight": np.ones(HIDDEN, np.float32)
                    for norm in ("input_layernorm", "post_attention_layernorm")}
    return weights | {"model.norm.weight": np.ones(HIDDEN, np.float32)}


def _normal(numbers: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Spread 0.08 is wide enough for two random layers to carry a signal that an adapter can use."""
    return (numbers.standard_normal(shape) * 0.08).astype(np.float32)


def _write(path: Path, told: dict) -> None:
    path.write_bytes(orjson.dumps(told, option=orjson.OPT_INDENT_2) + b"\n")
