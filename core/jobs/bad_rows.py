"""How many rows at fault a job may do without: what its options allow, less what is known to be faulty already."""

from __future__ import annotations

from collections.abc import Sequence

from core.datasets.faults import first_faults
from core.datasets.models import DatasetVersion
from core.errors import DataError, number_of
from core.specs.job import TrainingOptions


def most_bad_rows(options: TrainingOptions, rows: int) -> int | None:
    """The smaller of both limits, as a number of rows; None when there is none."""
    limits = [options.max_bad_rows, int(options.max_bad_share * rows) if options.max_bad_share is not None else None]
    return min((limit for limit in limits if limit is not None), default=None)


def bad_rows_left(options: TrainingOptions, versions: Sequence[DatasetVersion]) -> int | None:
    """How many more rows may be found faulty while training; raise DataError when too many are known already."""
    rows = sum(version.rows or 0 for version in versions)
    faulty = sum(version.faulty_rows or 0 for version in versions)
    most = most_bad_rows(options, rows)
    if most is None or faulty <= most:
        return None if most is None else most - faulty
    worst = max(versions, key=lambda version: version.faulty_rows or 0)
    raise DataError(f"{faulty:,} of {number_of(rows, 'row is', 'rows are')} faulty, and options.max_bad_rows and "
                    f"options.max_bad_share allow {most:,}: {first_faults(worst.report)}; correct the rows, or allow more",
                    code="too_many_bad_rows",
                    param="options.max_bad_rows" if options.max_bad_rows == most else "options.max_bad_share")
