"""Streams for tests: small files of rows, registered as they would be, and the StreamSpec over them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from core.data.index import build_index
from core.data.spec import Batch, MixtureEntry, RowFormat, ShardSpec, SourceSpec, StreamSpec
from tests.core.data.files_on_disk import parquet
from tests.tiny import write_tokenizer


def chat_row(number: int, *, words: int = 3) -> dict[str, Any]:
    answer = " ".join(f"{number} is the answer".split()[:words])
    return {"messages": [{"role": "user", "content": f"question {number}"}, {"role": "assistant", "content": answer}]}


def chat_rows(count: int) -> list[dict[str, Any]]:
    """Rows of different lengths."""
    return [chat_row(number, words=1 + number % 4) for number in range(count)]


def write_source(folder: Path, name: str, rows: Sequence[dict[str, Any] | str], *,
                 row_format: RowFormat = "chat") -> SourceSpec:
    """Write and register rows; a text stands in the file as it is."""
    path, index_path = folder / f"{name}.jsonl", folder / f"{name}.index"
    path.write_text("".join((each if isinstance(each, str) else json.dumps(each)) + "\n" for each in rows))
    report = build_index(path, index_path, shape=row_format)
    return SourceSpec.of_file(name, str(path), str(index_path), row_format, report.sha256)


def parquet_source(folder: Path, name: str = "table", rows: int = 12) -> SourceSpec:
    """Prompts and completions as one registered file of Parquet."""
    path, index_path = folder / f"{name}.parquet", folder / f"{name}.parquet.index"
    path.write_bytes(parquet([{"prompt": f"question {n}", "completion": f"answer {n}"} for n in range(rows)]))
    report = build_index(path, index_path)
    shard = ShardSpec(str(path), str(index_path), report.sha256, kind="parquet", name=path.name)
    return SourceSpec(name, (shard,), "prompt_completion", report.sha256)


def write_shards(folder: Path, name: str, parts: Sequence[Sequence[dict[str, Any] | str]]) -> SourceSpec:
    """Write and register rows as one source of several files, which may be without rows."""
    files = [write_source(folder, f"{name}-{number}", rows).shards[0] for number, rows in enumerate(parts)]
    shards = tuple(replace(shard, name=Path(shard.path).name) for shard in files)
    return SourceSpec(name, shards, "chat", "+".join(shard.digest for shard in shards))


def stream_spec(folder: Path, *sources: SourceSpec, mixture: Sequence[MixtureEntry] | None = None, **told: Any) -> StreamSpec:
    """A stream over sources, or over 12 chat rows."""
    if not (folder / "model").exists():
        write_tokenizer(folder / "model")
    sources = sources or (write_source(folder, "rows", chat_rows(12)),)
    log = tuple(mixture or [MixtureEntry(1, (1.0,) * len(sources))])
    settings: dict[str, Any] = {"seed": 7, "epochs": 1, "batch_size": 4, "max_length": 256, "micro_batch_tokens": 64} | told
    return StreamSpec(sources=sources, mixture=log, tokenizer_path=str(folder / "model"), tokenizer_digest="", **settings)


def told(batch: Batch) -> tuple[Any, ...]:
    """All of a batch, so that two can be compared."""
    arrays = [(each.ids, each.loss_mask, each.boundaries, each.sources) for each in batch.micro_batches]
    return (batch.step, batch.epoch, batch.rows, batch.trained_tokens, batch.position, batch.holes, batch.truncated,
            batch.overlong, batch.overlong_first, batch.slots, batch.slot_count, batch.digest,
            [[(array.dtype.name, np.asarray(array).tolist()) for array in each] for each in arrays])
