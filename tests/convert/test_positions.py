from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from tailrace.config.load import Config, load
from tailrace.config.problem import ConfigError
from tailrace.convert.positions import read, take_over
from tailrace.pipeline.checkpoint import Checkpoint, StateError


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.chdir(tmp_path)
    Path("app.log").write_text("one\ntwo\nthree\n")
    Path("tailrace.yaml").write_text(
        f"sources: {{ app: {{ use: file, include: ['{tmp_path}/*.log', '{tmp_path}/*.gz'] }} }}\n"
        "sinks: { out: { use: stdout } }\n"
    )
    return load(Path("tailrace.yaml"))


def test_tailrace_knows_the_file_and_goes_on_at_its_position(config: Config, tmp_path: Path) -> None:
    (taken,) = take_over({f"{tmp_path}/app.log": "8"}, config)
    assert (taken.source, taken.offset) == ("app", 8)
    (saved,) = Checkpoint(config.state).load().sources["app"].values()
    status = Path("app.log").stat()
    position = saved.position
    assert (position["offset"], position["device"], position["inode"]) == (8, status.st_dev, status.st_ino)
    assert position["head_bytes"] == 8


def test_of_a_compressed_file_promtail_counts_lines(config: Config, tmp_path: Path) -> None:
    Path("old.gz").write_bytes(gzip.compress(b"a\nbb\nccc\n"))
    (taken,) = take_over({f"{tmp_path}/old.gz": "2"}, config)
    assert taken.offset == len("a\nbb\n")


@pytest.mark.parametrize(
    ("path", "position", "why"),
    [
        ("app.log", "99", "shorter than its position"),
        ("gone.log", "3", "No such file"),
        ("other.txt", "1", "no source of this config"),
        ("journal-all", "s=1;i=2", "something else than a file"),
    ],
)
def test_what_is_not_taken_over_is_told(config: Config, tmp_path: Path, path: str, position: str, why: str) -> None:
    Path("other.txt").write_text("x\n")
    (taken,) = take_over({path if path.startswith("journal") else f"{tmp_path}/{path}": position}, config)
    assert why in taken.why_not
    assert Checkpoint(config.state).load().sources == {"app": {}}


def test_a_state_that_is_there_stays(config: Config, tmp_path: Path) -> None:
    take_over({f"{tmp_path}/app.log": "4"}, config)
    before = json.loads(Path("state/checkpoint.json").read_bytes())
    with pytest.raises(StateError, match="is there already"):
        take_over({f"{tmp_path}/app.log": "8"}, config)
    assert json.loads(Path("state/checkpoint.json").read_bytes()) == before


def test_the_positions_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "positions.yaml"
    file.write_text('positions:\n  /logs/a.log: "12"\n  cursor-journal: s=x\n')
    assert read(file) == {"/logs/a.log": "12", "cursor-journal": "s=x"}


@pytest.mark.parametrize("text", ["{}", "positions: 3", "positions: [", ""], ids=["other", "number", "torn", "empty"])
def test_what_is_no_positions_file_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "positions.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError):
        read(file)
