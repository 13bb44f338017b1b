"""The command line put together."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from .. import __version__

COMMANDS = {
    "run": "run",
    "check": "check",
    "test": "run_tests",  # pytest takes a function named `test` for one of its own
    "explain": "explain",
    "status": "status",
    "top": "top",
    "tap": "tap",
    "why": "why",
    "query": "query",
    "sessions": "sessions",
    "events": "events",
    "llm": "llm",
    "patcher": "patcher",
    "errors": "errors",
    "trace": "trace",
    "mcp": "mcp",
    "replay": "replay",
    "torture": "torture",
    "components": "components",
    "schema": "schema",
    "dlq": "dlq",
    "new": "new",
    "convert": "convert",
}
"""What each command is called in the file of its name."""

_LOOK: dict[str, Any] = {
    "rich_markup_mode": "rich",
    "no_args_is_help": True,
    "pretty_exceptions_show_locals": False,  # locals may hold records and secrets
}


class _Commands(TyperGroup):
    """Commands that are imported when they are called: to have them all takes longer than to start shipping."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = dict.fromkeys(COMMANDS)  # type: ignore[assignment]  # their names, for the list and for typos

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command, None where there is none."""
        if cmd_name not in COMMANDS:
            return None
        found = getattr(import_module(f".{cmd_name}", __package__), COMMANDS[cmd_name])
        if isinstance(found, typer.Typer):
            return typer.main.get_group(found)
        alone = typer.Typer(add_completion=False, **_LOOK)
        alone.command(cmd_name)(found)
        return typer.main.get_command(alone)


app = typer.Typer(
    name="tailrace",
    cls=_Commands,
    help="Ships logs: files in, Loki, JSONL archives and Prometheus out, each record exactly once.",
    **_LOOK,
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
