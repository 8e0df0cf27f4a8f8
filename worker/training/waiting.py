"""Does the device wait for data? The times of the last steps come in; when a stretch of waiting begins, a report goes out.

A stretch begins when more than a tenth of the last steps' time was waiting, over at least `LEAST_STEPS` steps and
`LEAST_SECONDS`; it is told once, and ends when the share falls below half of that. The wait of a run's first step is its
start, and does not count. Of several ranks the one that waited longest counts. The cause is the stage in which most of the time
went that it took to make those steps, over all ranks and whichever process made them.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from core.data.spec import Loading
from worker.reports import DataWaiting

SHARE = 0.10
LEAST_STEPS = 20
LEAST_SECONDS = 2.0

_MORE_PROCESSES = ("give loading more of the cores: HEADRACE_THREADS one below their number leaves the loader one of its "
                   "own, and options.loader_processes says how many processes share the loading")
_REMEDIES = {
    "reading": "put the data on a faster disk, or on a host whose memory holds it",
    "network": "copy the data near to the worker (upload it, or have a nearer place named), or, where rows are read more than "
               "once, give the cache more room: HEADRACE_CACHE_BYTES",
    "parsing": f"the rows are large beside what is trained on; leave out the columns that are not, or {_MORE_PROCESSES}",
    "rendering": f"the model's chat template is slow on these rows; {_MORE_PROCESSES}",
    "tokenising": f"{_MORE_PROCESSES}",
    "laying": f"{_MORE_PROCESSES}",
}
_REFERENCE = "most rows are tokenised by the reference tokenizer, which is about twenty times slower than the fast one; "
_NAMES = {"laying": "laying out batches"}


@dataclass(frozen=True)
class _Step:
    step_seconds: float
    wait_seconds: float
    loading: Loading
    examples: int


class DataWatch:
    def __init__(self) -> None:
        self._steps: deque[_Step] = deque()
        self._is_first = True
        self._is_told = False

    def note(self, step: int, *, step_seconds: float, wait_seconds: float, loading: Loading, examples: int
             ) -> DataWaiting | None:
        """Take in a step that is done; gives the report with which a stretch of waiting begins."""
        if self._is_first:
            self._is_first = False
            return None
        self._steps.append(_Step(step_seconds, wait_seconds, loading, examples))
        while len(self._steps) > LEAST_STEPS and self._seconds() - self._steps[0].step_seconds >= LEAST_SECONDS:
            self._steps.popleft()
        if len(self._steps) < LEAST_STEPS or self._seconds() < LEAST_SECONDS:
            return None
        share = sum(each.wait_seconds for each in self._steps) / self._seconds()
        if self._is_told:
            self._is_told = share >= SHARE / 2
            return None
        if share <= SHARE:
            return None
        self._is_told = True
        return self._report(step, share)

    def _seconds(self) -> float:
        return sum(each.step_seconds for each in self._steps)

    def _report(self, step: int, share: float) -> DataWaiting:
        stages: dict[str, float] = {name: sum(getattr(each.loading, name) for each in self._steps)
                  for name in ("reading", "parsing", "rendering", "tokenising", "laying")}
        cause = max(stages, key=lambda name: stages[name])
        place = self._steps[-1].loading.place if cause == "reading" else ""
        named = "network" if place else cause
        by_reference = sum(each.loading.by_reference for each in self._steps) * 2 > sum(each.examples for each in self._steps)
        remedy = (_REFERENCE if cause == "tokenising" and by_reference else "") + _REMEDIES[named]
        return DataWaiting(step, share=share, steps=len(self._steps), cause=_NAMES.get(named, named), place=place,
                           remedy=remedy, stage_seconds=stages)
