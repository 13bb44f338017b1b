import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tailrace.cli.app import app
from tailrace.torture.trial import Outcome, Plan, Target

RUN = ["torture", "--seed", "4", "--runs", "2", "--seconds", "1"]


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[int, float, Target | None]]:
    """What was tried; nothing is really tortured, and what seed 5 does is not exact."""
    trials: list[tuple[int, float, Target | None]] = []

    async def trial(seed: int, seconds: float, folder: Path, loki: Target | None) -> Outcome:
        trials.append((seed, seconds, loki))
        counted = None if loki is None else 0
        return Outcome(
            Plan.of(seed), lines=9, archive_lost=seed == 5, counted_too_many=counted, problems=["oh"] * (seed == 5)
        )

    monkeypatch.setattr("tailrace.torture.trial.trial", trial)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    return trials


def test_each_seed_is_tried_and_a_loss_is_told(tried: list[object], tmp_path: Path) -> None:
    done = CliRunner().invoke(app, RUN)
    assert tried == [(4, 1.0, None), (5, 1.0, None)]
    assert done.exit_code == 1
    assert "no --loki: only the archive is tortured" in done.stderr
    assert "seed 4: exact" in done.stderr
    assert "seed 5: NOT EXACT" in done.stderr
    assert "exact: 1 of 2 trials; not: seed 5" in done.stdout
    (kept,) = tmp_path.iterdir()
    assert str(kept) in done.stderr


def test_all_exact_is_0_and_leaves_nothing_behind(tried: list[object], tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["torture", "--seed", "1", "--runs", "3"])
    assert done.exit_code == 0
    assert len(tried) == 3
    assert list(tmp_path.iterdir()) == []


def test_a_loki_is_passed_on_with_its_tenant(tried: list[tuple[int, float, Target | None]]) -> None:
    done = CliRunner().invoke(
        app, ["torture", "--runs", "1", "--seed", "1", "--loki", "http://127.0.0.1:9/", "--tenant", "me"]
    )
    assert done.exit_code == 0
    assert tried[0][2] == Target("http://127.0.0.1:9", "me")
    assert "no --loki" not in done.stderr


def test_json_is_a_line_for_each_trial(tried: list[object]) -> None:
    done = CliRunner().invoke(app, [*RUN, "--json"])
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(one["plan"]["seed"], one["archive_lost"]) for one in told] == [(4, 0), (5, 1)]


def test_no_trials_at_all_is_wrong_use() -> None:
    assert CliRunner().invoke(app, ["torture", "--runs", "0"]).exit_code == 2


def test_without_a_loki_the_archive_is_tortured_and_every_line_is_there_once() -> None:
    done = CliRunner().invoke(app, ["torture", "--runs", "1", "--seed", "5", "--seconds", "1", "--json"])
    assert done.exit_code == 0, done.output
    outcome = json.loads(done.stdout)
    assert (outcome["archive_lost"], outcome["archive_twice"], outcome["residual"]) == (0, 0, 0)
    assert outcome["lines"] > 0
