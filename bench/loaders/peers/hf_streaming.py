"""Hugging Face `datasets` in streaming mode, read by torchdata's StatefulDataLoader.

The file is read from its start, rows are drawn from a buffer, the collate function tokenises. Nothing is prepared. A file
in an object store is named by its address (`s3://bucket/name`); s3fs reads it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import datasets
import torchdata
from datasets import load_dataset
from encoding import Encoding
from program import Asked, Padded, run
from torchdata.stateful_dataloader import StatefulDataLoader

SYSTEM = f"datasets {datasets.__version__} streaming, torchdata {torchdata.__version__}"


class Loader(Padded):
    def __init__(self, asked: Asked) -> None:
        where = {"client_kwargs": {"endpoint_url": os.environ["S3_ENDPOINT"]}} if "://" in asked.file else None
        rows = load_dataset("json", data_files=asked.file, split="train", streaming=True, storage_options=where)
        rows = rows.shuffle(seed=asked.seed, buffer_size=asked.buffer)
        encoding = Encoding(asked.tokenizer, max_length=asked.max_length)
        self._loader = StatefulDataLoader(rows, batch_size=asked.batch, collate_fn=encoding, num_workers=asked.workers)

    def restore(self, state: Any) -> None:
        self._loader.load_state_dict(state)

    def batches(self) -> Iterator[dict[str, Any]]:
        return iter(self._loader)

    def state(self) -> Any:
        return self._loader.state_dict()


if __name__ == "__main__":
    run(SYSTEM, Loader)
