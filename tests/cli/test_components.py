from __future__ import annotations

import typer
from typer.testing import CliRunner

from tailrace.cli.components import components
from tailrace.config.reference import reference


def test_the_reference_is_printed_as_it_is() -> None:
    app = typer.Typer()
    app.command()(components)
    result = CliRunner().invoke(app, [])
    assert (result.exit_code, result.stdout, result.stderr) == (0, reference(), "")
