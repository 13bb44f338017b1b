import json

from typer.testing import CliRunner

from tailrace.cli.app import app


def test_without_a_loki_the_archive_is_tortured_and_every_line_is_there_once() -> None:
    done = CliRunner().invoke(app, ["torture", "--runs", "1", "--seed", "5", "--seconds", "1", "--json"])
    assert done.exit_code == 0, done.output
    assert "only the archive is tortured" in done.stderr
    outcome = json.loads(done.stdout)
    assert (outcome["archive_lost"], outcome["archive_twice"], outcome["residual"]) == (0, 0, 0)
    assert outcome["lines"] > 0


def test_no_trials_at_all_is_wrong_use() -> None:
    assert CliRunner().invoke(app, ["torture", "--runs", "0"]).exit_code == 2
