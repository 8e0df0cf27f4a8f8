"""`headrace`: the command line. Each noun has a file; this one lists them and ends a command that was refused.

`serve`, `api`, `worker`, `migrate`, `keys`, `projects`, `models add|list|remove` and `doctor` work on the server's machine;
all others speak HTTP with HEADRACE_API_URL and HEADRACE_API_KEY.
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from cli.errors import REFUSED, ServerAway
from cli.lazy import Command, group_of
from cli.output import err
from core.errors import HeadraceError

SERVER = "On the server's machine"
CLIENT = "Over HTTP (HEADRACE_API_URL, HEADRACE_API_KEY)"
COMMANDS = {
    "demo": Command("cli.demo", "demo", SERVER),
    "serve": Command("cli.serve", "serve", SERVER),
    "api": Command("cli.serve", "api", SERVER),
    "worker": Command("cli.serve", "worker", SERVER),
    "migrate": Command("cli.serve", "migrate_command", SERVER),
    "doctor": Command("cli.doctor", "doctor", SERVER),
    "keys": Command("cli.keys", "app", SERVER),
    "projects": Command("cli.projects", "app", SERVER),
    "models": Command("cli.models", "app", SERVER),
    "submit": Command("cli.submit", "submit", CLIENT),
    "estimate": Command("cli.estimate", "estimate", CLIENT),
    "watch": Command("cli.watch", "watch", CLIENT),
    "jobs": Command("cli.jobs", "app", CLIENT),
    "logs": Command("cli.jobs", "logs", CLIENT),
    "queue": Command("cli.queue", "queue", CLIENT),
    "workers": Command("cli.queue", "workers", CLIENT),
    "usage": Command("cli.queue", "usage", CLIENT),
    "datasets": Command("cli.datasets", "app", CLIENT),
    "files": Command("cli.files", "app", CLIENT),
    "webhooks": Command("cli.webhooks", "app", CLIENT),
}

app = typer.Typer(
    name="headrace", cls=group_of(COMMANDS), no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Headrace: a self-hosted fine-tuning server, and its client.\n\n"
         "Start a server with [bold]headrace serve[/bold], or see the whole of it with [bold]headrace demo[/bold].",
)


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


def main() -> None:
    """Run a command; a refusal is one line on standard error and exit code 2, an absent server exit code 1."""
    try:
        app()
    except HeadraceError as error:
        err().print(f"headrace: {error.message}", markup=False, soft_wrap=True, style="red")
        sys.exit(1 if isinstance(error, ServerAway) else REFUSED)


if __name__ == "__main__":
    main()
