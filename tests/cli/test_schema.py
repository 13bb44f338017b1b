from __future__ import annotations

import json

import typer
from typer.testing import CliRunner

from tailrace.cli.schema import schema


def test_the_schema_is_printed_as_json() -> None:
    app = typer.Typer()
    app.command()(schema)
    result = CliRunner().invoke(app, [])
    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout)["title"] == "tailrace"
