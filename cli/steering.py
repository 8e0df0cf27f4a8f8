"""`headrace jobs mixture`, `rows` and `receipt`: change what a job is trained on, and see what it was trained on."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
import typer

from cli.asking import weighted
from cli.client import Client, open_client, segment
from cli.errors import CommandRefused
from cli.output import Json, out, print_fields, print_json, print_plain, print_table, say, when
from core.errors import number_of

SHOWN_CHARACTERS = 100

JobId = Annotated[str, typer.Argument(help="Id of the job (ftjob-…).", show_default=False)]


def mixture(
    job: JobId,
    weights: Annotated[list[str] | None, typer.Option("--set", help="NAME=WEIGHT: a new weight; may come again.",
                                                      show_default=False)] = None,
    add: Annotated[list[str] | None, typer.Option("--add", help="NAME\\[@VERSION]\\[:WEIGHT] of a data set that joins.",
                                                  show_default=False)] = None,
    drop: Annotated[list[str] | None, typer.Option("--drop", help="NAME of a source to draw from no more.",
                                                   show_default=False)] = None,
    quarantine: Annotated[list[str] | None, typer.Option("--quarantine", help="NAME of a source, or NAME=ROW of a single row, "
                                                         "to keep out.", show_default=False)] = None,
    lift: Annotated[list[str] | None, typer.Option("--lift", help="NAME=ROW of a quarantined row to train on again.",
                                                   show_default=False)] = None,
    reason: Annotated[str | None, typer.Option("--reason", help="Why; kept with the change.", show_default=False)] = None,
    as_json: Json = False,
) -> None:
    """Show a job's mixture, or change it while the job waits or runs.

    \b
    Examples:
        headrace jobs mixture ftjob-…
        headrace jobs mixture ftjob-… --set wiki=0.2 --quarantine web=1841 --reason "a spike at step 300"
        headrace jobs mixture ftjob-… --lift web=1841
    """
    path = f"/fine_tuning/jobs/{segment(job)}/mixture"
    with open_client() as client:
        update = _update(client, weights=weights or [], add=add or [], drop=drop or [], quarantine=quarantine or [],
                         lift=lift or [])
        told = client.patch(path, {**update, **({"reason": reason} if reason else {})}) if update else client.get(path)
    if as_json:
        print_json(told)
    elif update:
        _tell_change(job, told)
    else:
        _show_mixture(told)


def rows(
    job: JobId,
    step: Annotated[int, typer.Argument(min=1, help="Number of the step.")],
    limit: Annotated[int, typer.Option("--limit", min=1, max=100, help="Rows at most.")] = 20,
    as_json: Json = False,
) -> None:
    """Show the rows behind a step with their losses.

    \b
    Example:
        headrace jobs rows ftjob-… 300
    """
    with open_client() as client:
        told = client.get(f"/fine_tuning/jobs/{segment(job)}/steps/{step}/rows", limit=limit)
    if as_json:
        print_json(told)
        return
    for row in told["data"]:
        loss = f"{row['loss']:7.3f}" if row["trained"] else "   hole"
        print_plain(f"{loss}  {row['source']} row {row['row']} ({row['file']}, line {row['line']}): {_excerpt(row)}")
    rows = f"{len(told['data'])} of {told['slots']} rows" if told["has_more"] else number_of(len(told["data"]), "row")
    say(f"[dim]{rows}; {_verdict(told)}[/dim]")


def receipt(
    job: JobId,
    checkpoint: Annotated[str | None, typer.Argument(help="Id of the checkpoint (ftckpt_…); the newest when absent.",
                                                     show_default=False)] = None,
    as_json: Json = False,
) -> None:
    """Tell which data a checkpoint has seen."""
    with open_client() as client:
        found = checkpoint or _newest(client, job)
        told = client.get(f"/fine_tuning/jobs/{segment(job)}/checkpoints/{segment(found)}/receipt")
    if as_json:
        print_json(told)
        return
    print_fields([("checkpoint", told["checkpoint_id"]), ("step", f"{told['step']} of {told['total_steps']}"),
                  ("base model", f"{told['base_model']['name']} ({told['base_model']['digest']})"), ("seed", told["seed"]),
                  ("order", told["order_digest"]), ("mixture", told["mixture_digest"])])
    print_table(("source", "version", "rows drawn", "epochs", "tokens", "trained", "digest"), [
        (s["source"], s["version"], s["rows_drawn"], _number(s["epochs"]), s["tokens"], s["trained_tokens"],
         (s["digest"] or "")[:16]) for s in told["sources"]], empty="no source")
    for entry in told["mixture"]:
        print_plain(f"from step {entry['from_step']}: " + _weights(entry["weights"]))


def _update(client: Client, *, weights: list[str], add: list[str], drop: list[str], quarantine: list[str],
            lift: list[str]) -> dict[str, Any]:
    single = [text for text in quarantine if "=" in text]
    update: dict[str, Any] = {
        "weights": dict(_pair(text, "--set", float) for text in weights),
        "add": [weighted(client, text, option="--add") for text in add],
        "drop": drop,
        "quarantine": {"sources": [text for text in quarantine if "=" not in text],
                       "rows": [_row(text, "--quarantine") for text in single]},
        "lift": {"rows": [_row(text, "--lift") for text in lift]},
    }
    asked = {"weights": weights, "add": add, "drop": drop, "quarantine": quarantine, "lift": lift}
    return {name: value for name, value in update.items() if asked[name]}


def _row(text: str, option: str) -> dict[str, Any]:
    source, row = _pair(text, option, int)
    return {"source": source, "row": row}


def _pair(text: str, option: str, read: type[float] | type[int]) -> tuple[str, float]:
    name, _, value = text.rpartition("=")
    try:
        return name, read(value)
    except ValueError:
        raise CommandRefused(f"{option} is {text!r}; NAME=NUMBER was expected, such as wiki=3") from None


def _tell_change(job: str, told: dict[str, Any]) -> None:
    if told["status"] == "held":
        say(f"change {told['number']} holds from step {told['from_step']}")
    else:
        say(f"change {told['number']} is {told['status']}; the run says soon from which step it holds: "
            f"headrace jobs mixture {job}")


def _show_mixture(told: dict[str, Any]) -> None:
    print_table(("source", "version", "rows", "weight", "share", "status"), [
        (s["source"], s["version"], s["rows"], f"{s['weight']:g}", f"{s['share']:.1%}", s["status"]) for s in told["sources"]],
        empty="no source")
    for change in told["changes"]:
        step = f"from step {change['from_step']}" if change["from_step"] else change["status"]
        out().print(f"[dim]{change['number']}[/dim]  {step}  {when(change['created_at'])}  {_summary(change)}", soft_wrap=True)


def _summary(change: dict[str, Any]) -> str:
    said = [_weights(change["weights"])] if change["weights"] else []
    said += [f"{what} {', '.join(change[what])}" for what in ("added", "dropped", "quarantined") if change[what]]
    said += [f"{how}: " + ", ".join(f"{row['source']}={row['row']}" for row in change[rows][:5])
             for how, rows in (("rows out", "quarantined_rows"), ("rows in again", "lifted_rows")) if change[rows]]
    return "; ".join([*said, *([change["reason"]] if change["reason"] else [])])


def _weights(weights: dict[str, float]) -> str:
    return ", ".join(f"{name} {weight:g}" for name, weight in weights.items())


def _excerpt(row: dict[str, Any]) -> str:
    text = row["error"] or orjson.dumps(row["content"]).decode()
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


def _verdict(told: dict[str, Any]) -> str:
    if told["verified"] is None:
        return "too large to be checked against their digest"
    if not told["verified"]:
        return "NOT those that were trained on: the data changed since"
    return "those that were trained on, by their digest"


def _newest(client: Client, job: str) -> str:
    found = next(client.pages(f"/fine_tuning/jobs/{segment(job)}/checkpoints", limit=1), None)
    if found is None:
        raise CommandRefused(f"job {job} has no checkpoint yet; wait for the end of an epoch")
    return found["id"]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
