"""`tailrace new stage`: two files that work at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tailrace.cli.app import app
from tailrace.config.load import check

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def new(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["new", "stage", *arguments], env={"COLUMNS": "200", "TERM": "dumb"})
    return result.exit_code, result.output


def python(*arguments: str, **environment: str) -> None:
    answer = subprocess.run(
        [sys.executable, "-m", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | environment,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_the_stage_and_its_test_are_written_and_the_test_passes() -> None:
    code, told = new("mask_user")
    assert code == 0
    assert "wrote mask_user.py and test_mask_user.py" in told
    python("pytest", "-q", "-p", "no:cacheprovider", PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")


def test_the_stage_can_be_used_in_a_config_at_once() -> None:
    new("mask_user")
    Path("tailrace.yaml").write_text(
        "stage_files: [mask_user.py]\nsources: { in: { use: stdin } }\n"
        "stages: [ { use: mask_user } ]\nsinks: { out: { use: stdout, line: json } }\n"
        "tests: [ { name: t, in: hello, out: { out: [ { fields: { mask_user: HELLO, message: hello } } ] } } ]\n"
    )
    assert check(Path("tailrace.yaml"))[1] == []
    assert CliRunner().invoke(app, ["test"]).exit_code == 0


def test_ruff_and_mypy_have_nothing_to_say(folder: Path) -> None:
    new("mask_user")
    python("ruff", "check", "--isolated", "--no-cache", "--select", "E,F,W,I,B,UP,SIM,RUF,D100,D101,D102", ".")
    python("ruff", "format", "--isolated", "--no-cache", "--check", ".")
    path = folder / "path"
    path.mkdir()
    (path / "tailrace").symlink_to(ROOT)
    cache = ROOT / ".mypy_cache/new"
    options = ["--strict", "--follow-imports=silent", "--config-file=", f"--cache-dir={cache}"]
    python("mypy", *options, "mask_user.py", "test_mask_user.py", MYPYPATH=str(path))


def test_nothing_is_overwritten() -> None:
    Path("test_mask_user.py").write_text("mine")
    code, told = new("mask_user")
    assert (code, "test_mask_user.py is there already: nothing was written" in told) == (1, True)
    assert [path.name for path in Path().iterdir()] == ["test_mask_user.py"]
    assert Path("test_mask_user.py").read_text() == "mine"


def test_another_folder_is_made() -> None:
    assert new("mask_user", "--folder", "my/stages")[0] == 0
    assert sorted(path.name for path in Path("my/stages").iterdir()) == ["mask_user.py", "test_mask_user.py"]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("MaskUser", "such as mask_user"),
        ("mask-user", "such as mask_user"),
        ("mask_2fa", "none beginning with a digit"),
        ("../evil", "is not a name"),
        ("_mask", "is not a name"),
        ("mask__user", "such as mask_user"),
        ("redact", "there is a stage 'redact' already"),
        ("redacts", "would be taken for the stage 'redact'"),
        ("json", "means something in Python already"),
        ("class", "means something in Python already"),
        ("stage", "means something in Python already"),
    ],
)
def test_a_name_that_cannot_be_one_is_refused_with_one_that_can(name: str, told: str) -> None:
    code, output = new(name)
    assert (code, told in output) == (2, True), output
    assert list(Path().iterdir()) == []
