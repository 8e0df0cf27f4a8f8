"""Rows → one padded batch of tensors: the step that the loaders share which leave tokenising to their user.

It is written as fast as the `tokenizers` package allows: ChatML by string formatting, equal to SmolLM2's own template; the
trained and the untrained stretches of all rows of a batch in one `encode_batch_fast`; labels of -100 where nothing is
trained on. So a peer's figure is its best with this tokenizer, not that of a Jinja template a row.
"""

from __future__ import annotations

from typing import Any

import torch
from tokenizers import Tokenizer

_SYSTEM = "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
_IGNORED = -100


class Encoding:
    """A collate function for rows of chat messages."""

    def __init__(self, folder: str, *, max_length: int) -> None:
        self._tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
        self._pad = self._tokenizer.token_to_id("<|im_end|>")
        self._max_length = max_length

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        return self.pad(self.encode(rows))

    def encode(self, rows: list[dict[str, Any]]) -> list[tuple[list[int], list[int]]]:
        """Ids and labels of each row, cut to the length."""
        stretches = [list(_stretches(row["messages"])) for row in rows]
        texts = [text for row in stretches for text, _ in row]
        encodings = iter(self._tokenizer.encode_batch_fast(texts, add_special_tokens=False))
        return [self._row([(next(encodings).ids, is_trained) for _, is_trained in row]) for row in stretches]

    def pad(self, rows: list[tuple[list[int], list[int]]]) -> dict[str, torch.Tensor]:
        length = max(len(ids) for ids, _ in rows)
        return {
            "input_ids": torch.tensor([ids + [self._pad] * (length - len(ids)) for ids, _ in rows]),
            "attention_mask": torch.tensor([[1] * len(ids) + [0] * (length - len(ids)) for ids, _ in rows]),
            "labels": torch.tensor([labels + [_IGNORED] * (length - len(labels)) for _, labels in rows]),
        }

    def _row(self, stretches: list[tuple[list[int], bool]]) -> tuple[list[int], list[int]]:
        ids: list[int] = []
        labels: list[int] = []
        for part, is_trained in stretches:
            ids += part
            labels += part if is_trained else [_IGNORED] * len(part)
        return ids[:self._max_length], labels[:self._max_length]


def _stretches(messages: list[dict[str, Any]]) -> list[tuple[str, bool]]:
    """Texts in turn, trained on or not: an answer and the mark that ends it are."""
    found: list[tuple[str, bool]] = []
    before = "" if messages[0]["role"] == "system" else _SYSTEM
    for message in messages:
        if message["role"] == "assistant":
            found += [(before + "<|im_start|>assistant\n", False), (message["content"] + "<|im_end|>", True)]
            before = "\n"
        else:
            before += f"<|im_start|>{message['role']}\n{message['content']}<|im_end|>\n"
    return [*found, (before, False)]
