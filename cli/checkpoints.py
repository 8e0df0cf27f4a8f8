"""`headrace jobs checkpoints JOB`: list them; `… pin`, `unpin` and `delete` one of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from cli.client import Client, open_client, segment
from cli.output import Json, print_json, print_table, say, size

JobId = Annotated[str, typer.Argument(help="Id of the job (ftjob-…).", show_default=False)]
Action = Literal["list", "pin", "unpin", "delete"]


def checkpoints(
    job: JobId,
    action: Annotated[Action, typer.Argument(help="What to do: list, or pin, unpin or delete one.")] = "list",
    checkpoint: Annotated[str | None, typer.Argument(help="Id of the checkpoint (ftckpt_…), or its step.",
                                                     show_default=False)] = None,
    as_json: Json = False,
) -> None:
    """List a job's checkpoints, newest first; pin one so that it stays, unpin it, or delete it."""
    path = f"/fine_tuning/jobs/{segment(job)}/checkpoints"
    if (action == "list") != (checkpoint is None):
        raise typer.BadParameter("list takes none" if action == "list" else f"name the checkpoint to {action}: its id or step",
                                 param_hint="CHECKPOINT")
    with open_client() as client:
        if checkpoint is None:
            return _list(list(client.pages(path)), as_json=as_json)
        return _change(client, path, action, _id_of(client, path, checkpoint), as_json=as_json)


def _list(found: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        return print_json(found)
    rows = [(c["step_number"], _number(c["metrics"].get("train_loss")), _number(c["metrics"].get("full_valid_loss")),
             size(c["bytes"]), "pinned" if c["pinned"] else "", c["id"], c["fine_tuned_model_checkpoint"]) for c in found]
    return print_table(("step", "loss", "held-out loss", "size", "", "id", "model"), rows, empty="no checkpoints yet")


def _change(client: Client, path: str, action: Action, checkpoint: str, *, as_json: bool) -> None:
    own = f"{path}/{segment(checkpoint)}"
    told = client.delete(own) if action == "delete" else client.post(f"{own}/{action}")
    if as_json:
        return print_json(told)
    done = {"pin": "stays until it is unpinned", "unpin": "goes when its turn comes", "delete": "is deleted"}[action]
    return say(f"{told['id']} {done}")


def _id_of(client: Client, path: str, named: str) -> str:
    """A checkpoint may be named by its step; an id, or a step that none has, is passed on as it stands."""
    if not named.isdecimal():
        return named
    return next((c["id"] for c in client.pages(path) if c["step_number"] == int(named)), named)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
