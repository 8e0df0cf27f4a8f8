"""`headrace`: the command line. Each noun has a file; this one lists them and ends a command that was refused.

`serve`, `api`, `worker`, `migrate`, `keys`, `projects`, `models add|list|remove` and `doctor` work on the server's machine;
all others speak HTTP with HEADRACE_API_URL and HEADRACE_API_KEY.
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from cli import datasets, files, jobs, keys, models, projects, queue, serve, webhooks
from cli.demo import demo
from cli.doctor import doctor
from cli.errors import REFUSED, ServerAway
from cli.estimate import estimate
from cli.output import err
from cli.submit import submit
from cli.watch import watch
from core.errors import HeadraceError

app = typer.Typer(
    name="headrace", no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Headrace: a self-hosted fine-tuning server, and its client.\n\n"
         "Start a server with [bold]headrace serve[/bold], or see the whole of it with [bold]headrace demo[/bold].",
)

SERVER = "On the server's machine"
CLIENT = "Over HTTP (HEADRACE_API_URL, HEADRACE_API_KEY)"


def _version(is_asked: bool) -> None:
    if is_asked:
        sys.stdout.write(f"headrace {version('headrace')}\n")
        raise typer.Exit


@app.callback()
def root(
    is_version_asked: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True,
                                                   help="Show the version.")] = False,
) -> None:
    pass


app.command("demo", rich_help_panel=SERVER)(demo)
app.command("serve", rich_help_panel=SERVER)(serve.serve)
app.command("api", rich_help_panel=SERVER)(serve.api)
app.command("worker", rich_help_panel=SERVER)(serve.worker)
app.command("migrate", rich_help_panel=SERVER)(serve.migrate_command)
app.command("doctor", rich_help_panel=SERVER)(doctor)
app.add_typer(keys.app, name="keys", rich_help_panel=SERVER)
app.add_typer(projects.app, name="projects", rich_help_panel=SERVER)
app.add_typer(models.app, name="models", rich_help_panel=SERVER)
app.command("submit", rich_help_panel=CLIENT)(submit)
app.command("estimate", rich_help_panel=CLIENT)(estimate)
app.command("watch", rich_help_panel=CLIENT)(watch)
app.add_typer(jobs.app, name="jobs", rich_help_panel=CLIENT)
app.command("logs", rich_help_panel=CLIENT)(jobs.logs)
app.command("queue", rich_help_panel=CLIENT)(queue.queue)
app.command("workers", rich_help_panel=CLIENT)(queue.workers)
app.command("usage", rich_help_panel=CLIENT)(queue.usage)
app.add_typer(datasets.app, name="datasets", rich_help_panel=CLIENT)
app.add_typer(files.app, name="files", rich_help_panel=CLIENT)
app.add_typer(webhooks.app, name="webhooks", rich_help_panel=CLIENT)


def main() -> None:
    """Run a command; a refusal is one line on standard error and exit code 2, an absent server exit code 1."""
    try:
        app()
    except HeadraceError as error:
        err().print(f"headrace: {error.message}", markup=False, soft_wrap=True, style="red")
        sys.exit(1 if isinstance(error, ServerAway) else REFUSED)


if __name__ == "__main__":
    main()
