"""A tiny tokenizer for tests: a byte-level BPE trained on the spot, written as a model's folder would hold it.

It imports no transformers.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
CONTROLS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_TEXT = (
    "system user assistant tool\nThe miller opens the gate and the water turns the wheel. What is the capital of France? "
    "Paris is the capital of France. Answer in one sentence, please. It's a quiet day; the stone grinds 12 sacks of grain."
)


def write_tokenizer(folder: Path, *, chat_template: str | None = CHATML, controls: Sequence[str] = CONTROLS,
                    eos: str = "<|im_end|>", bos: str | None = None, adds_bos: bool = False) -> Path:
    """Write tokenizer.json, tokenizer_config.json and the chat template into a folder, and give it back."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = trained_tokenizer(controls)
    if adds_bos:
        assert bos is not None
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", pair=f"{bos} $A $B", special_tokens=[(bos, tokenizer.token_to_id(bos))])
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": eos, "bos_token": bos, "pad_token": eos,
              "model_max_length": 2048, "clean_up_tokenization_spaces": False}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    if chat_template is not None:
        (folder / "chat_template.jinja").write_text(chat_template)
    return folder


def trained_tokenizer(controls: Sequence[str]) -> Tokenizer:
    return Tokenizer.from_str(_trained(tuple(controls)))


@functools.cache
def _trained(controls: tuple[str, ...]) -> str:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    trainer = trainers.BpeTrainer(vocab_size=420, special_tokens=list(controls), show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator([_TEXT] * 4, trainer)
    return tokenizer.to_str()
