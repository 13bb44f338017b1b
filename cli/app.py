"""The command line put together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from .. import __version__
from .check import check
from .components import components
from .dlq import dlq
from .explain import explain
from .new import new
from .query import query
from .replay import replay
from .run import run
from .schema import schema
from .status import status
from .test import run_tests
from .torture import torture

app = typer.Typer(
    name="tailrace",
    help="Ships logs: files in, Loki, JSONL archives and Prometheus out, each record exactly once.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,  # locals may hold records and secrets
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"tailrace {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Ships logs: files in, Loki, JSONL archives and Prometheus out, each record exactly once."""


COMMANDS: dict[str, Callable[..., None]] = {
    "run": run,
    "check": check,
    "test": run_tests,  # pytest takes a function named `test` for one of its own
    "explain": explain,
    "status": status,
    "query": query,
    "replay": replay,
    "torture": torture,
    "components": components,
    "schema": schema,
}
for name, command in COMMANDS.items():
    app.command(name)(command)
app.add_typer(dlq, name="dlq")
app.add_typer(new, name="new")
