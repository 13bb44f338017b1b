"""`tailrace mcp`: lets agents ask, and nothing else."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def mcp(
    config: Annotated[Path, typer.Argument(help="What may be asked, and within which bounds.")] = Path("mcp.yaml"),
    check: Annotated[bool, typer.Option("--check", help="Only say whether the config is right (78: no).")] = False,
) -> None:
    """Serve logs, archives, Loki and Prometheus to agents by the Model Context Protocol: they can ask, never change.

    Over stdio to the program that starts it, or over HTTP when the config says so. Needs `tailrace[mcp]`.

    Example: tailrace mcp mcp.yaml --check
    """
    from ..config.mcp import load_mcp
    from ..config.problem import EXIT_CODE, ConfigError
    from .check import show

    try:
        loaded = load_mcp(config)
    except ConfigError as error:
        show(error.problems, sys.stderr)
        raise typer.Exit(EXIT_CODE) from None
    if check:
        way = f"http://{loaded.http.listen}/mcp" if loaded.http else "stdio"
        typer.echo(f"{config}: ok: {way}; tools {', '.join(loaded.offered())}", err=True)
        return
    import logging

    from ..pipeline.log import to_stderr

    to_stderr(logging.INFO)
    try:
        from ..query.mcp.serve import serve
    except ImportError as error:
        typer.echo(f"tailrace mcp: needs the MCP SDK: pip install 'tailrace[mcp]' ({error.name} is missing)", err=True)
        raise typer.Exit(1) from None
    try:
        serve(loaded)
    except OSError as error:
        typer.echo(f"tailrace mcp: {error}", err=True)
        raise typer.Exit(1) from None
