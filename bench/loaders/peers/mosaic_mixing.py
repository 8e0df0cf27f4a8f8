"""mosaicml-streaming, two streams at 0.8 and 0.2: `mosaic_mixing.py ROWS BATCH FILE FILE` tells of each row its file."""

from __future__ import annotations

import json
import sys
import types
from itertools import islice
from pathlib import Path

from telling import tell

sys.modules["streaming.vision"] = types.ModuleType("streaming.vision")  # its picture room imports torchvision

from streaming import MDSWriter, Stream, StreamingDataset, __version__  # noqa: E402
from streaming.base.util import clean_stale_shared_memory  # noqa: E402


def main() -> None:
    rows, batch, *files = sys.argv[1:]
    clean_stale_shared_memory()
    streams = [Stream(local=_shards(Path(file)), proportion=share) for file, share in zip(files, (0.8, 0.2), strict=True)]
    mixed = StreamingDataset(streams=streams, shuffle=True, shuffle_seed=1, batch_size=int(batch))
    tell("mixed", system=f"mosaicml-streaming {__version__}", sources=[row["source"] for row in islice(mixed, int(rows))])


def _shards(file: Path) -> str:
    folder = file.with_suffix(".mds")
    with MDSWriter(out=str(folder), columns={"source": "int"}) as writer, file.open("rb") as lines:
        for line in lines:
            writer.write({"source": json.loads(line)["source"]})
    return str(folder)


if __name__ == "__main__":
    main()
