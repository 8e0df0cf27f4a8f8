"""The tokenizer alone, fed from memory: `python limit.py FILE MODEL TOKENIZER`, measured by `measure`.

TOKENIZER is `fast` or `reference`. The texts are ChatML, rendered beforehand.
"""

from __future__ import annotations

import os
import sys
from itertools import islice
from pathlib import Path

import orjson

os.environ.update({"RAYON_NUM_THREADS": "1", "FASTOKENS_BPE_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"})
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench.loaders.telling import tell

ROWS, AT_ONCE = 8000, 16


def main() -> None:
    file, model, kind = sys.argv[1:]
    with open(file, "rb") as lines:
        rows = [orjson.loads(line) for line in islice(lines, ROWS)]
    texts = ["".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in row["messages"]) for row in rows]
    batches = [texts[k:k + AT_ONCE] for k in range(0, len(texts), AT_ONCE)]
    encode = _fast(model) if kind == "fast" else _reference(model)
    for batch in batches[:10]:
        encode(batch)
    tell("counting")
    tokens = sum(map(encode, batches))
    tell("done", rows=len(rows), tokens=tokens)


def _fast(model: str):
    from fastokens._native import Tokenizer

    tokenizer = Tokenizer.from_file(f"{model}/tokenizer.json")
    return lambda batch: sum(len(tokenizer.encode_batch_flat([text])[0]) // 4 for text in batch)


def _reference(model: str):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(f"{model}/tokenizer.json")
    return lambda batch: sum(len(each.ids) for each in tokenizer.encode_batch_fast(batch))


if __name__ == "__main__":
    main()
