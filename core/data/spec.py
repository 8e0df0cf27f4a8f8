"""What describes a stream, and the nouns that its rooms hand on.

`StreamSpec` comes in from a run's spec file; `Batch` goes out. Everything here is a frozen value: plain data that can be
written as JSON or sent to another process. Numbers of steps start at 1; step 0 is "before training".
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import orjson

RowFormat = Literal["chat", "prompt_completion", "text", "preference"]
Part = Literal["train", "validation", "whole"]
Overlong = Literal["truncate", "truncate_left", "keep_last_turns", "split", "drop"]
"""What becomes of a row that is longer than `max_length` (core/data/fitting.py)."""
OnBadRow = Literal["fail", "skip"]
Exhaustion = Literal["repeat", "first", "all"]
HoleCause = Literal["fault", "untrained", "overlong", "quarantined"]
"""Why a step does without a row: it breaks a rule or cannot be read; nothing in it is trained on; it is left out for its
length; the mixture log says so."""
ShardKind = Literal["lines", "csv", "tsv", "parquet", "frames"]
"""How rows stand in a file: one a line (JSON or bare text), as records with a header line, as Parquet, or as lines in
zstd frames that can be sought."""
OrderLayout = Literal["rows", "blocks"]
"""Over what a shuffle reaches: any row of the source, or blocks of rows that lie together."""


@dataclass(frozen=True)
class ShardSpec:
    """One frozen file of a source, and the index made when it was registered."""

    path: str
    """On a local disk, or inside its place."""
    index_path: str
    digest: str
    """SHA-256 of the file as it came, hex; the only part of a shard that decides which rows a step holds."""
    kind: ShardKind = "lines"
    place: str | None = None
    """Name of the operator's place that the file lies in; None for a file that `path` alone leads to."""
    name: str = ""
    """What people call the file; messages about its rows name it."""
    bytes: int = 0
    """Size of a file in a place when it was registered; with `tag`, what a change is noticed by."""
    tag: str = ""
    """What its place calls that content: an ETag, a digest or a time of change; "" where it has no name for it."""


@dataclass(frozen=True)
class SourceSpec:
    """One source of a mixture: a data set version. Its rows are numbered over its shards, in their order."""

    name: str
    shards: tuple[ShardSpec, ...]
    format: RowFormat
    digest: str
    """Content digest of the version (hex); part of the fingerprint."""
    columns: dict[str, str] | None = None
    """The user's mapping: the field that a format wants to the column that holds it."""
    layout: OrderLayout = "rows"
    block_rows: int = 0
    """Rows of a block in layout "blocks"; 0 chooses them by what the rows weigh."""

    def identity(self) -> dict[str, Any]:
        """What decides the source's rows and their order: its content and how it is read, not its name or its paths."""
        return {"digest": self.digest, "format": self.format, "columns": self.columns, "layout": self.layout,
                "block_rows": self.block_rows, "shards": [shard.digest for shard in self.shards]}

    @property
    def place_names(self) -> set[str]:
        """The places that its rows lie in."""
        return {shard.place for shard in self.shards if shard.place is not None}

    @classmethod
    def of_file(cls, name: str, path: str, index_path: str, row_format: RowFormat, digest: str = "") -> SourceSpec:
        """Describe a source of one local file of lines."""
        return cls(name, (ShardSpec(path, index_path, digest),), row_format, digest)

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> SourceSpec:
        return cls(**{**told, "shards": tuple(ShardSpec(**shard) for shard in told["shards"])})


def layout_for(shards: Iterable[ShardSpec]) -> OrderLayout:
    """Choose over what a source is shuffled: files that are slow to jump about in are read block by block."""
    return "blocks" if any(shard.place is not None or shard.kind == "parquet" for shard in shards) else "rows"


@dataclass(frozen=True)
class RowRef:
    """One row of one source, by number from 0."""

    source: int
    row: int


@dataclass(frozen=True)
class MixtureEntry:
    """What holds from a step on."""

    from_step: int
    weights: tuple[float, ...]
    """One a source, in the order of `StreamSpec.sources`; a source that joins later is none of them, and is not drawn."""
    quarantined: tuple[RowRef, ...] = ()
    """Rows that are trained on no more from this step on; each leaves a hole where it is due."""
    lifted: tuple[RowRef, ...] = ()
    """Rows whose quarantine ends: from this step on they are trained on where they are due."""

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> MixtureEntry:
        quarantined, lifted = (tuple(RowRef(**row) for row in told.get(name, ())) for name in ("quarantined", "lifted"))
        return cls(told["from_step"], tuple(told["weights"]), quarantined, lifted)


@dataclass(frozen=True)
class StreamSpec:
    sources: tuple[SourceSpec, ...]
    mixture: tuple[MixtureEntry, ...]
    """The mixture log; the first entry holds from step 1."""
    seed: int
    epochs: int
    batch_size: int
    """Examples per optimizer step, over all ranks."""
    tokenizer_path: str
    """Folder with tokenizer.json, tokenizer_config.json and the chat template."""
    tokenizer_digest: str
    """Digest of those files; part of the fingerprint, where the path is not."""
    max_length: int
    """Tokens of one example at most."""
    micro_batch_tokens: int
    """Token budget of one micro-batch; changes only the layout inside a step, so it is no part of the fingerprint."""
    part: Part = "train"
    validation_fraction: float = 0.0
    """Share of the rows held out by the hash of their content; `part` says which side this stream reads."""
    is_shuffled: bool = True
    overlong: Overlong = "truncate"
    on_bad_row: OnBadRow = "fail"
    max_bad_rows: int | None = None
    """Rows at fault that may be skipped while training; one more ends the stream. None: any number."""
    exhaustion: Exhaustion = "all"
    source_epochs: tuple[int, ...] = ()
    """Passes that each source of the first mixture entry is reckoned with; empty: `epochs` for all of them."""
    rank: int = 0
    ranks: int = 1

    def fingerprint(self) -> str:
        """Digest what decides which rows and tokens a step holds and never changes in a job: not the layout, the ranks or the
        paths, and not the sources and the mixture log, which grow (see `mixture_digest`)."""
        told = dataclasses.asdict(self)
        for other in ("micro_batch_tokens", "rank", "ranks", "tokenizer_path", "sources", "mixture", "max_bad_rows"):
            del told[other]
        return _digest(told)

    def mixture_digest(self, step: int) -> str:
        """Digest what the sources and the mixture log decide of the steps up to this one; later entries may differ."""
        held = [entry for entry in self.mixture if entry.from_step <= max(step, 1)]
        drawn = 1 + max((n for entry in held for n, weight in enumerate(entry.weights) if weight), default=-1)
        log = [(entry.from_step, _trimmed(entry.weights), *map(_sorted, (entry.quarantined, *_if_any(entry.lifted))))
               for entry in held]
        return _digest({"sources": [source.identity() for source in self.sources[:drawn]], "log": log})

    @property
    def place_names(self) -> set[str]:
        """The places that its rows lie in."""
        return {name for source in self.sources for name in source.place_names}

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> StreamSpec:
        sources = tuple(SourceSpec.from_json(source) for source in told["sources"])
        mixture = tuple(MixtureEntry.from_json(entry) for entry in told["mixture"])
        epochs = tuple(told.get("source_epochs", ()))
        return cls(**{**told, "sources": sources, "mixture": mixture, "source_epochs": epochs})


def _digest(told: dict[str, Any]) -> str:
    return hashlib.sha256(orjson.dumps(told, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]


def _sorted(rows: tuple[RowRef, ...]) -> list[tuple[int, int]]:
    return sorted((row.source, row.row) for row in rows)


def _if_any(rows: tuple[RowRef, ...]) -> tuple[tuple[RowRef, ...], ...]:
    return (rows,) if rows else ()


def _trimmed(weights: tuple[float, ...]) -> tuple[float, ...]:
    """The weights without the zeros at the end, which say no more than that those sources are not drawn."""
    last = max((n for n, weight in enumerate(weights) if weight), default=-1)
    return tuple(map(float, weights[:last + 1]))


@dataclass(frozen=True)
class Place:
    """Where an operator lets rows be read from: a root, and what opens it."""

    name: str
    url: str = field(repr=False)
    """`file:///…`, `s3://bucket/prefix`, `https://host/path` or `hf://datasets/org/name@revision/…`."""
    options: dict[str, Any] = field(default_factory=dict, repr=False)
    """Endpoint, region, keys and tokens: never shown, logged or written by us."""
    projects: tuple[str, ...] | None = None
    """Names of the projects that may read from it; None for all."""

    @property
    def kind(self) -> str:
        return self.url.partition("://")[0]


@dataclass(frozen=True)
class Places:
    """What a process may reach beside its own files, told to it on standard input and nowhere else."""

    by_name: dict[str, Place] = field(default_factory=dict)
    cache_folder: str | None = None
    """Where blocks of remote files are kept between processes; None keeps none."""
    cache_bytes: int = 0

    def only(self, names: Iterable[str]) -> Places:
        """The same with no more places than a run needs; a name that is not there is missed where it is used."""
        return dataclasses.replace(self, by_name={name: self.by_name[name] for name in names if name in self.by_name})

    def of_project(self, project: str) -> Places:
        """The same without those that a project may not read from."""
        is_open = {name: place for name, place in self.by_name.items() if place.projects is None or project in place.projects}
        return dataclasses.replace(self, by_name=is_open)

    def and_more(self, others: Places) -> Places:
        """The same with other places beside it, which come first under a name that both have."""
        return dataclasses.replace(others, by_name={**self.by_name, **others.by_name})

    def to_json(self) -> dict[str, Any]:
        places = {name: {"url": place.url, "options": place.options} for name, place in self.by_name.items()}
        return {"places": places, "cache_folder": self.cache_folder, "cache_bytes": self.cache_bytes}

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Places:
        places = {name: Place(name, place["url"], place.get("options") or {}) for name, place in told["places"].items()}
        return cls(places, told.get("cache_folder"), told.get("cache_bytes") or 0)


@dataclass(frozen=True)
class Position:
    """Where the stream stands after a step: small enough to read aloud."""

    step: int = 0
    """Optimizer steps whose rows have been given."""
    drawn: tuple[int, ...] = ()
    """Rows drawn from each source so far, over all ranks, holes included."""
    mixture_entry: int = 0

    def to_json(self) -> dict[str, Any]:
        return {"step": self.step, "drawn": list(self.drawn), "mixture_entry": self.mixture_entry}

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Position:
        return cls(told["step"], tuple(told["drawn"]), told["mixture_entry"])


@dataclass(frozen=True)
class Row:
    ref: RowRef
    value: dict[str, Any]
    """The parsed JSON object, checked against the source's format."""
    digest: int = field(default=0, compare=False)
    """xxh3-64 of the row's bytes as they were read."""


@dataclass(frozen=True)
class Piece:
    text: str
    is_trained: bool
    is_control: bool = False
    """Whether the template wrote this piece as one of the tokenizer's control tokens; all other text is encoded as
    ordinary text, whatever it spells."""


@dataclass(frozen=True)
class Example:
    """A row after its template: one text in pieces, each trained on or not."""

    ref: RowRef
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, eq=False)
class Tokens:
    ref: RowRef
    ids: np.ndarray
    """int32, shape (tokens,)."""
    loss_mask: np.ndarray
    """bool, shape (tokens,): True where the token itself is trained on, that is, predicted from those before it."""


@dataclass(frozen=True, eq=False)
class MicroBatch:
    """Examples of one step laid end to end, without padding."""

    ids: np.ndarray
    """int32, shape (tokens,)."""
    loss_mask: np.ndarray
    """bool, shape (tokens,); the first token of an example is never True, since nothing before it predicts it."""
    boundaries: np.ndarray
    """int32, shape (examples + 1,): where each example starts, and the end of the last."""
    sources: np.ndarray
    """int32, shape (examples,): the source of each example, for a loss per source."""

    @property
    def position_ids(self) -> np.ndarray:
        """int32, shape (tokens,), restarting at 0 at each boundary."""
        lengths = np.diff(self.boundaries)
        starts = np.repeat(self.boundaries[:-1], lengths)
        return (np.arange(len(self.ids), dtype=np.int32) - starts).astype(np.int32)


@dataclass(frozen=True)
class Due:
    """What a step is to hold, over all ranks."""

    step: int
    epoch: float
    rows: tuple[RowRef, ...]
    """One a slot, in the order in which they are drawn."""
    firsts: tuple[bool, ...]
    """Of each of `rows`, whether it is drawn for the first time."""
    position: Position
    quarantined: frozenset[RowRef] = frozenset()
    """Those of `rows` that this step does without, by the mixture log."""


@dataclass(frozen=True)
class Share:
    """Which part of each step is a rank's, and how it is laid out."""

    rank: int
    ranks: int
    micro_batch_tokens: int


@dataclass(frozen=True)
class Turn:
    """Whose turn a step is, where several processes make a stream's steps: of those after a position, `of` make one in turn."""

    number: int = 0
    of: int = 1
    is_start: bool = True
    """Whether the stream begins to be read with these turns, so that the first step carries what is to be told of it."""

    def steps(self, after: int, last: int) -> range:
        """The steps after one, up to the last, that this process makes."""
        return range(after + 1 + self.number, last + 1, self.of)


@dataclass(frozen=True)
class Hole:
    """A row that a step was due and did not get, and why."""

    ref: RowRef
    line: int
    """1-based line in its shard."""
    reason: str
    file: str = ""
    """Name of its shard."""
    cause: HoleCause = "fault"
    """A fault is what `max_bad_rows` counts."""
    is_first: bool = False
    """Whether the row is drawn for the first time."""


@dataclass(frozen=True)
class Loading:
    """Where the seconds went that it took to make a batch."""

    reading: float = 0.0
    parsing: float = 0.0
    """Checking against the index included."""
    rendering: float = 0.0
    tokenising: float = 0.0
    laying: float = 0.0
    """Which rows the step holds, and how they lie in micro-batches."""
    place: str = ""
    """The place that rows were read from, where one lies elsewhere than on a local disk."""
    by_reference: int = 0
    """Rows that the fast tokenizer left to the reference."""


@dataclass(frozen=True, eq=False)
class Batch:
    """All micro-batches of one optimizer step (this rank's share), with the position after it."""

    step: int
    epoch: float
    """Passes over the data when this step is done; for a mixture, the share of all steps times the epochs asked for."""
    micro_batches: tuple[MicroBatch, ...]
    rows: tuple[RowRef, ...]
    """The rows of this rank's share that are trained on, in the order in which they were drawn, which is also the order
    of the examples in `micro_batches`."""
    trained_tokens: int
    """Tokens trained on in the whole step, over all ranks: the loss is normalised by it."""
    position: Position
    holes: tuple[Hole, ...] = ()
    """The rows that the whole step does without, over all ranks."""
    truncated: int = 0
    """Examples of the whole step that were cut to `max_length`."""
    overlong: dict[str, int] = field(default_factory=dict)
    """How many rows of the whole step were too long, by what was done with them."""
    overlong_first: dict[str, int] = field(default_factory=dict)
    """Those of them that are drawn for the first time."""
    slots: tuple[int, ...] = ()
    """The slot of the step that each of `rows` came from; a row that was split is there once for each example."""
    slot_count: int = 0
    """Slots of the whole step, over all ranks, holes included."""
    counts: tuple[tuple[int, int, int, int], ...] = ()
    """Source, examples, tokens and trained tokens of each slot of the whole step, over all ranks; a hole has no examples."""
    digest: int = 0
    """Digest of the rows that the whole step is trained on, by their content (core/data/proof.py)."""
    spelled: int = 0
    """Examples of the whole step that spell a control token, which stays ordinary text."""
    loading: Loading = Loading()
    warnings: tuple[str, ...] = ()
    """What the owner of the run should know of the stream from here on, in plain words."""

    @property
    def tokens(self) -> int:
        return sum(len(m.ids) for m in self.micro_batches)

    @property
    def faults(self) -> list[RowRef]:
        """The rows of the whole step that were skipped since they are at fault."""
        return [hole.ref for hole in self.holes if hole.cause == "fault"]


@dataclass(frozen=True)
class StreamPlan:
    """What is known before the first step, from the index alone."""

    rows: tuple[int, ...]
    """Rows of each source that this stream reads in one pass: faulty ones and the other side of the split left out."""
    total_steps: int
    epoch_ends: tuple[int, ...] = field(default=())
    """The step at which each epoch ends; the last is `total_steps`."""
