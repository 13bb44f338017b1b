from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from tailrace.cli.app import app
from tailrace.cli.convert import convert

FATEFORGER = Path(__file__).parent.parent / "convert" / "fateforger.yml"
GOOD = """\
clients: [{ url: "http://loki:3100" }]
scrape_configs:
  - job_name: web
    static_configs: [{ labels: { job: web, __path__: "@FOLDER@/*.log" } }]
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("promtail.yml").write_text(GOOD.replace("@FOLDER@", str(tmp_path)))


def run(*arguments: str) -> Result:
    alone = typer.Typer()
    alone.command()(convert)
    return CliRunner().invoke(alone, ["promtail.yml", *arguments])


def test_what_is_written_passes_the_check() -> None:
    result = run("--out", "tailrace.yaml")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == ""
    assert result.stderr.endswith("tailrace.yaml: 0 no equal, 0 dead, 1 differs\n")
    assert CliRunner().invoke(app, ["check", "tailrace.yaml", "--offline"]).exit_code == 0


def test_without_a_file_to_write_the_config_goes_to_standard_output() -> None:
    assert run().stdout.startswith("# Made of promtail.yml")


def test_what_has_no_equal_makes_the_exit_code_1() -> None:
    shutil.copy(FATEFORGER, "promtail.yml")
    result = run("--out", "tailrace.yaml")
    assert result.exit_code == 1
    assert "promtail.yml:12:5: no equal: `docker_sd_configs`" in result.stderr
    assert "promtail.yml:30:9: dead: stage `timestamp` reads `ts`, which nothing extracts" in result.stderr
    assert CliRunner().invoke(app, ["check", "tailrace.yaml", "--offline"]).exit_code == 0


def test_all_of_it_as_json() -> None:
    told = json.loads(run("--json", "--out", "tailrace.yaml").stdout)
    assert told["complete"]
    assert [config["file"] for config in told["configs"]] == ["tailrace.yaml"]
    assert [(found["kind"], found["line"]) for found in told["findings"]] == [("differs", 4)]


def test_positions_are_taken_over(tmp_path: Path) -> None:
    Path("web.log").write_text("one\ntwo\n")
    Path("positions.yaml").write_text(f'positions:\n  {tmp_path}/web.log: "4"\n')
    result = run("--positions", "positions.yaml", "--state", "kept", "--out", "tailrace.yaml")
    assert f"{tmp_path}/web.log: web goes on at 4\n" in result.stderr
    assert Path("kept/checkpoint.json").exists()
    assert "state: kept\n" in Path("tailrace.yaml").read_text()
    again = run("--positions", "positions.yaml", "--state", "kept")
    assert again.exit_code == 2
    assert "is there already" in again.stderr


def test_a_file_that_is_there_is_not_written_over() -> None:
    Path("tailrace.yaml").write_text("mine")
    assert run("--out", "tailrace.yaml").exit_code == 2
    assert Path("tailrace.yaml").read_text() == "mine"


def test_a_file_that_cannot_be_read_is_told_with_its_place() -> None:
    Path("promtail.yml").write_text("scrape_configs:\n  - a: b: c\n")
    result = run()
    assert result.exit_code == 78
    assert result.stderr.startswith("promtail.yml:2:9: error: not YAML")
