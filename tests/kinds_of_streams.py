"""Streams of each kind that has something of its own to go on from: short steps, holes, splits, mixtures and their changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from core.data.spec import MixtureEntry, RowRef, StreamSpec
from tests.streams import chat_row, chat_rows, stream_spec, write_shards, write_source

Setting = Callable[[Path], StreamSpec]


def epochs_with_short_last_steps(folder: Path) -> StreamSpec:
    return stream_spec(folder, write_source(folder, "one", chat_rows(12)), batch_size=5, epochs=3)


def one_batch_greater_than_the_data(folder: Path) -> StreamSpec:
    return stream_spec(folder, write_source(folder, "one", chat_rows(3)), batch_size=7, epochs=4)


def unshuffled(folder: Path) -> StreamSpec:
    return stream_spec(folder, write_source(folder, "one", chat_rows(11)), batch_size=4, epochs=2, is_shuffled=False)


def holes_and_cuts(folder: Path) -> StreamSpec:
    rows: list[Any] = [*chat_rows(9), chat_row(10 ** 90), "{", *chat_rows(3)]
    rows[4] = {"messages": [{"role": "user", "content": "\ufdd0"}, {"role": "assistant", "content": "yes"}]}
    rows[2]["messages"][1]["content"] = "word " * 50
    source = write_source(folder, "holes", rows)
    return stream_spec(folder, source, batch_size=4, epochs=2, max_length=48, on_bad_row="skip")


def split(folder: Path) -> StreamSpec:
    source = write_source(folder, "many", chat_rows(40))
    return stream_spec(folder, source, batch_size=6, epochs=2, validation_fraction=0.3)


def validation_of_two_sources(folder: Path) -> StreamSpec:
    return replace(mixture_until_all_are_done(folder), validation_fraction=0.4, part="validation", epochs=2)


def mixture_until_all_are_done(folder: Path) -> StreamSpec:
    sources = [write_source(folder, "a", chat_rows(13)), write_source(folder, "b", chat_rows(9))]
    return stream_spec(folder, *sources, mixture=[MixtureEntry(1, (0.7, 0.3))], batch_size=4, epochs=2)


def mixture_changed_on_the_way(folder: Path) -> StreamSpec:
    spec = mixture_until_all_are_done(folder)
    log = (MixtureEntry(1, (0.7, 0.3)), MixtureEntry(3, (0.2, 0.8)), MixtureEntry(6, (0.0, 1.0)))
    return replace(spec, mixture=log, exhaustion="repeat")


def split_shards(folder: Path) -> StreamSpec:
    source = write_shards(folder, "parts", [chat_rows(7), [], chat_rows(1), [*chat_rows(11), "{"], chat_rows(13)])
    return stream_spec(folder, source, batch_size=6, epochs=2, validation_fraction=0.2, on_bad_row="skip")


def blocks_with_holes(folder: Path) -> StreamSpec:
    rows: list[Any] = [*chat_rows(70), "{", *chat_rows(4)]
    source = replace(write_source(folder, "blocks", rows), layout="blocks", block_rows=2)
    return stream_spec(folder, source, batch_size=9, epochs=2, validation_fraction=0.2, on_bad_row="skip")


def source_joined_on_the_way(folder: Path) -> StreamSpec:
    sources = [write_source(folder, "a", chat_rows(13)), write_source(folder, "b", chat_rows(7))]
    log = [MixtureEntry(1, (1.0,)), MixtureEntry(5, (0.5, 0.5)), MixtureEntry(7, (0.0, 1.0))]
    return stream_spec(folder, *sources, mixture=log, batch_size=4, epochs=3)


def rows_quarantined_on_the_way(folder: Path) -> StreamSpec:
    spec = mixture_until_all_are_done(folder)
    first, then = MixtureEntry(2, (0.7, 0.3), (RowRef(0, 3), RowRef(1, 8))), MixtureEntry(4, (1.4, 0.6), (RowRef(0, 5),))
    return replace(spec, mixture=(*spec.mixture, first, then))


SETTINGS: tuple[Setting, ...] = (
    epochs_with_short_last_steps, one_batch_greater_than_the_data, unshuffled, holes_and_cuts, split, split_shards,
    blocks_with_holes, validation_of_two_sources, mixture_until_all_are_done, mixture_changed_on_the_way,
    source_joined_on_the_way, rows_quarantined_on_the_way)
