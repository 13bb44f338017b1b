from typer.testing import CliRunner

import tailrace
from tailrace.cli.app import app


def test_the_version_is_printed() -> None:
    done = CliRunner().invoke(app, ["--version"])
    assert done.exit_code == 0
    assert done.output.strip() == f"tailrace {tailrace.__version__}"


def test_help_names_every_command() -> None:
    done = CliRunner().invoke(app, ["--help"])
    assert done.exit_code == 0
    for command in ("run", "check", "test", "explain", "new", "status", "dlq", "query", "components", "schema"):
        assert command in done.output


def test_wrong_use_exits_with_2() -> None:
    assert CliRunner().invoke(app, ["rnu"]).exit_code == 2
    assert CliRunner().invoke(app, ["run", "--onec"]).exit_code == 2
