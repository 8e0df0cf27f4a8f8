"""What is known of a file of rows after one pass over it: a path comes in, a `DatasetIndex` goes out.

`build_index` reads the file once, checks every row and notes where it starts; `DatasetIndex` maps what was noted. Beside
the two stand the rules for a row (`parse_row`), which the reading room applies again, and `scan_offsets`, the pass
without the checks.
"""

from core.data.index.build import build_index
from core.data.index.lines import scan_offsets
from core.data.index.opened import DatasetIndex
from core.data.index.report import Fault, IndexReport, LengthStatistics
from core.data.index.rules import Layout, RowFault, parse_row

__all__ = [
    "DatasetIndex", "Fault", "IndexReport", "Layout", "LengthStatistics", "RowFault", "build_index", "parse_row",
    "scan_offsets",
]
