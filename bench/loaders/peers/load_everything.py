"""The plain way: parse the whole file into memory, tokenise all of it, shuffle a list, pad batches from it.

Its preparing is the start of every run, since nothing is kept.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

from encoding import Encoding
from program import Asked, Padded, run

_ENCODED_AT_ONCE = 1000


class Loader(Padded):
    def __init__(self, asked: Asked) -> None:
        with open(asked.file, encoding="utf-8") as file:
            rows = [json.loads(line) for line in file]
        self._encoding = Encoding(asked.tokenizer, max_length=asked.max_length)
        self._rows = [row for start in range(0, len(rows), _ENCODED_AT_ONCE)
                      for row in self._encoding.encode(rows[start:start + _ENCODED_AT_ONCE])]
        self._order = random.Random(asked.seed).sample(range(len(rows)), len(rows))
        self._batch = asked.batch
        self._given = 0

    def restore(self, state: Any) -> None:
        self._given = state

    def batches(self) -> Iterator[dict[str, Any]]:
        while self._given < len(self._order):
            chosen = self._order[self._given:self._given + self._batch]
            self._given += self._batch
            yield self._encoding.pad([self._rows[number] for number in chosen])

    def state(self) -> Any:
        return self._given


if __name__ == "__main__":
    run("load everything (json, tokenizers, lists)", Loader)
