from __future__ import annotations

from pathlib import Path

import pytest

from tailrace.benchmarks.corpora import MIXES
from tailrace.benchmarks.run import TASKS, Task, arguments, choose, corpus_for
from tailrace.benchmarks.shipper import Shipper

HERE = Shipper(cmd=["sh"], ext="x")
ABSENT = Shipper(cmd=["not-a-shipper"], ext="x", get="build it")


@pytest.mark.parametrize(
    ("text", "task"), [("s3", Task("s3", "traceback")), ("s2:llm", Task("s2", "llm"))], ids=["its own mix", "another"]
)
def test_a_scenario_may_read_another_mix(text: str, task: Task) -> None:
    assert Task.parse(text) == task


@pytest.mark.parametrize(
    ("text", "words"), [("s9", "no scenario 's9'; there are: s1"), ("s1:yaml", "no mix 'yaml'; there are: json")]
)
def test_an_unknown_scenario_or_mix_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Task.parse(text)


def test_by_default_every_mix_is_read() -> None:
    assert arguments().get_default("scenarios") == TASKS
    assert {Task.parse(text).mix for text in TASKS.split(",")} == set(MIXES)


def test_all_that_are_here_take_part_and_the_others_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert choose({"here": HERE, "far": ABSENT}, None) == {"here": HERE}
    assert capsys.readouterr().err == "absent: far (build it)\n"


def test_one_that_was_asked_for_must_be_here() -> None:
    with pytest.raises(ValueError, match="far is absent: build it"):
        choose({"here": HERE, "far": ABSENT}, ["far"])


def test_one_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ValueError, match="no shipper 'nera'; there are: here, far"):
        choose({"here": HERE, "far": ABSENT}, ["nera"])


def test_a_slow_shipper_reads_a_smaller_corpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TAILRACE_CACHE", str(tmp_path))
    slow = Shipper(cmd=["sh"], ext="x", mb={"s2": 0.01})
    sizes = [corpus_for(slow, Task(scenario, "json"), 0.02)[1].mb for scenario in ("s1", "s2")]
    assert sizes == [0.02, 0.01]
