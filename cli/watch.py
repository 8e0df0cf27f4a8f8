"""`headrace watch`: a job's log as it is written, from its event stream.

On a terminal: what happens, line by line, above one bar with loss, tokens per second and the time left. Elsewhere: plain lines,
one for each message and, every few seconds, one for the newest step. With `--json`: each event on a line, as the API gives it.
The stream is opened again behind the last event after a broken connection, so nothing is missed and nothing comes twice.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

from cli.client import Client, open_client, segment
from cli.errors import JOB_FAILED
from cli.output import Json, duration, out, print_json, print_plain

PLAIN_EVERY_SECONDS = 5.0
PACE_STEPS = 20
"""The time left is reckoned from the pace of so many last steps."""
LEVELS = {"warn": "yellow", "error": "red"}


def watch(
    job: Annotated[str, typer.Argument(help="Id of the job (ftjob-…).")],
    as_json: Json = False,
) -> None:
    """Follow a job until it ends. Exit code 0 when it succeeded, 1 when it failed or was cancelled.

    \b
    Example:
        headrace watch ftjob-…
    """
    with open_client() as client:
        raise typer.Exit(follow(client, job, as_json=as_json))


def follow(client: Client, job_id: str, *, as_json: bool) -> int:
    """Show a job's log to its end and give the exit code."""
    job = client.get(f"/fine_tuning/jobs/{segment(job_id)}")
    show_events(client.events(job["id"]), as_json=as_json)
    job = client.get(f"/fine_tuning/jobs/{segment(job_id)}")
    if not as_json:
        _say_end(job)
    return 0 if job["status"] == "succeeded" else JOB_FAILED


def show_events(events: Iterable[dict[str, Any]], *, as_json: bool = False,
                told: Callable[[dict[str, Any]], None] = lambda _: None) -> None:
    """Show events until they end; `told` hears each of them as well."""
    if as_json:
        show: Any = _Lines(print_json)
    else:
        show = _Bar() if out().is_terminal else _Lines(_Plain())
    with show:
        for event in events:
            told(event)
            show.take(event)


class Pace:
    """The time left, from the wall seconds of the last steps: `step_seconds` alone would leave out evaluations and saving."""

    def __init__(self) -> None:
        self._seen: deque[tuple[int, float]] = deque(maxlen=PACE_STEPS)

    def note(self, step: int, at: float) -> None:
        if self._seen and step <= self._seen[-1][0]:
            self._seen.clear()
        self._seen.append((step, at))

    def seconds_left(self, total_steps: int) -> float | None:
        if len(self._seen) < 2:
            return None
        (first, began), (last, ended) = self._seen[0], self._seen[-1]
        return (total_steps - last) * max(0.0, ended - began) / (last - first)


def describe_message(event: dict[str, Any]) -> str:
    """One line for a message event; samples take a line each."""
    data = event.get("data") or {}
    if data.get("code") == "sample.generated":
        where = "before training" if data.get("step") == 0 else f"after step {data.get('step')}"
        return "\n".join([f"answers {where}:", *(f"  {s['prompt']}\n    → {s['answer']}" for s in data.get("samples", []))])
    return str(event["message"])


def describe_step(data: dict[str, Any], left: float | None = None) -> str:
    """The figures of a step in one line."""
    parts = [f"step {data['step']}/{data.get('total_steps') or '?'}", f"loss {data['train_loss']:.3f}"]
    held_out = data.get("full_valid_loss") if data.get("full_valid_loss") is not None else data.get("valid_loss")
    if held_out is not None:
        parts.append(f"held-out loss {held_out:.3f}")
    if data.get("tokens_per_second"):
        parts.append(f"{data['tokens_per_second']:.0f} tokens/s")
    if left is not None:
        parts.append(f"{duration(left)} left")
    return "  ".join(parts)


class _Lines:
    """Gives each event to a function, with nothing to open or close."""

    def __init__(self, take: Callable[[dict[str, Any]], None]) -> None:
        self.take = take

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class _Plain:
    """Messages at once; of the steps the first, the last, those with a held-out loss, and one every few seconds."""

    def __init__(self) -> None:
        self._pace = Pace()
        self._said_at = float("-inf")

    def __call__(self, event: dict[str, Any]) -> None:
        if event["type"] != "metrics":
            print_plain(describe_message(event))
            return
        data, now = event["data"], time.monotonic()
        self._pace.note(data["step"], now)
        is_marked = data["step"] in (1, data.get("total_steps")) or data.get("full_valid_loss") is not None
        if is_marked or now - self._said_at >= PLAIN_EVERY_SECONDS:
            self._said_at = now
            print_plain(describe_step(data, self._pace.seconds_left(data.get("total_steps") or data["step"])))


class _Bar:
    """Messages scroll by above one bar."""

    def __init__(self) -> None:
        self._pace = Pace()
        self._held_out: float | None = None
        self._progress = Progress(
            SpinnerColumn(), TextColumn("[bold]{task.fields[phase]}"), BarColumn(bar_width=28), MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"), console=out(), refresh_per_second=8,
        )
        self._task = self._progress.add_task("", total=None, phase="waiting", figures="")

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def take(self, event: dict[str, Any]) -> None:
        if event["type"] == "metrics":
            self._step(event["data"])
            return
        colour = LEVELS.get(event.get("level", "info"))
        text = escape(describe_message(event))
        self._progress.console.print(f"[{colour}]{text}[/{colour}]" if colour else f"[dim]·[/dim] {text}", soft_wrap=True)
        data = event.get("data") or {}
        if data.get("code") in PHASES:
            self._progress.update(self._task, phase=PHASES[data["code"]], total=data.get("total_steps"))

    def _step(self, data: dict[str, Any]) -> None:
        self._pace.note(data["step"], time.monotonic())
        found = data.get("full_valid_loss", data.get("valid_loss"))
        self._held_out = found if found is not None else self._held_out
        left = self._pace.seconds_left(data.get("total_steps") or data["step"])
        figures = describe_step({**data, "full_valid_loss": self._held_out}, left).partition("  ")[2]
        self._progress.update(self._task, completed=data["step"], total=data.get("total_steps"), phase="training",
                              figures=figures)


PHASES = {
    "job.created": "checking data", "job.validating": "checking data", "job.queued": "queued", "run.started": "loading",
    "run.restored": "restoring", "run.interrupted": "waiting", "run.handed_back": "waiting", "job.succeeded": "done",
    "job.failed": "failed", "job.cancelled": "cancelled",
}
"""What the bar says after an event, until the next."""


def _say_end(job: dict[str, Any]) -> None:
    if job["status"] == "succeeded":
        model = escape(str(job["fine_tuned_model"]))
        out().print(f"[green]succeeded[/green]: {model}\n  headrace models download {model} ./adapter", soft_wrap=True)
        return
    error = job.get("error") or {}
    reason = f": {error['message']}" if error.get("message") else ""
    out().print(f"[red]{job['status']}[/red]{escape(reason)}\n  headrace logs {job['id']}", soft_wrap=True)
