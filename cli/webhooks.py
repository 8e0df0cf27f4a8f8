"""`headrace webhooks`: addresses that are told how jobs ended."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.client import open_client, segment
from cli.output import Json, print_fields, print_json, print_table, say, when

app = typer.Typer(no_args_is_help=True, help="Webhooks: addresses that are told how jobs ended.")

ENDPOINTS = "/webhook_endpoints"
ENDS = ("succeeded", "failed", "cancelled")
Endpoint = Annotated[str, typer.Argument(help="Id of the endpoint (we_…).")]


@app.command("create")
def create(
    url: Annotated[str, typer.Argument(help="https:// address of the receiver.")],
    name: Annotated[str, typer.Option("--name", help="What to call it.")] = "webhook",
    on: Annotated[list[str] | None, typer.Option("--on", help="An end to be told of: succeeded, failed or cancelled; several "
                                                              "times for several. All of them when absent.")] = None,
    as_json: Json = False,
) -> None:
    """Create an endpoint, and print the secret that its deliveries are signed with, once.

    \b
    Example:
        headrace webhooks create https://hooks.example.com/headrace --name pipeline
    """
    body = {"name": name, "url": url, "event_types": [f"fine_tuning.job.{end}" for end in on or ENDS]}
    with open_client() as client:
        told = client.post(ENDPOINTS, body)
    print_json(told) if as_json else print_fields([
        ("id", told["id"]), ("url", told["url"]), ("told of", _ends(told)), ("secret", told["signing_secret"]),
    ])


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many to show, newest first.")] = 50,
    as_json: Json = False,
) -> None:
    """List endpoints, newest first."""
    with open_client() as client:
        endpoints = list(client.pages(ENDPOINTS, limit=limit))
    if as_json:
        print_json(endpoints)
        return
    rows = [(e["id"], e["name"], e["url"], _ends(e), when(e["created_at"])) for e in endpoints]
    print_table(("id", "name", "url", "told of", "created"), rows,
                empty="no webhooks; create one: headrace webhooks create URL")


@app.command("test")
def send_sample(
    endpoint: Endpoint,
    on: Annotated[str, typer.Option("--on", help="succeeded, failed or cancelled.")] = "succeeded",
    as_json: Json = False,
) -> None:
    """Send a sample event now, and tell what the endpoint answered."""
    with open_client() as client:
        told = client.post(f"{ENDPOINTS}/{segment(endpoint)}/test", {"event_type": f"fine_tuning.job.{on}"})
    print_json(told) if as_json else say(f"{endpoint} answered {told['status_code']}")


@app.command("deliveries")
def deliveries(
    endpoint: Endpoint,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many to show, newest first.")] = 50,
    as_json: Json = False,
) -> None:
    """List what an endpoint was told and is to be told, newest first."""
    with open_client() as client:
        told = list(client.pages(f"{ENDPOINTS}/{segment(endpoint)}/deliveries", limit=limit))
    if as_json:
        print_json(told)
        return
    rows = [(d["event_id"], d["event_type"].rpartition(".")[2], d["status"], d["attempts"], d["last_error"],
             when(d["created_at"]), when(d["next_attempt_at"])) for d in told]
    print_table(("event", "end", "status", "tries", "why not", "happened", "next try"), rows, empty="nothing to tell yet")


@app.command("delete")
def delete(endpoint: Endpoint, as_json: Json = False) -> None:
    """Delete an endpoint, with all that waits for it."""
    with open_client() as client:
        told = client.delete(f"{ENDPOINTS}/{segment(endpoint)}")
    print_json(told) if as_json else say(f"{endpoint} is deleted")


def _ends(endpoint: dict[str, Any]) -> str:
    return ", ".join(event_type.rpartition(".")[2] for event_type in endpoint["event_types"])
