"""`headrace projects`: see and set the shares of projects and the priorities that they may ask for, in the ledger itself."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.home import Home, open_ledger, settings_for
from cli.output import Json, print_json, print_table, say
from cli.quotas import project_quota
from core.clock import system_clock
from core.projects import service
from core.projects.models import Project
from core.projects.usage import recent_use
from core.scheduling.policy import Policy

app = typer.Typer(no_args_is_help=True, help="Projects: list, set their shares and quotas (on the server's machine).")


@app.command("list")
def list_(home: Home = None, as_json: Json = False) -> None:
    """List the projects: weight, highest priority, recent device-seconds."""
    settings = settings_for(home)
    half_life = Policy.of(settings).half_life_seconds
    with open_ledger(settings) as ledger, ledger.read() as session:
        used = recent_use(session, now=system_clock(), half_life_seconds=half_life)
        told = [_shape(project, used.get(project.id, 0.0)) for project in service.list_projects(session)]
    if as_json:
        print_json(told)
        return
    columns = ("name", "weight", "max_priority", "recent_device_seconds", "id")
    print_table([column.replace("_", " ") for column in columns], [[each[column] for column in columns] for each in told],
                empty="no projects yet; make one with a key: headrace keys create NAME --project P")


@app.command("set")
def set_(
    name: Annotated[str, typer.Argument(help="Name of the project.", show_default=False)],
    weight: Annotated[float | None, typer.Option("--weight", help="Its shares: one of 2 gets twice the devices of one of 1.",
                                                 show_default=False)] = None,
    max_priority: Annotated[int | None, typer.Option("--max-priority", help="Highest priority of its jobs, -100 to 100.",
                                                     show_default=False)] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Set a project's shares and the highest priority that its jobs may ask for; it holds from the next decision on.

    \b
    Examples:
        headrace projects set research --weight 3
        headrace projects set students --max-priority 0
    """
    with open_ledger(settings_for(home)) as ledger, ledger.write() as session:
        project = service.set_share(session, name, weight=weight, max_priority=max_priority)
        told = _shape(project, None)
    if as_json:
        print_json(told)
        return
    say(f"project {told['name']}: weight {told['weight']:g}, priorities up to {told['max_priority']}")


app.command("quota")(project_quota)


def _shape(project: Project, recent: float | None) -> dict[str, object]:
    told: dict[str, object] = {"id": project.id, "name": project.name, "weight": project.weight,
                               "max_priority": project.max_priority}
    return told if recent is None else {**told, "recent_device_seconds": round(recent)}
