"""mosaicml-streaming: rows are first written as MDS shards (its own registering), then read in a global shuffle.

The package's picture room imports torchvision, which text does not need; an empty module stands in for it.
"""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.modules["streaming.vision"] = types.ModuleType("streaming.vision")

from encoding import Encoding  # noqa: E402
from program import Asked, Padded, folder_bytes, run  # noqa: E402
from streaming import MDSWriter, StreamingDataLoader, StreamingDataset, __version__  # noqa: E402
from streaming.base.util import clean_stale_shared_memory  # noqa: E402

SYSTEM = f"mosaicml-streaming {__version__}"


class Loader(Padded):
    def __init__(self, asked: Asked) -> None:
        clean_stale_shared_memory()
        rows = StreamingDataset(local=str(_shards(asked)), shuffle=True, shuffle_seed=asked.seed, batch_size=asked.batch)
        encoding = Encoding(asked.tokenizer, max_length=asked.max_length)
        self._loader = StreamingDataLoader(rows, batch_size=asked.batch, collate_fn=encoding, num_workers=asked.workers)

    def restore(self, state: Any) -> None:
        self._loader.load_state_dict(state)

    def batches(self) -> Iterator[dict[str, Any]]:
        return iter(self._loader)

    def state(self) -> Any:
        return self._loader.state_dict()


def prepare(asked: Asked) -> dict[str, Any]:
    """Write the shards; give their bytes."""
    with MDSWriter(out=str(_shards(asked)), columns={"messages": "json"}) as writer, open(asked.file, "rb") as file:
        for line in file:
            writer.write(json.loads(line))
    return {"disk_bytes": folder_bytes(_shards(asked))}


def _shards(asked: Asked) -> Path:
    return Path(asked.work) / "mds"


if __name__ == "__main__":
    run(SYSTEM, Loader, prepare)
