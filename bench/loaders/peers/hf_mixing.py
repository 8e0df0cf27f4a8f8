"""Hugging Face `datasets`, two files interleaved at 0.8 and 0.2: `hf_mixing.py ROWS BATCH FILE FILE` tells each row's file.

LLaMA-Factory's `interleave_*` strategies are this function.
"""

from __future__ import annotations

import sys
from itertools import islice

import datasets
from datasets import interleave_datasets, load_dataset
from telling import tell


def main() -> None:
    rows, _, *files = sys.argv[1:]
    parts = [load_dataset("json", data_files=file, split="train", streaming=True) for file in files]
    mixed = interleave_datasets(parts, probabilities=[0.8, 0.2], seed=1, stopping_strategy="all_exhausted")
    sources = [row["source"] for row in islice(mixed, int(rows))]
    tell("mixed", system=f"datasets {datasets.__version__} interleave_datasets", sources=sources)


if __name__ == "__main__":
    main()
