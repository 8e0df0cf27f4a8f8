"""Prompts → the model's greedy answers, to be read beside each other before and after.

All prompts are answered together, padded on the left, with a key/value cache: a token costs one pass over the weights, and that
pass serves every prompt. Greedy, so nothing is drawn from the random state.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, DynamicCache

from worker.training.evaluation import evaluating
from worker.training.model import Model


class Sampler:
    def __init__(self, base_model: Path, prompts: list[str], max_tokens: int) -> None:
        self._tokenizer: Any = AutoTokenizer.from_pretrained(base_model, local_files_only=True, trust_remote_code=False)
        self._prompts, self._max_tokens = prompts, max_tokens

    @torch.no_grad()
    def answer(self, model: Model, before_each: Callable[[], None]) -> list[dict[str, str]]:
        """Answer every prompt; `before_each` is called before each token and may raise to leave."""
        rows = [self._encode(prompt) for prompt in self._prompts]
        groups = [rows] if model.can_pack else [[row] for row in rows]
        with evaluating(model):
            answers = [ids for group in groups for ids in self._generate(group, model, before_each)]
        return [{"prompt": prompt, "answer": self._tokenizer.decode(ids, skip_special_tokens=True)}
                for prompt, ids in zip(self._prompts, answers, strict=True)]

    def _encode(self, prompt: str) -> list[int]:
        if self._tokenizer.chat_template is None:
            return self._tokenizer(prompt)["input_ids"]
        return self._tokenizer.apply_chat_template([{"role": "user", "content": prompt}], add_generation_prompt=True,
                                                   return_dict=True)["input_ids"]

    def _generate(self, rows: list[list[int]], model: Model, before_each: Callable[[], None]) -> list[list[int]]:
        place, longest = model.device.place, max(len(row) for row in rows)
        ids = torch.tensor([[0] * (longest - len(row)) + row for row in rows], device=place)
        mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows], device=place)
        ends = torch.tensor(sorted(self._ends(model)), device=place)
        cache, answers = DynamicCache(config=model.causal.config), [[] for _ in rows]
        is_open = [True] * len(rows)
        for _ in range(self._max_tokens):
            before_each()
            ids = self._next(model, ids, mask, cache)
            mask = torch.cat([mask, mask.new_ones(len(rows), 1)], 1)
            is_open = [o and not e for o, e in zip(is_open, torch.isin(ids[:, 0], ends).tolist(), strict=True)]
            for row, token in enumerate(ids[:, 0].tolist()):
                if is_open[row]:
                    answers[row].append(token)
            if not any(is_open):
                break
        return answers

    def _next(self, model: Model, ids: torch.Tensor, mask: torch.Tensor, cache: DynamicCache) -> torch.Tensor:
        """The likeliest next token of each row, shape (rows, 1)."""
        positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1]:]
        with model.device.autocast():
            told = model.causal(input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache,
                                use_cache=True)
        return told.logits[:, -1].argmax(-1, keepdim=True)

    def _ends(self, model: Model) -> set[int]:
        """Every token that ends an answer: the tokenizer's, and those of generation_config."""
        named = getattr(model.causal.generation_config, "eos_token_id", None)
        ends = set(named if isinstance(named, list) else [named])
        return {token for token in ends | {self._tokenizer.eos_token_id} if isinstance(token, int)}
