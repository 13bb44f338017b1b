"""The configs under examples/kafka are good ones, and do what their own tests say."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from tailrace.cli.app import app
from tailrace.config.load import load

FOLDER = Path(__file__).parent.parent.parent / "examples/kafka"


@pytest.mark.parametrize("name", ["agent", "aggregator", "cleaner"])
def test_an_example_is_a_good_config(name: str) -> None:
    result = CliRunner().invoke(app, ["check", "--offline", str(FOLDER / f"{name}.yaml")])
    assert result.exit_code == 0, result.output


def test_the_aggregator_s_own_tests_pass() -> None:
    assert load(FOLDER / "aggregator.yaml").tests
    result = CliRunner().invoke(app, ["test", str(FOLDER / "aggregator.yaml")])
    assert result.exit_code == 0, result.output


def test_the_config_that_compose_gives_to_each_aggregator_is_a_good_one(tmp_path: Path) -> None:
    composed = yaml.safe_load((FOLDER / "compose.yaml").read_text())
    (mounted,) = composed["services"]["aggregator"]["configs"]
    path = tmp_path / "tailrace.yaml"
    path.write_text(composed["configs"][mounted["source"]]["content"])
    result = CliRunner().invoke(app, ["check", "--offline", str(path)])
    assert result.exit_code == 0, result.output
    assert composed["services"]["aggregator"]["command"][-1] == mounted["target"]
