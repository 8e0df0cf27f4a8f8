"""From a child's reports to the ledger: a thread that writes them in order, in batches, under the run's fence.

Every batch is one transaction: `hold` (the run still holds its job), then the reports, in the order in which they came; the
bell rings after the commit. The run's row names the batch that was written last, so a commit whose answer was lost is known
when the batch is written again, and nothing is told twice. A checkpoint's files are read against their manifest before its row
is made. While the ledger is away reports wait; when many do, `has_room` turns False and the supervisor leaves the child's pipe
unread, so nothing is dropped.
"""

from __future__ import annotations

import queue
import secrets
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from core.checkpoints import service as checkpoints
from core.checkpoints.freeing import free
from core.clock import Clock
from core.db.session import Ledger
from core.errors import LeaseLost
from core.events import service as events
from core.jobs import claims
from core.jobs.memory import note_limit
from core.jobs.models import Job, Run
from core.lineage import service as lineage
from core.logs import get_log
from core.steering import service as steering
from core.storage.artifacts import Artifacts
from core.storage.manifest import FolderDamaged
from worker.away import REST_SECONDS, is_away
from worker.reports import (
    SKIPPED_ROWS_TOLD,
    Alive,
    DataWaiting,
    Line,
    MemoryProbed,
    MemoryRecovered,
    PhaseChanged,
    Sampled,
    Saved,
    SavingPaused,
    SavingResumed,
    Started,
    SteerCommitted,
    SteerProposed,
    StepDone,
    Warned,
)
from worker.saving import write_saving

log = get_log(__name__)

FLUSH_SECONDS = 0.25
BATCH = 50
ROOM = 10_000
"""Reports that may wait for the ledger."""
APART = ("rows_digest", "row_losses", "skipped")
"""What a step reports that is kept apart from its figures."""
SPARSE = ("spelled", "by_reference", "untrained_rows", "overlong_rows", "source_skipped", "source_valid_losses")
"""Figures that are left out of a step's event where there is nothing to tell."""


class Scribe:
    """Writes one run's reports: `note` hands one over, `close` waits until all are written."""

    def __init__(self, ledger: Ledger, artifacts: Artifacts, *, job_id: str, run_id: str, fence: int,
                 ring: Callable[[str], None], clock: Clock, keep_recovery: int = checkpoints.KEEP_RECOVERY,
                 micro_batch_tokens: int = 0) -> None:
        self._ledger, self._artifacts = ledger, artifacts
        self._job_id, self._run_id, self._fence = job_id, run_id, fence
        self._ring, self._clock = ring, clock
        self._keep_recovery, self._micro_batch_tokens = keep_recovery, micro_batch_tokens
        self._answers: queue.SimpleQueue[SteerCommitted] = queue.SimpleQueue()
        self._waiting: list[Line] = []
        self._changed = threading.Condition()
        self._is_closed = False
        self._is_abandoned = threading.Event()
        self.is_lost = False
        """True once the ledger refused a write: the run holds its job no more."""
        self.fault: Exception | None = None
        """What made the scribe give up, other than a lost lease: the run cannot go on."""
        self._thread = threading.Thread(target=self._write_all, name="scribe", daemon=True)
        self._thread.start()

    @property
    def has_room(self) -> bool:
        return len(self._waiting) < ROOM

    def note(self, report: Line) -> None:
        with self._changed:
            self._waiting.append(report)
            if len(self._waiting) == 1 or self._is_due():  # the first one starts the wait for more, which is short
                self._changed.notify()

    def take_answers(self) -> list[SteerCommitted]:
        """Give the answers to proposals that were committed since the last call."""
        return [self._answers.get() for _ in range(self._answers.qsize())]

    def close(self, seconds: float | None = None) -> bool:
        """Take no more; wait until all is written, or the scribe gave up, at most so long. False while it still writes."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def abandon(self) -> None:
        """Write nothing more, not even what waits."""
        self._is_abandoned.set()
        with self._changed:
            self._changed.notify()

    def _write_all(self) -> None:
        while batch := self._take():
            name = secrets.token_hex(8)
            while not self._is_abandoned.is_set():
                try:
                    self._write(batch, name)
                    break
                except LeaseLost as lost:
                    log.warning("run.lease_lost", job_id=self._job_id, run_id=self._run_id, cause=lost.message)
                    self.is_lost = True
                    return
                except Exception as error:
                    if not is_away(error):
                        log.exception("scribe.fault", job_id=self._job_id, run_id=self._run_id)
                        self.fault = error
                        return
                    log.warning("ledger.away", job_id=self._job_id, cause=str(error), waiting=len(self._waiting))
                    self._is_abandoned.wait(REST_SECONDS)

    def _take(self) -> list[Line]:
        """Wait for reports; an empty list means that no more will come."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closed or self._is_abandoned.is_set())
            if self._waiting and not self._is_closed:
                self._changed.wait_for(self._is_due, FLUSH_SECONDS)
            if self._is_abandoned.is_set():
                return []
            batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
            return batch

    def _is_due(self) -> bool:
        return self._is_closed or len(self._waiting) >= BATCH or not isinstance(self._waiting[-1], StepDone)

    def _write(self, batch: Sequence[Line], name: str) -> None:
        saved = {id(r): self._verified_key(r) for r in batch if isinstance(r, Saved)}
        dropped: list[str] = []
        answers: list[SteerCommitted] = []
        with self._ledger.write() as session:
            job, run = claims.hold(session, self._run_id, self._fence)
            is_told = run.last_batch == name  # by a commit whose answer was lost; what is not a word knows by itself
            run.last_batch = name
            for group in runs_of_steps(batch):
                if isinstance(group, list):
                    self._write_steps(session, job, run, group)
                elif isinstance(group, SteerProposed):
                    answers.append(self._write_change(session, job, group))
                elif isinstance(group, Saved):
                    if (key := saved[id(group)]) is not None:
                        dropped = self._write_saved(session, job, run, group, key)
                elif not is_told:
                    self._write_word(session, job, run, group)
        for answer in answers:
            self._answers.put(answer)
        self._ring(self._job_id)
        free(self._ledger, self._artifacts, dropped)

    def _verified_key(self, saved: Saved) -> str | None:
        """See that a checkpoint's files are what its manifest says; give its key in the storage.

        None for a recovery point that the child has removed for newer ones meanwhile, perhaps between two of the reads: while
        the ledger is away, it keeps the last few alone."""
        folder = Path(saved.folder)
        try:
            self._artifacts.confirm(folder, saved.manifest_digest)
        except (FolderDamaged, OSError):
            if saved.checkpoint == "recovery" and not folder.exists():
                return None
            raise
        return self._artifacts.key_of(folder)

    def _write_steps(self, session: Session, job: Job, run: Run, steps: list[StepDone]) -> None:
        for step in steps:
            if step.step > job.step:  # one that the accepted history has already was told of then
                self._write_skipped(session, job, step)
        events.append_metrics(session, job, [metrics_row(s, job.total_steps) for s in steps], now=self._clock())
        lineage.record(session, job.id, [(s.step, s.rows_digest, s.row_losses) for s in steps])
        run.last_step = max(run.last_step, steps[-1].step)

    def _write_change(self, session: Session, job: Job, proposed: SteerProposed) -> SteerCommitted:
        """Let a change of the mixture hold from the step that the child proposes, before it trains that step."""
        change = steering.place(session, job, proposed.number, proposed.from_step, now=self._clock())
        if change.state != "held":
            return SteerCommitted(proposed.number, None)
        stream = steering.training_stream(session, job, artifacts=self._artifacts, micro_batch_tokens=self._micro_batch_tokens)
        return SteerCommitted(proposed.number, stream.to_json())

    def _write_saved(self, session: Session, job: Job, run: Run, saved: Saved, key: str) -> list[str]:
        now = self._clock()
        if checkpoints.is_recorded(session, run.id, key):  # by a commit whose answer was lost with the ledger
            return checkpoints.prune(session, job, keep=self._keep_recovery, now=now)
        checkpoints.record(session, job, run, step=saved.step, kind=saved.checkpoint, folder_key=key,
                           manifest_digest=saved.manifest_digest, bytes=saved.bytes, position=saved.position,
                           metrics=dict(saved.metrics), seen=saved.seen or None, now=now)
        if saved.checkpoint != "recovery":
            events.append_message(session, job, code="checkpoint.saved", message=f"Checkpoint saved at step {saved.step}",
                                  data={"step": saved.step, "kind": saved.checkpoint}, now=now)
        return checkpoints.prune(session, job, keep=self._keep_recovery, now=now)

    def _write_word(self, session: Session, job: Job, run: Run, report: Line) -> None:
        now = self._clock()
        if isinstance(report, PhaseChanged):
            job.progress = {**(job.progress or {}), "phase": report.phase}
        elif isinstance(report, Started):
            self._write_started(session, job, run, report)
        elif isinstance(report, Sampled):
            events.append_message(session, job, code="sample.generated", message=f"Sample answers at step {report.step}",
                                  data={"step": report.step, "samples": report.samples}, now=now)
        elif isinstance(report, MemoryProbed):
            self._write_probed(session, job, report)
        elif isinstance(report, MemoryRecovered):
            note_limit(job, report.limit_tokens)
            events.append_message(
                session, job, code="oom.recovered", level="warn", now=now,
                message=f"Step {report.step} ran out of memory and is repeated with the same rows in "
                        f"{report.micro_batches} micro-batches",
                data={"step": report.step, "micro_batches": report.micro_batches, "limit_tokens": report.limit_tokens})
        elif isinstance(report, Warned):
            events.append_message(session, job, code="run.warned", message=report.message, level="warn", now=now)
        elif isinstance(report, DataWaiting):
            self._write_waiting(session, job, report)
        elif isinstance(report, SavingPaused | SavingResumed):
            write_saving(session, job, report, now=now)

    def _write_probed(self, session: Session, job: Job, probed: MemoryProbed) -> None:
        note_limit(job, probed.limit_tokens)
        less = f"; a micro-batch has {probed.limit_tokens:,} tokens, not {probed.asked_tokens:,}" if probed.halvings else ""
        events.append_message(
            session, job, code="memory.probed", level="warn" if probed.halvings else "info", now=self._clock(),
            message=f"The longest rows were tried before step 1: {probed.tokens:,} tokens fit at once ({probed.room}){less}",
            data={"tokens": probed.tokens, "limit_tokens": probed.limit_tokens, "asked_tokens": probed.asked_tokens,
                  "halvings": probed.halvings, "peak_bytes": probed.peak_bytes})

    def _write_started(self, session: Session, job: Job, run: Run, started: Started) -> None:
        now = self._clock()
        run.from_step = started.from_step
        told = {"device": started.device, "dtype": started.dtype, "ranks": started.ranks, "parameters": started.parameters,
                "trainable_parameters": started.trainable_parameters, "from_step": started.from_step, "attempt": run.attempt}
        if started.from_step:
            events.append_message(session, job, code="run.restored", data=told, now=now,
                                  message=f"Training goes on from the checkpoint of step {started.from_step}")
        for warning in started.warnings:
            events.append_message(session, job, code="run.warned", message=warning, level="warn", now=now)
        job.progress = {**(job.progress or {}), **told}

    def _write_waiting(self, session: Session, job: Job, waiting: DataWaiting) -> None:
        where = f" from '{waiting.place}'" if waiting.place else ""
        events.append_message(
            session, job, code="data.waiting", level="warn", now=self._clock(),
            message=f"{waiting.share:.0%} of the time of the last {waiting.steps} steps was spent waiting for data; most of "
                    f"its loading is {waiting.cause}{where}: {waiting.remedy}",
            data={"step": waiting.step, "share": waiting.share, "steps": waiting.steps, "cause": waiting.cause,
                  "place": waiting.place or None, "stage_seconds": waiting.stage_seconds})

    def _write_skipped(self, session: Session, job: Job, done: StepDone) -> None:
        """Name the rows that a step was the first to do without, up to a bound over the whole job."""
        named = (job.progress or {}).get("skipped_named", 0)
        for number, row in enumerate(done.skipped[:SKIPPED_ROWS_TOLD - named], named + 1):
            of = f"'{row['file']}'" + (f", source '{row['source']}'," if row["file"] != row["source"] else "")
            last = " (further skipped rows are not named)" if number == SKIPPED_ROWS_TOLD else ""
            events.append_message(session, job, code="row.skipped", level="warn", now=self._clock(),
                                  message=f"Row on line {row['line']} of {of} was skipped: {row['reason']}{last}",
                                  data={"step": done.step, **row})
            job.progress = {**(job.progress or {}), "skipped_named": number}


def runs_of_steps(batch: Sequence[Line]) -> list[Line | list[StepDone]]:
    """Group neighbouring steps, which are written by one statement; all else stays single. A report of mere life is left
    out."""
    groups: list[Line | list[StepDone]] = []
    for report in batch:
        if isinstance(report, StepDone):
            if groups and isinstance(groups[-1], list):
                groups[-1].append(report)
            else:
                groups.append([report])
        elif not isinstance(report, Alive):
            groups.append(report)
    return groups


def metrics_row(step: StepDone, total_steps: int | None) -> dict[str, Any]:
    """The figures of one step as its event carries them; figures that are absent or not finite are left out."""
    told = {name: getattr(step, name) for name in step.__dataclass_fields__ if name not in APART}
    told |= {name: told[name] or None for name in SPARSE}
    told["total_steps"] = total_steps
    told["data_wait_share"] = step.data_wait_seconds / step.step_seconds if step.step_seconds > 0 else None
    told["tokens_per_second"] = step.tokens / step.step_seconds if step.step_seconds > 0 else None
    return {name: value for name, value in told.items() if value is not None and value == value and value not in _ENDLESS}


_ENDLESS = (float("inf"), float("-inf"))
