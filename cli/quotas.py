"""`headrace projects quota` and `headrace keys quota`: see and set what a project or a key may use, in the ledger itself."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy.orm import Session

from cli.errors import CommandRefused
from cli.home import Home, open_ledger, settings_for
from cli.output import Json, print_json, print_table
from core.clock import system_clock
from core.errors import NotFound, shown
from core.projects.repository import find_project, keys_named
from core.quotas.limits import NAMES, Rules
from core.quotas.service import Subject, limits_of, set_limits, subjects_of, used

NUMBER = re.compile(r"(?P<digits>[0-9]{1,15}(\.[0-9]{1,6})?)(?P<unit>[a-zA-Z]*)")
UNITS: dict[str, dict[str, float]] = {
    "device_seconds": {"": 1, "s": 1, "h": 3600, "d": 86400},
    "stored_bytes": {"": 1, "B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12},
}
WORDS = "a number, 'none' for no limit, or 'default'"

Running = Annotated[str | None, typer.Option("--running-jobs", help=f"Jobs that may run at once: {WORDS}.", show_default=False)]
Queued = Annotated[str | None, typer.Option("--queued-jobs", help="Jobs that may wait.", show_default=False)]
Seconds = Annotated[str | None, typer.Option("--device-seconds", help="Device-seconds in a period (10h is 36000).",
                                             show_default=False)]
Bytes = Annotated[str | None, typer.Option("--stored-bytes", help="Bytes of files and checkpoints (such as 50GB).",
                                           show_default=False)]


def project_quota(
    project: Annotated[str, typer.Argument(help="Name of the project.", show_default=False)],
    running_jobs: Running = None, queued_jobs: Queued = None, device_seconds: Seconds = None, stored_bytes: Bytes = None,
    home: Home = None, as_json: Json = False,
) -> None:
    """See a project's quotas, or change those that are named. 'default' takes the settings' limit again.

    \b
    Examples:
        headrace projects quota acme
        headrace projects quota acme --running-jobs 2 --device-seconds 100h --stored-bytes none
    """
    asked = {"running_jobs": running_jobs, "queued_jobs": queued_jobs, "device_seconds": device_seconds,
             "stored_bytes": stored_bytes}
    _quota(lambda session: _project(session, project), asked, home, as_json=as_json)


def key_quota(
    key: Annotated[str, typer.Argument(help="Id or name of the key.", show_default=False)],
    running_jobs: Running = None, queued_jobs: Queued = None, device_seconds: Seconds = None, stored_bytes: Bytes = None,
    home: Home = None, as_json: Json = False,
) -> None:
    """See the quotas of one key, or change those that are named. They hold beside those of its project.

    \b
    Example:
        headrace keys quota laptop --running-jobs 1 --queued-jobs 20
    """
    asked = {"running_jobs": running_jobs, "queued_jobs": queued_jobs, "device_seconds": device_seconds,
             "stored_bytes": stored_bytes}
    _quota(lambda session: _key(session, key), asked, home, as_json=as_json)


def _quota(find: Callable[[Session], Subject], asked: dict[str, str | None], home: Path | None, *, as_json: bool) -> None:
    settings = settings_for(home)
    rules, now = Rules.of(settings), system_clock()
    told = {name: text for name, text in asked.items() if text is not None}
    changes = {name: _limit(name, text) for name, text in told.items() if text != "default"}
    dropped = frozenset(told.keys() - changes.keys())
    with open_ledger(settings) as ledger, ledger.write() as session:
        subject = find(session)
        if told:
            set_limits(session, subject.key_id or subject.project_id, changes, dropped=dropped)
        limits = limits_of(session, subject, rules)
        shown_now = {name: {"used": used(session, subject, name, rules=rules, now=now), "limit": getattr(limits, name)}
                     for name in NAMES}
    if as_json:
        print_json({"id": subject.key_id or subject.project_id, "name": subject.key_name or subject.project_name,
                    "period": rules.period, "quotas": shown_now})
        return
    rows = [(name.replace("_", " "), f"{each['used']:,}", "no limit" if each["limit"] is None else f"{each['limit']:,}")
            for name, each in shown_now.items()]
    print_table((subject.words, "used", "limit"), rows, empty="")


def _project(session: Session, name: str) -> Subject:
    project = find_project(session, name)
    if project is None:
        raise NotFound(f"no project {shown(name)}; see `headrace projects list`, or make one with a key by "
                       "`headrace keys create NAME --project P`")
    return Subject(project.id, project.name)


def _key(session: Session, key_id_or_name: str) -> Subject:
    found = keys_named(session, key_id_or_name)
    if len(found) != 1:
        told = "no key in use is" if not found else f"{len(found)} keys are"
        raise NotFound(f"{told} {shown(key_id_or_name)}; name one by its id, see `headrace keys list`")
    if found[0].project_id is None:
        raise CommandRefused(f"key {shown(key_id_or_name)} is an admin key, which submits nothing; name a project's key")
    return list(subjects_of(session, found[0].project_id, found[0].id))[1]


def _limit(name: str, text: str) -> int | None:
    """Read a number with its unit, or none."""
    if text == "none":
        return None
    units, match = UNITS.get(name, {"": 1}), NUMBER.fullmatch(text)
    factors = {unit.casefold(): factor for unit, factor in units.items()}
    if match is None or match["unit"].casefold() not in factors or (len(units) == 1 and "." in text):
        known = ", ".join(unit for unit in units if unit)
        raise CommandRefused(f"--{name.replace('_', '-')} is {shown(text)}; {WORDS} was expected"
                             + (f" (units: {known})" if known else ""))
    return round(float(match["digits"]) * factors[match["unit"].casefold()])
