"""A folder to write configs in, with a few components that can be anything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

SHAPE = '''
"""A stage whose options say how it behaves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from tailrace.pipeline.batch import Batch
from tailrace.pipeline.component import Stage
from tailrace.pipeline.options import Duration, Regex, Secret, Size, Template


class Rule(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    name: str
    type: Literal["counter", "gauge"] = "counter"
    labels: dict[str, Template] = {}
    wait: Duration = Duration(1)


class Shape(Stage, kw_only=True):
    """Reads, writes and removes what it is told."""

    takes: list[str] = []
    """Read these."""
    gives: list[str] = []
    loses: list[str] = []
    rules: list[Rule] = []
    wait: Duration = Duration(1)
    size: Size = Size(1)
    pattern: Regex | None = None
    text: str = ""
    flag: bool = False
    count: int = 0
    share: float = 0.5
    mode: Literal["fast", "slow"] = "fast"
    lines: Literal["all"] | list[str] = "all"
    ports: dict[str, int] = {}
    pair: tuple[int, str] = (0, "")
    key: Secret | None = None

    def check(self) -> Iterable[tuple[str, str]]:
        if self.flag and self.mode == "slow":
            yield "mode", "slow does not go with flag"
        if self.count < 0:
            yield "", "a shape needs a count"

    def reads(self) -> Iterable[str]:
        return (*self.takes, *(name for rule in self.rules for label in rule.labels.values() for name in label.fields))

    def writes(self) -> Iterable[str]:
        return self.gives

    def removes(self) -> Iterable[str]:
        return self.loses

    def process(self, batch: Batch) -> Batch:
        return batch
'''

HEAD = """\
stage_files: [shape.py, list_source.py, list_sink.py]
sources: { app: { use: list_source } }
sinks: { out: { use: list_sink } }
stages:
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Write a config into the current folder, where `shape`, `list_source` and `list_sink` can be used."""
    monkeypatch.chdir(tmp_path)
    Path("shape.py").write_text(SHAPE)
    Path("list_source.py").write_text("from tailrace.testing import ListSource\n\n__all__ = ['ListSource']\n")
    Path("list_sink.py").write_text("from tailrace.testing import ListSink\n\n__all__ = ['ListSink']\n")

    def written(text: str) -> Path:
        Path("tailrace.yaml").write_text(dedent(text))
        return Path("tailrace.yaml")

    return written


@pytest.fixture
def staged(write: Callable[[str], Path]) -> Callable[[str], Path]:
    """Write a config of a source, a sink and these stages: they begin on line 5."""
    return lambda stages: write(HEAD + dedent(stages).strip("\n") + "\n")
