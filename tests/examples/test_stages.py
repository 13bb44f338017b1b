"""The stages under examples/ do what their configs' tests say, and what every stage must."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from tailrace.cli.app import app
from tailrace.config.load import load
from tailrace.pipeline import discover
from tailrace.pipeline.component import Stage
from tailrace.testing import batch_of, run_stage, ship

ROOT = Path(__file__).parent.parent.parent
CONFIGS = sorted((ROOT / "examples/stages").glob("*.yaml"))


@pytest.fixture(autouse=True)
def _started_in_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def of_configs() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)


def test_every_example_stage_has_its_config() -> None:
    assert [path.stem for path in CONFIGS] == sorted(path.stem for path in (ROOT / "examples/stages").glob("*.py"))
    assert len(CONFIGS) >= 3


@of_configs()
def test_an_example_is_a_good_config_whose_tests_pass(path: Path) -> None:
    for command in (["check", "--offline"], ["test"]):
        result = CliRunner().invoke(app, [*command, str(path)])
        assert result.exit_code == 0, result.output


@of_configs()
def test_an_example_fails_when_its_stage_does_nothing(path: Path) -> None:
    """Its tests test the stage."""
    config = load(path, secrets=False)
    (own,) = [stage for stage in config.stages if stage.word() == path.stem]
    shipped = [ship(config, case.data) for case in config.tests]
    config.stages.remove(own)
    assert [ship(config, case.data) for case in config.tests] != shipped


def test_turns_are_counted_on_in_the_next_chunk_and_sessions_are_forgotten_in_the_end() -> None:
    cls = discover.custom(ROOT / "examples/stages/number_turns.py")
    stage = msgspec.convert({"max_sessions": 2}, cls)
    assert isinstance(stage, Stage)
    state: dict[str, Any] = {}
    turns = []
    for session in "ababcca":
        batch = run_stage(stage, batch_of({"event": "turn_start", "session_key": session}, state=state))
        turns += [record.fields["turn"] for record in batch.records]
    assert turns == [1, 1, 2, 2, 1, 2, 1]


@pytest.mark.parametrize(
    ("name", "options"),
    [("token_cost", "prices: { a: { prompt: -1, completion: 1 } }"), ("sample", "match: '{a=\"b\"}', one_in: 1")],
)
def test_wrong_options_of_an_example_are_refused(name: str, options: str, tmp_path: Path) -> None:
    path = tmp_path / "tailrace.yaml"
    path.write_text(
        f"stage_files: [examples/stages/{name}.py]\n"
        "sources: { in: { use: stdin } }\n"
        f"stages: [ {{ use: parse }}, {{ use: {name}, {options} }} ]\n"
        "sinks: { out: { use: stdout } }\n"
    )
    result = CliRunner().invoke(app, ["check", "--offline", str(path)])
    assert (result.exit_code, "tailrace.yaml:3:" in result.stderr) == (78, True)
