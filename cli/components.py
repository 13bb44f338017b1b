"""`tailrace components`: the reference of every source, stage and sink."""

from __future__ import annotations

import typer


def components() -> None:
    """Print the reference of every source, stage and sink in Markdown.

    Example: tailrace components | less
    """
    from ..config.reference import reference

    typer.echo(reference(), nl=False)
