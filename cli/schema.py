"""`tailrace schema`: the JSON Schema of a config, for editors."""

from __future__ import annotations

import json

import typer


def schema() -> None:
    """Print the JSON Schema of a config: your editor completes and checks with it.

    Example: tailrace schema > tailrace.schema.json
    """
    from ..config.schema import schema as made

    typer.echo(json.dumps(made(), indent=2, ensure_ascii=False))
