"""Runs the commands about an agent's logs as a user does: on the real command line, in a folder of such logs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from tailrace.cli.app import app

from ..query import agent_logs

__all__ = ["agent_logs", "rows", "run"]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)), env={"COLUMNS": "300"})


def rows(folder: Path, *arguments: object) -> list[dict[str, Any]]:
    """What a command says of the logs in a folder."""
    logs = folder / "logs"
    if not logs.exists():
        agent_logs.write(logs)
    result = run(*arguments, "--path", logs)
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout_bytes.splitlines()]
