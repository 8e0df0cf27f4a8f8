"""What was found in all shards of a source, as one report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from core.data.index.checking import FAULTS_SHOWN
from core.data.index.dataset import DatasetIndex
from core.data.index.duplicates import DuplicateCount, Duplicates
from core.data.index.report import Fault, IndexReport, LengthCount
from core.errors import DataError, shown


def merge_reports(names: Sequence[str], index: DatasetIndex, *, digest: str) -> IndexReport:
    """Join the reports of shards, which have names; `digest` is that of the whole. Raise DataError when their rows are not of
    one format."""
    reports = [shard.report for shard in index.shards]
    _check_formats(names, reports)
    lengths = LengthCount()
    for report in reports:
        lengths.merge(report.lengths)
    converted = [report.converted_bytes for report in reports if report.converted_bytes is not None]
    counts = sum((Counter(report.fault_counts) for report in reports), Counter())
    told = next((report for report in reports if report.shape), reports[0])
    return replace(
        told, rows=index.rows, faulty=len(index.faulty), blank_lines=sum(report.blank_lines for report in reports),
        bytes=sum(report.bytes for report in reports), sha256=digest, faults=_faults(names, reports), fault_counts=dict(counts),
        lengths=replace(lengths.statistics(), buckets=()), duplicates=_duplicates(index), header=(),
        is_whole=all(report.is_whole for report in reports), file_bytes=sum(report.file_bytes for report in reports),
        converted_bytes=sum(converted) if converted else None, seconds=round(sum(report.seconds for report in reports), 3))


def _check_formats(names: Sequence[str], reports: Sequence[IndexReport]) -> None:
    found: dict[str, str] = {}
    for name, report in zip(names, reports, strict=True):
        if report.format is not None:
            found.setdefault(report.format, name)
    if len(found) > 1:
        told = ", ".join(f"{shown(name)} holds {row_format} rows" for row_format, name in found.items())
        raise DataError(f"its files hold rows of different formats: {told}; register each kind under a name of its own and mix "
                        "them in the job", code="mixed_formats")


def _faults(names: Sequence[str], reports: Sequence[IndexReport]) -> tuple[Fault, ...]:
    """The first faults of each file in turn, with the file's name."""
    told = [replace(fault, file=name, message=f"{name}, {fault.message}" if fault.line else f"{name}: {fault.message}")
            for name, report in zip(names, reports, strict=True) for fault in report.faults]
    return tuple(told[:FAULTS_SHOWN])


def _duplicates(index: DatasetIndex) -> Duplicates:
    if len(index.shards) == 1:
        return index.shards[0].report.duplicates
    count = DuplicateCount()
    count.merge(DuplicateCount.from_array(shard.contents) for shard in index.shards)
    return count.result()
