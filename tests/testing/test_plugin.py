"""The pytest plugin, in a pytest of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFIG = """\
sources: { in: { use: stdin } }
stages:
  - { use: parse }
  - { use: redact }
sinks: { out: { use: stdout } }
tests:
  - name: a password does not leave
    in: password=hunter2
    out: { out: ['password=[REDACTED:key-name]'] }
  - name: this one is wrong
    in: password=hunter2
    out: { out: [password=hunter2] }
"""


def run(folder: Path, *arguments: str) -> tuple[int, str]:
    """Exit code and output of pytest with this plugin alone."""
    command = [sys.executable, "-m", "pytest", "-p", "tailrace.testing.plugin", "-p", "no:cacheprovider"]
    answer = subprocess.run(
        [*command, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "NO_COLOR": "1", "COLUMNS": "100"},
    )
    return answer.returncode, answer.stdout + answer.stderr


def test_the_tests_of_a_config_are_tests_of_pytests(tmp_path: Path) -> None:
    (tmp_path / "tailrace.yaml").write_text(CONFIG)
    code, told = run(tmp_path, "-v")
    assert code == 1
    assert "tailrace.yaml::a password does not leave PASSED" in told
    assert "tailrace.yaml::this one is wrong FAILED" in told
    assert "tailrace.yaml:10: this one is wrong\n    out, record 1, line\n      - password=hunter2\n" in told
    assert "      + password=[REDACTED:key-name]\n" in told
    assert "Traceback" not in told


def test_one_of_them_can_be_chosen(tmp_path: Path) -> None:
    (tmp_path / "tailrace.yaml").write_text(CONFIG)
    code, told = run(tmp_path, "-k", "password")
    assert (code, "1 passed, 1 deselected" in told) == (0, True)


def test_a_wrong_config_is_told_as_by_the_check(tmp_path: Path) -> None:
    (tmp_path / "tailrace.yaml").write_text(CONFIG.replace("use: redact", "use: redcat"))
    code, told = run(tmp_path)
    assert code == 2
    assert "tailrace.yaml:4:12: error: no stage 'redcat'" in told
    assert "did you mean 'redact'?" in told


@pytest.mark.parametrize(
    ("name", "text", "options", "collected"),
    [
        ("app.tailrace.yaml", CONFIG, (), True),
        ("tailrace-b.yaml", CONFIG, (), True),
        ("app.yaml", CONFIG, (), False),
        ("app.yaml", CONFIG, ("app.yaml",), True),
        ("app.yaml", CONFIG, ("-o", "tailrace_files=app.*"), True),
        ("tailrace.yaml", CONFIG.partition("tests:")[0], (), False),
        ("tailrace.yaml", "tests: nothing of ours\n: : :", ("--ignore=tailrace.yaml",), False),
        ("tailrace.txt", CONFIG, (), False),
    ],
)
def test_only_configs_with_tests_are_looked_into(
    tmp_path: Path, name: str, text: str, options: tuple[str, ...], collected: bool
) -> None:
    (tmp_path / name).write_text(text)
    code, told = run(tmp_path, "--collect-only", "-q", *options)
    assert ("a password does not leave" in told, code) == (collected, 0 if collected else 5), told


def test_the_fixtures_ship_lines_and_run_stages(tmp_path: Path) -> None:
    (tmp_path / "tailrace.yaml").write_text(CONFIG.partition("tests:")[0])
    (tmp_path / "test_mine.py").write_text(
        """
from tailrace.stages.rename import Rename

def test_ship(ship):
    shipped = ship("tailrace.yaml", ["password=hunter2", b"x"])
    assert shipped.lines("out") == ["password=[REDACTED:key-name]", "x"]

def test_run_stage(run_stage):
    batch = run_stage(Rename(fields={"a": "b"}), {"a": 1}, {"c": 2})
    assert [record.fields for record in batch.records] == [{"b": 1}, {"c": 2}]
    again = run_stage(Rename(fields={"b": "c"}), batch)
    assert again.records[0].fields == {"c": 1}
    assert run_stage(Rename(fields={"b": "c"}), b"text").records[0].line == b"text"
"""
    )
    code, told = run(tmp_path, "-q")
    assert (code, "2 passed" in told) == (0, True), told


def test_nothing_heavy_is_imported_when_pytest_starts() -> None:
    """Every pytest run of everybody who has tailrace installed begins with this import."""
    code = (
        "import sys, pytest; before = set(sys.modules); import tailrace.testing.plugin; "
        "print(*sorted(set(sys.modules) - before))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert answer.stdout.split() == ["tailrace", "tailrace.testing", "tailrace.testing.plugin"]
