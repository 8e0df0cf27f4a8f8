"""What a row looks like → one canonical value: a chat, a prompt with its completion, a text, or a preference pair.

    chat                 {"messages": [{"role", "content", "tool_calls"…}], "tools"}
    prompt_completion    {"prompt": "…", "completion": "…"}
    text                 {"text": "…"}
    preference           {"messages": […], "chosen": […], "rejected": […]}, or three texts

Rows of a file have one shape, which is found by the first of them (`find_shape`) or said by the user (`read_columns`,
`candidates`). A row of the ordinary form passes a handful of cheap comparisons; only one that fails them is walked through by
the rules that explain. The rooms behind this one know canonical values alone.
"""

from core.data.shapes.columns import Columns, read_columns
from core.data.shapes.faults import RowFault, kind_of, names_of
from core.data.shapes.finding import MOST_TRIED, candidates, find_shape, open_shape, unknown_shape
from core.data.shapes.preference import sides_of
from core.data.shapes.shape import ASKED, SHAPES, RowShape, ShapeName

__all__ = [
    "ASKED", "MOST_TRIED", "SHAPES", "Columns", "RowFault", "RowShape", "ShapeName", "candidates", "find_shape", "kind_of",
    "names_of", "open_shape", "read_columns", "sides_of", "unknown_shape",
]
