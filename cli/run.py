"""`tailrace run`: ship."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def run(
    config: Annotated[Path, typer.Argument(help="The config file.")] = Path("tailrace.yaml"),
    once: Annotated[bool, typer.Option("--once", help="Read what is there, deliver it all, and end.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Do not try endpoints, folders and ports first.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more on stderr.")] = False,
) -> None:
    """Ship records from the sources through the stages to the sinks, until stopped.

    SIGTERM or Ctrl-C delivers what was read and ends; a second one leaves at once, and nothing is lost either way.

    Example: tailrace run tailrace.yaml --once
    """
    import logging

    from ..pipeline.log import to_stderr
    from ._ship import ship

    to_stderr(logging.DEBUG if verbose else logging.INFO)
    raise typer.Exit(ship(config, once=once, offline=offline))
