"""The frame of a peer's program: what it is asked, and the same ways of reading for each.

    python PEER.py prepare|read|whole|rest FILE --tokenizer DIR --work DIR [options]

`prepare` makes what a loader keeps beside the file. `read` gives a first batch and then as many as were asked for. `whole`
reads one pass, notes the digest of each row's tokens, and keeps the loader's state at a batch; `rest` goes on from such a
state in a new process, and notes the digests of what is left (or, asked for one batch, how long it took).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import pickle
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from telling import tell


@dataclass(frozen=True)
class Asked:
    way: str
    file: str
    tokenizer: str
    """Folder with tokenizer.json and the chat template."""
    work: str
    """Folder for what the loader keeps: shards, caches, states."""
    batch: int
    max_length: int
    buffer: int
    """Rows of the shuffle buffer, for the loaders that have one."""
    workers: int
    seed: int
    batches: int
    """Batches to read after the first; 0 for all."""
    seconds: float
    """Seconds after which reading ends, whatever the batches."""
    at: int
    """The batch after which `whole` keeps the state."""


class Loader(Protocol):
    def restore(self, state: Any) -> None: ...

    def batches(self) -> Iterator[Any]: ...

    def state(self) -> Any: ...

    def count(self, batch: Any) -> dict[str, int]:
        """Rows, tokens and tokens trained on, padding not counted."""
        ...

    def token_rows(self, batch: Any) -> Iterator[bytes]:
        """The tokens of each row, as bytes, without padding."""
        ...


class Padded:
    """What the loaders share whose batch is a dictionary of padded tensors."""

    def count(self, batch: dict[str, Any]) -> dict[str, int]:
        return {"rows": len(batch["input_ids"]), "tokens": int(batch["attention_mask"].sum()),
                "trained": int((batch["labels"] != -100).sum())}

    def token_rows(self, batch: dict[str, Any]) -> Iterator[bytes]:
        for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True):
            yield ids[mask.bool()].numpy().tobytes()


def run(system: str, loader: Callable[[Asked], Loader], prepare: Callable[[Asked], dict[str, Any]] | None = None) -> None:
    asked = _arguments()
    tell("imported", system=system)
    if asked.way == "prepare":
        tell("prepared", **(prepare(asked) if prepare else {"disk_bytes": 0}))
    elif asked.way == "read":
        _read(asked, loader(asked))
    elif asked.way == "whole":
        _whole(asked, loader(asked))
    else:
        _rest(asked, loader)


def folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _read(asked: Asked, loader: Loader) -> None:
    batches = loader.batches()
    tell("first_batch", **loader.count(next(batches)))
    ends = time.monotonic() + asked.seconds
    rows = tokens = trained = 0
    for number, batch in enumerate(batches, 1):
        counted = loader.count(batch)
        rows, tokens, trained = rows + counted["rows"], tokens + counted["tokens"], trained + counted["trained"]
        if number == asked.batches or time.monotonic() > ends:
            break
    tell("read", rows=rows, tokens=tokens, trained=trained)


def _whole(asked: Asked, loader: Loader) -> None:
    digests: list[str] = []
    for number, batch in enumerate(loader.batches(), 1):
        digests += map(_digest, loader.token_rows(batch))
        if number == asked.at:
            state = pickle.dumps(loader.state())
            _path(asked, "state").write_bytes(state)
            tell("kept", state_bytes=len(state), rows=len(digests))
            if asked.batches:
                break
    _path(asked, "whole").write_text(json.dumps(digests))
    tell("read", rows=len(digests))


def _rest(asked: Asked, make: Callable[[Asked], Loader]) -> None:
    loader = make(asked)
    loader.restore(pickle.loads(_path(asked, "state").read_bytes()))  # noqa: S301 - written by ourselves a moment ago
    digests: list[str] = []
    for number, batch in enumerate(loader.batches(), 1):
        digests += map(_digest, loader.token_rows(batch))
        if number == 1:
            tell("first_batch", rows=len(digests))
        if number == asked.batches:
            break
    _path(asked, "rest").write_text(json.dumps(digests))
    tell("read", rows=len(digests))


def _digest(tokens: bytes) -> str:
    """By it rows are told apart."""
    return hashlib.blake2b(tokens, digest_size=8).hexdigest()


def _path(asked: Asked, name: str) -> Path:
    return Path(asked.work) / f"{name}.{'pickle' if name == 'state' else 'json'}"


def _arguments() -> Asked:
    parser = argparse.ArgumentParser(description="One loader, told what to read.")
    parser.add_argument("way", choices=["prepare", "read", "whole", "rest"])
    parser.add_argument("file")
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--work", required=True)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--max-length", type=int, default=2048)
    parser.add_argument("--buffer", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--batches", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=1e9)
    parser.add_argument("--at", type=int, default=0)
    return Asked(**vars(parser.parse_args()))


if __name__ == "__main__":
    raise SystemExit("this is the frame; run one of the peers beside it")
