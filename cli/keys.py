"""`headrace keys`: make, list and revoke API keys, in the ledger itself; their quotas are in quotas.py."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.home import Home, open_ledger, settings_for
from cli.output import Json, print_json, print_plain, print_table, say
from cli.quotas import key_quota
from core.clock import system_clock
from core.projects import service
from core.projects.models import ApiKey, Project

app = typer.Typer(no_args_is_help=True, help="API keys: create, list, revoke, quota (on the server's machine).")


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="What the key is for, or whose it is.")],
    project: Annotated[str, typer.Option("--project", help="Project that it works in; made if it is not there.")] = "default",
    admin: Annotated[bool, typer.Option("--admin", help="A key of the operator's, of no project.")] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Make a key and print it, once: only its digest is kept.

    \b
    Example:
        export HEADRACE_API_KEY=$(headrace keys create laptop)
    """
    with open_ledger(settings_for(home)) as ledger, ledger.write() as session:
        key, secret = service.create_key(session, name=name, project=None if admin else project, is_admin=admin,
                                         now=system_clock())
        told = {**_shape(key, {key.project_id or "": project}), "key": secret}
    print_json(told) if as_json else print_plain(secret)


@app.command("list")
def list_(home: Home = None, as_json: Json = False) -> None:
    """List the keys: the first characters of each, never the rest."""
    with open_ledger(settings_for(home)) as ledger, ledger.read() as session:
        names = {project.id: project.name for project in session.query(Project)}
        keys = [_shape(key, names) for key in service.list_keys(session)]
    if as_json:
        print_json(keys)
        return
    columns = ("id", "name", "prefix", "project", "created_at", "last_used_at", "state")
    rows = [[key[c] for c in columns[:-1]] + ["revoked" if key["revoked_at"] else "in use"] for key in keys]
    print_table([c.replace("_at", "").replace("_", " ") for c in columns], rows,
                empty="no keys yet; make one: headrace keys create NAME")


@app.command("revoke")
def revoke(
    key: Annotated[str, typer.Argument(help="Id or name of the key.")],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """End a key at once; requests with it are answered 401 from then on."""
    with open_ledger(settings_for(home)) as ledger, ledger.write() as session:
        ended = service.revoke_key(session, key, now=system_clock())
        told = _shape(ended, {})
    print_json(told) if as_json else say(f"key {told['id']} ({told['name']}) is revoked")


app.command("quota")(key_quota)


def _shape(key: ApiKey, projects: dict[str, str]) -> dict[str, object]:
    def stamp(moment):
        return moment.strftime("%Y-%m-%d %H:%M:%S") if moment else None

    return {
        "id": key.id, "name": key.name, "prefix": key.prefix, "is_admin": key.is_admin,
        "project": "(admin)" if key.is_admin else projects.get(key.project_id or "", key.project_id),
        "created_at": stamp(key.created_at), "last_used_at": stamp(key.last_used_at), "revoked_at": stamp(key.revoked_at),
    }
