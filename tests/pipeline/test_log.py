"""tailrace's own log: one line an event, repeats counted."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from tailrace.pipeline import log as module
from tailrace.pipeline.log import Log, to_stderr


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    logger = logging.getLogger("tailrace")
    before = logger.handlers, logger.level, logger.propagate
    yield
    logger.handlers, logger.level, logger.propagate = before


def test_an_event_is_one_line_of_logfmt(capsys: pytest.CaptureFixture[str]) -> None:
    to_stderr()
    Log().warning("delivery failed", sink="loki", wait_s=0.5)
    stamp, _, rest = capsys.readouterr().err.partition(" ")
    assert stamp.startswith("ts=20")
    assert rest == 'level=warning msg="delivery failed" sink=loki wait_s=0.5\n'


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("plain", "plain"),
        ("", '""'),
        ("two words", '"two words"'),
        ("a=b", '"a=b"'),
        ('say "x"', '"say \\"x\\""'),
        ("back\\slash", '"back\\\\slash"'),
        ("two\nlines", '"two\\nlines"'),
        ("\x1b[31m", '"\\u001b[31m"'),
        ("größe", "größe"),
        (5, "5"),
        (None, "None"),
    ],
)
def test_a_value_can_neither_break_the_line_nor_be_taken_for_two(
    capsys: pytest.CaptureFixture[str], value: object, written: str
) -> None:
    to_stderr()
    Log().info("x", value=value)
    assert capsys.readouterr().err.endswith(f"level=info msg=x value={written}\n")


def test_the_same_event_again_is_only_counted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    to_stderr()
    now = 100.0
    monkeypatch.setattr(module, "monotonic", lambda: now)
    log = Log()
    for _ in range(4):
        log.warning("delivery failed", sink="loki", wait_s=1)
    assert len(capsys.readouterr().err.splitlines()) == 1
    now += module.REPEAT_SECONDS
    log.warning("delivery failed", sink="loki", wait_s=1)
    assert capsys.readouterr().err.endswith("sink=loki wait_s=1 repeats=3\n")


def test_another_sink_path_or_level_is_another_event(capsys: pytest.CaptureFixture[str]) -> None:
    to_stderr()
    log = Log()
    log.warning("failed", sink="loki")
    log.warning("failed", sink="archive")
    log.warning("failed", path="/a")
    log.error("failed", sink="loki")
    assert len(capsys.readouterr().err.splitlines()) == 4


def test_how_many_different_events_are_remembered_is_bounded(capsys: pytest.CaptureFixture[str]) -> None:
    to_stderr()
    log = Log()
    for n in range(1100):
        log.info("x", path=n)
    capsys.readouterr()
    log.info("x", path=0)
    assert capsys.readouterr().err.endswith("path=0\n")


def test_below_the_level_nothing_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    to_stderr(logging.WARNING)
    Log().info("x")
    assert capsys.readouterr().err == ""


def test_values_are_written_without_what_the_run_hides(capsys: pytest.CaptureFixture[str]) -> None:
    to_stderr()
    own = Log()
    own.clean = lambda text: text.replace("hunter2", "***")
    own.warning("delivery failed", error=ValueError("hunter2 is wrong"), wait_s=0.5)
    assert capsys.readouterr().err.partition(" msg=")[2] == '"delivery failed" error="*** is wrong" wait_s=0.5\n'
