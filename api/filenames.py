"""Names of uploaded files, as they are kept and shown: never a path, never what a terminal or a header would act on."""

from __future__ import annotations

LONGEST_NAME = 255
LONGEST_EXTENSION = 16
WITHOUT_NAME = "upload"


def plain_name(told: str) -> str:
    """Keep the last part of a path, without control characters, cut to its longest; `upload` when nothing is left."""
    last = _unescape(told).replace("\\", "/").rpartition("/")[2]
    name = _cut("".join(c for c in last if c.isprintable()).strip())
    return name if name not in ("", ".", "..") else WITHOUT_NAME


def _unescape(name: str) -> str:
    """Undo how HTML forms, and the clients that follow them, write a name's quotes and line ends."""
    return name.replace("%22", '"').replace("%0D", "\r").replace("%0A", "\n")


def _cut(name: str) -> str:
    """Cut a name to its longest, keeping a short extension."""
    if len(name) <= LONGEST_NAME:
        return name
    stem, dot, extension = name.rpartition(".")
    if not stem or len(extension) > LONGEST_EXTENSION:
        return name[:LONGEST_NAME]
    return stem[: LONGEST_NAME - len(extension) - 1] + dot + extension
