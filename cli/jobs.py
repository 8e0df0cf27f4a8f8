"""`headrace jobs`: list, show, cancel, pause, resume, events (more in checkpoints.py, steering.py); `headrace logs`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli import checkpoints, steering
from cli.client import open_client, segment
from cli.output import Json, duration, out, print_fields, print_json, print_plain, print_table, say, when
from cli.watch import describe_message, describe_step

app = typer.Typer(no_args_is_help=True, help="Fine-tuning jobs: list, show, cancel, pause, resume, events, "
                   "checkpoints, mixture, rows, receipt.")

JobId = Annotated[str, typer.Argument(help="Id of the job (ftjob-…).", show_default=False)]
COLOURS = {"succeeded": "green", "failed": "red", "cancelled": "yellow", "running": "cyan", "pausing": "yellow",
           "paused": "yellow"}


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many to show, newest first.")] = 20,
    as_json: Json = False,
) -> None:
    """List jobs, newest first."""
    with open_client() as client:
        jobs = list(client.pages("/fine_tuning/jobs", limit=limit))
    if as_json:
        print_json(jobs)
        return
    rows = [(job["id"], job["status"], job["model"], _progress(job), when(job["created_at"]), job.get("fine_tuned_model"))
            for job in jobs]
    print_table(("id", "status", "model", "progress", "created", "fine-tuned model"), rows,
                empty="no jobs; submit one: headrace submit FILE --model NAME")


@app.command("show")
def show(job: JobId, as_json: Json = False) -> None:
    """Show one job: what was asked, where it stands, what came of it."""
    with open_client() as client:
        told = client.get(f"/fine_tuning/jobs/{segment(job)}")
    if as_json:
        print_json(told)
        return
    colour = COLOURS.get(told["status"], "bold")
    out().print(f"[{colour}]{told['status']}[/{colour}]  {told['id']}", soft_wrap=True)
    error = told.get("error") or {}
    trained_on = told.get("training_file") or ", ".join(d["dataset"] for d in told.get("datasets") or [])
    print_fields([
        ("error", error.get("message")), ("base model", told["model"]), ("trained on", trained_on),
        ("held out", told.get("validation_file") or told.get("validation_split")), ("progress", _progress(told)),
        ("too long", _overlong(told)), ("skipped", _skipped(told)),
        ("phase", (told.get("progress") or {}).get("phase") if told["status"] == "running" else None),
        ("epochs", told["hyperparameters"].get("n_epochs")), ("batch size", told["hyperparameters"].get("batch_size")),
        ("seed", told["seed"]), ("created", when(told["created_at"])), ("finished", when(told["finished_at"])),
        ("time left", _left(told)), ("trained tokens", told.get("trained_tokens")), ("model", told.get("fine_tuned_model")),
        ("result file", ", ".join(told.get("result_files") or []) or None),
    ])


@app.command("cancel")
def cancel(job: JobId, as_json: Json = False) -> None:
    """Cancel a job; one that runs stops within seconds."""
    with open_client() as client:
        told = client.post(f"/fine_tuning/jobs/{segment(job)}/cancel")
    if as_json:
        print_json(told)
    else:
        say(f"{told['id']} is {'cancelled' if told['status'] == 'cancelled' else 'being cancelled'}")


@app.command("pause")
def pause(job: JobId, as_json: Json = False) -> None:
    """Pause a job; one that runs saves its last step and lets its device go, within seconds.

    \b
    Example:
        headrace jobs pause ftjob-… && headrace jobs resume ftjob-…
    """
    with open_client() as client:
        told = client.post(f"/fine_tuning/jobs/{segment(job)}/pause")
    if as_json:
        print_json(told)
    else:
        say(f"{told['id']} is {'paused' if told['status'] == 'paused' else 'being paused'}; go on with: "
            f"headrace jobs resume {told['id']}")


@app.command("resume")
def resume(job: JobId, as_json: Json = False) -> None:
    """Let a paused job go on from its last step, at the place in the queue that it had."""
    with open_client() as client:
        told = client.post(f"/fine_tuning/jobs/{segment(job)}/resume")
    if as_json:
        print_json(told)
    else:
        say(f"{told['id']} is {told['status']}")


@app.command("events")
def events(
    job: JobId,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many to show; the newest ones.")] = 50,
    as_json: Json = False,
) -> None:
    """Show the newest events of a job, oldest of them first."""
    with open_client() as client:
        found = list(client.pages(f"/fine_tuning/jobs/{segment(job)}/events", limit=limit))[::-1]
    if as_json:
        print_json(found)
        return
    for event in found:
        text = describe_step(event["data"]) if event["type"] == "metrics" else describe_message(event)
        print_plain(f"{when(event['created_at'])}  {event['level']:<5}  {text}")


app.command("checkpoints")(checkpoints.checkpoints)
app.command("mixture")(steering.mixture)
app.command("rows")(steering.rows)
app.command("receipt")(steering.receipt)


def logs(job: JobId, as_json: Json = False) -> None:
    """Print what the job's runs wrote to their log."""
    with open_client() as client:
        text = client.text(f"/fine_tuning/jobs/{segment(job)}/logs")
    if as_json:
        print_json({"job": job, "text": text})
    elif text:
        print_plain(text.rstrip("\n"))
    else:
        say("nothing was written yet")


def _overlong(job: dict[str, Any]) -> str | None:
    told = (job.get("progress") or {}).get("overlong") or {}
    return ", ".join(f"{rows:,} {how}" for how, rows in sorted(told.items())) or None


def _skipped(job: dict[str, Any]) -> str | None:
    """Rows that training does without, of each source that has any."""
    progress = job.get("progress") or {}
    said = [f"{source['skipped_rows']:,} of {source['source']}" for source in progress.get("sources") or []
            if source.get("skipped_rows")]
    said += [f"{progress['untrained_rows']:,} with nothing to train on"] if progress.get("untrained_rows") else []
    return ", ".join(said) or None


def _progress(job: dict[str, Any]) -> str | None:
    progress = job.get("progress") or {}
    if not progress.get("total_steps"):
        return None
    loss = f", loss {progress['train_loss']:.3f}" if progress.get("train_loss") is not None else ""
    return f"{progress.get('step') or 0}/{progress['total_steps']}{loss}"


def _left(job: dict[str, Any]) -> str | None:
    eta = (job.get("progress") or {}).get("eta_seconds")
    return duration(eta) if eta is not None and job["status"] == "running" else None
