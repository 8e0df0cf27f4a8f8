"""What is known of files of rows after one pass over each: a path comes in, a `ShardIndex` goes out.

`build_index` reads a file once, checks every row and notes where it starts; `ShardIndex` maps what was noted, and
`DatasetIndex` puts the shards of a source behind one face. Beside them stand the
rules for a row (`parse_row`), which the reading room applies again, and `scan_offsets`, the pass without the checks.
"""

from core.data.index.build import build_index, index_file
from core.data.index.dataset import DatasetIndex
from core.data.index.decoding import Layout
from core.data.index.duplicates import Duplicates
from core.data.index.lines import scan_offsets
from core.data.index.longest import longest_rows
from core.data.index.merging import merge_reports
from core.data.index.opened import ShardIndex
from core.data.index.report import Fault, IndexReport, LengthStatistics
from core.data.index.rules import RowFault, parse_object, parse_row

__all__ = [
    "DatasetIndex", "Duplicates", "Fault", "IndexReport", "Layout", "LengthStatistics", "RowFault", "ShardIndex", "build_index",
    "index_file", "longest_rows", "merge_reports", "parse_object", "parse_row", "scan_offsets",
]
