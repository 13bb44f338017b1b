from __future__ import annotations

import json
from pathlib import Path

import pytest

from tailrace.query.mcp.calls import Audit, Deadline, Rate, TimeUp, TooMany


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_deadline_ends_a_call_when_its_time_is_over() -> None:
    clock = Clock()
    deadline = Deadline(clock)
    deadline.check()
    deadline.start(5)
    clock.now = 4.9
    deadline.check()
    assert deadline.left == pytest.approx(0.1)
    clock.now = 5
    with pytest.raises(TimeUp):
        deadline.check()
    deadline.start(5)
    deadline.check()


def test_no_minute_has_more_calls_than_it_may() -> None:
    clock = Clock()
    rate = Rate(2, clock)
    rate.take()
    clock.now = 30
    rate.take()
    clock.now = 59
    with pytest.raises(TooMany, match="in 1 s"):
        rate.take()
    clock.now = 60
    rate.take()
    with pytest.raises(TooMany):
        rate.take()


def test_the_audit_log_grows_by_lines_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    audit = Audit(path, lambda: 1_772_667_360_000_000_000)
    audit.write({"tool": "a\nb"})
    path.rename(tmp_path / "audit.1.jsonl")
    audit.write({"tool": "c"})
    first = json.loads((tmp_path / "audit.1.jsonl").read_text())
    assert first == {"timestamp": "2026-03-04T23:36:00.000000000Z", "tool": "a\nb"}
    assert json.loads(path.read_text())["tool"] == "c"
    assert path.stat().st_mode & 0o777 == 0o600


def test_an_audit_log_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "audit.jsonl").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        Audit(tmp_path / "audit.jsonl").write({})
    assert not (tmp_path / "elsewhere").exists()
