"""Which rows are evaluated on: those that the split of a training stream holds out, of every source that has joined by then.

A source that joins on the way is on both sides of the split from its first step on: its held-out rows are never trained on, and
each evaluation from there on reads them too. So the figure over all of them may jump at that step, and that of each source goes
on as it was. A source that is dropped stays in: what it taught is still asked.
"""

from __future__ import annotations

from dataclasses import replace

from core.data.spec import MixtureEntry, StreamSpec


def held_out_rows(train: StreamSpec, step: int) -> StreamSpec:
    """Describe the rows to evaluate on after a step of a training stream, each once, in the order of the files."""
    sources = tuple(train.sources[number] for number in joined_by(train, step))
    return replace(train, sources=sources, mixture=(MixtureEntry(1, (1.0,) * len(sources)),), part="validation", epochs=1,
                   is_shuffled=False, source_epochs=(), exhaustion="all", max_bad_rows=None)


def joined_by(train: StreamSpec, step: int) -> list[int]:
    """The sources of the submit, and those that an entry up to this step draws from."""
    joined = set(range(len(train.mixture[0].weights)))
    for entry in train.mixture:
        if entry.from_step <= step:
            joined |= {number for number, weight in enumerate(entry.weights) if weight}
    return sorted(joined)
