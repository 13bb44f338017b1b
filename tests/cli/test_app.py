import subprocess
import sys

import pytest
from typer.testing import CliRunner

import tailrace
from tailrace.cli.app import COMMANDS, app


def test_the_version_is_printed() -> None:
    done = CliRunner().invoke(app, ["--version"])
    assert done.exit_code == 0
    assert done.output.strip() == f"tailrace {tailrace.__version__}"


def test_help_names_every_command() -> None:
    done = CliRunner().invoke(app, ["--help"])
    assert done.exit_code == 0
    assert [command for command in COMMANDS if f"│ {command} " not in done.output] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_says_what_it_does(command: str) -> None:
    done = CliRunner().invoke(app, [command, "--help"])
    assert done.exit_code == 0
    assert done.output.lstrip().startswith(f"Usage: tailrace {command} ")
    assert "--install-completion" not in done.output


def test_a_command_does_without_the_files_of_the_others() -> None:
    code = """
import sys
from tailrace.cli.app import app
try:
    app(["schema"], prog_name="tailrace")
except SystemExit:
    pass
print([name for name in sys.modules if name in {"tailrace.cli.replay", "tailrace.cli.new"}])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_misspelt_command_is_told_what_would_do() -> None:
    done = CliRunner().invoke(app, ["querry"])
    assert done.exit_code == 2
    assert "Did you mean 'query'" in done.output


def test_wrong_use_exits_with_2() -> None:
    assert CliRunner().invoke(app, ["rnu"]).exit_code == 2
    assert CliRunner().invoke(app, ["run", "--onec"]).exit_code == 2
