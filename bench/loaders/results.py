"""results.json of the loaders: rows known by system, metric and case; a new measurement takes the old one's place.

So the runs of several programs, hours apart, fill one file, and what was measured is kept as it comes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson

ROOT = Path(__file__).resolve().parents[2]
RESULTS = Path(__file__).resolve().parent / "results.json"


def row(system: str, metric: str, case: str, value: float, unit: str, *, runs: int) -> dict[str, Any]:
    return {"system": system, "metric": metric, "case": case, "value": round(value, 4), "unit": unit, "runs": runs}


def keep(rows: Iterable[dict[str, Any]], *, path: Path = RESULTS) -> None:
    """Add rows to the file, or put them in the place of those with the same system, metric and case."""
    told = orjson.loads(path.read_bytes()) if path.exists() else {"rows": []}
    kept = {_key(each): each for each in told["rows"]}
    for each in rows:
        kept[_key(each)] = each
        print(f"{each['system'][:34]:34} {each['metric']:24} {each['case'][:80]:80} {each['value']:>16,.2f} {each['unit']}",
              flush=True)
    command = " ".join(["python", *(_told(part) for part in sys.argv)])
    commands = [each for each in told.get("command", "").split(" && ") if each and each != command]
    told = {"commit": _commit(), "machine": machine(), "command": " && ".join([*commands, command]),
            "rows": sorted(kept.values(), key=_key)}
    part = path.with_suffix(".part")
    part.write_bytes(orjson.dumps(told, option=orjson.OPT_INDENT_2) + b"\n")
    part.replace(path)


def read(path: Path = RESULTS) -> dict[tuple[str, str, str], dict[str, Any]]:
    return {_key(each): each for each in orjson.loads(path.read_bytes())["rows"]}


def machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    name = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "unknown processor")
    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (f"{os.cpu_count()} cores of {name}, {size:.0f} GiB, Python {sys.version.split()[0]}, load "
            f"{os.getloadavg()[1]:.1f} at the end")


def _key(each: dict[str, Any]) -> tuple[str, str, str]:
    return each["system"], each["metric"], each["case"]


def _told(part: str) -> str:
    """An argument as others would write it: paths from the repository's root."""
    path = Path(part)
    return str(path.resolve().relative_to(ROOT)) if path.is_absolute() and path.resolve().is_relative_to(ROOT) else part


def _commit() -> str:
    return subprocess.run(["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()
