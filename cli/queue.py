"""`headrace queue`, `headrace workers`, `headrace usage`: how the devices are shared, as the server tells it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Annotated, Any

import typer
from rich.markup import escape

from cli.client import open_client
from cli.output import Json, duration, print_json, print_table, say, size
from core.errors import number_of

Limit = Annotated[int, typer.Option("--limit", min=1, help="Jobs at most, the next one first.")]
BYTES = "stored_bytes"


def queue(limit: Limit = 50, as_json: Json = False) -> None:
    """Show your jobs that wait: place, why, and when they are likely to start. With an admin key: all jobs.

    \b
    Example:
        headrace queue
    """
    with open_client() as client:
        entries = list(client.pages("/queue", limit=limit))
        told = client.get("/queue", limit=1)
    if as_json:
        print_json({**told, "data": entries})
        return
    now = time.time()
    rows = [("–" if entry["position"] is None else entry["position"], entry["id"], entry["model"], entry["priority"],
             _start(entry, now), duration(entry["estimated_seconds"]), entry["reason"]["message"]) for entry in entries]
    print_table(("place", "job", "model", "priority", "starts", "runs", "why it waits"), rows, empty="no job of yours waits")
    waiting, running = number_of(told["waiting"], "job waits", "jobs wait"), number_of(told["running"], "runs", "run")
    say(f"[dim]{waiting} and {running}, of all projects; {_record(told['forecast_error'])}[/dim]")


def workers(as_json: Json = False) -> None:
    """Show the workers: whether they live, their devices, and what those hold."""
    with open_client() as client:
        told = client.get("/workers")
    if as_json:
        print_json(told["data"])
        return
    now = time.time()
    rows = [(worker["host"], worker["queue"], worker["health"], f"{duration(max(0, now - worker['seen_at']))} ago",
             _works(worker), worker["id"]) for worker in told["data"]]
    print_table(("host", "queue", "health", "seen", "works on", "id"), rows,
                empty="no worker is there; start one: headrace serve")
    for line in refusals(told["data"]):
        say(f"[yellow]{escape(line)}[/yellow]")
    devices = {device["id"]: (worker["host"], device) for worker in told["data"] for device in worker["devices"]}
    if devices:
        print_table(("host", "device", "name", "memory", "holds"), [
            (host, f"{device['kind']}:{device['ordinal']}", device["name"], size(device["memory_bytes"]), _holds(device))
            for host, device in devices.values()], empty="")


def usage(as_json: Json = False) -> None:
    """Show what your project uses of its quotas, and each of its keys. With an admin key: every project."""
    with open_client() as client:
        told = client.get("/usage")
    if as_json:
        print_json(told["data"])
        return
    rows = []
    for project in told["data"]:
        rows.append((project["name"], *(_part(name, of) for name, of in project["quotas"].items())))
        rows += [(f"  key {key['name']}", *(_part(name, of) for name, of in key["quotas"].items())) for key in project["keys"]]
    names = told["data"][0]["quotas"] if told["data"] else ()
    print_table(("project", *(name.replace("_", " ") for name in names)), rows, empty="no projects yet")
    for period in [project["period"] for project in told["data"]][:1]:
        left = duration(period["ends_at"] - time.time())
        say(f"[dim]device-seconds are of this {period['name']}, which ends in {left}[/dim]")


def refusals(workers: Iterable[dict[str, Any]]) -> list[str]:
    """Say of each host why workers of it take no job, each cause once."""
    causes = dict.fromkeys((worker["host"], worker["refusal"]) for worker in workers if worker["refusal"])
    return [f"{host} takes no job: {cause}" for host, cause in causes]


def _start(entry: dict[str, Any], now: float) -> str:
    if entry["estimated_start"] is None:
        return "unknown"
    wait = entry["estimated_start"] - now
    return "now" if wait < 2 else f"in {duration(wait)}"


def _record(errors: dict[str, dict[str, Any]]) -> str:
    """Say how wrong forecasts were."""
    names = {"start": "foretold starts", "finish": "foretold ends"}
    said = [f"{names[what]} were wrong by {of['median']:.0%}, one in ten by over {of['p90']:.0%} (the last {of['count']})"
            for what, of in errors.items() if of["count"]]
    return "; ".join(said) or "no forecast was measured yet"


def _works(worker: dict[str, Any]) -> str:
    if worker["queue"] != "train":
        return "upkeep"
    return worker["job_id"] or ("a job of another project" if worker["is_busy"] else "nothing")


def _holds(device: dict[str, Any]) -> str:
    return "free" if device["status"] == "free" else device["job_id"] or "a job of another project"


def _part(name: str, of: dict[str, Any]) -> str:
    show = (lambda count: size(count) or "0 B") if name == BYTES else (lambda count: f"{count:,}")
    return show(of["used"]) if of["limit"] is None else f"{show(of['used'])} of {show(of['limit'])}"
