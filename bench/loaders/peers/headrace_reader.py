"""Headrace's own reader under the peers' frame: the stream of a run, opened in this process, its batches packed and masked.

The modules are those of the read-ahead process (`core.data.ahead`); `prepare` is registering: one pass that checks, counts,
digests and notes where rows begin.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(1, str(Path(__file__).resolve().parents[3]))

from program import Asked, folder_bytes, run

import core.data.ahead.__main__  # noqa: F401 - what the read-ahead process imports
from core.data.index import ShardIndex
from core.data.pipeline.opening import open_stream
from core.data.shards import OpenPlaces
from core.data.spec import (
    Batch,
    MixtureEntry,
    Place,
    Places,
    Position,
    ShardSpec,
    SourceSpec,
    StreamSpec,
    layout_for,
)


class Loader:
    def __init__(self, asked: Asked) -> None:
        source, places = _source(asked)
        self._stream = open_stream(StreamSpec(
            (source,), (MixtureEntry(1, (1.0,)),), seed=asked.seed, epochs=1, batch_size=asked.batch,
            max_length=asked.max_length, micro_batch_tokens=8192, tokenizer_path=asked.tokenizer, tokenizer_digest="",
            on_bad_row="skip",
        ), places)
        self._position: Position | None = None

    def restore(self, state: Any) -> None:
        self._position = Position.from_json(state)

    def batches(self) -> Iterator[Batch]:
        for batch in self._stream.batches(self._position):
            self._position = batch.position
            yield batch

    def state(self) -> Any:
        assert self._position is not None
        return self._position.to_json()

    def count(self, batch: Batch) -> dict[str, int]:
        return {"rows": len(batch.rows), "tokens": batch.tokens, "trained": batch.trained_tokens}

    def token_rows(self, batch: Batch) -> Iterator[bytes]:
        for part in batch.micro_batches:
            for start, end in zip(part.boundaries, part.boundaries[1:], strict=False):
                yield part.ids[start:end].tobytes()


def prepare(asked: Asked) -> dict[str, Any]:
    from core.data.index import build_index

    report = build_index(Path(asked.file), _index(asked))
    faults = [f"{Path(asked.file).name}: {fault.message}" for fault in report.faults[:3]]
    return {"disk_bytes": folder_bytes(_index(asked)), "good": report.good, "faults": faults}


def _source(asked: Asked) -> tuple[SourceSpec, Places]:
    """The registered file; one at an address `s3://bucket/name` is read from there, by the index made of the same bytes."""
    if not asked.file.startswith("s3://"):
        return SourceSpec("rows", (_local_shard(asked),), "chat", ""), Places()
    root, _, path = asked.file.rpartition("/")
    options = {"endpoint_url": os.environ["S3_ENDPOINT"], "key": os.environ["AWS_ACCESS_KEY_ID"],
               "secret": os.environ["AWS_SECRET_ACCESS_KEY"]}
    places = Places({"bucket": Place("bucket", root, options)}, str(Path(asked.work) / "cache"), 64 << 20)
    with OpenPlaces(places) as opened:
        stat = opened.stat("bucket", path)
    shard = ShardSpec(path, str(_index(asked)), "", place="bucket", bytes=stat.size, tag=stat.tag)
    return SourceSpec("rows", (shard,), "chat", "", layout=layout_for([shard])), places


def _local_shard(asked: Asked) -> ShardSpec:
    """The file, or the frames that it was turned into where rows cannot be read from it."""
    kind = ShardIndex.open(_index(asked)).report.kind
    path = f"{_index(asked)}.zst" if kind == "frames" else asked.file
    return ShardSpec(path, str(_index(asked)), "", kind=kind, name=Path(asked.file).name)


def _index(asked: Asked) -> Path:
    return Path(asked.work) / "rows.index"


if __name__ == "__main__":
    run("headrace, read in one process", Loader, prepare)
