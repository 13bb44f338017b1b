from __future__ import annotations

import os
import select
from pathlib import Path

import pytest

from tailrace.benchmarks.process import Meter, has_ended, running, stop, tree

CORE = min(os.sched_getaffinity(0))


def ends(handle: int) -> bool:
    """The process has ended, or does so now: a kill takes effect a moment after it was sent."""
    try:
        return bool(select.select([handle], [], [], 60)[0])
    finally:
        os.close(handle)


def test_nothing_is_left_of_a_process_and_its_children(tmp_path: Path) -> None:
    os.mkfifo(ready := tmp_path / "ready")
    script = f"trap '' TERM; sleep 100 & echo > {ready}; exec sleep 100"
    with running(["sh", "-c", script], core=CORE) as process:
        ready.read_bytes()  # returns when the child is there
        family = tree(process.pid)
        assert len(family) == 2
        handles = [os.pidfd_open(pid) for pid in family]
        stop(process, grace=0.1)
    assert all(map(ends, handles))


def test_the_block_ends_the_process_when_it_fails() -> None:
    with pytest.raises(KeyError), running(["sleep", "100"], core=CORE) as process:
        raise KeyError
    assert process.returncode == -15


def test_one_that_ended_by_itself_is_noticed_and_can_be_stopped() -> None:
    with running(["sh", "-c", "exit 3"], core=CORE) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert has_ended(process)
        stop(process)
        stop(process)
    assert process.returncode == 3


def test_a_process_is_pinned_and_metered() -> None:
    with running(["sleep", "100"], core=CORE) as process:
        meter = Meter(process.pid)
        assert os.sched_getaffinity(process.pid) == {CORE}
        assert 0 <= meter.cpu() < 1
        assert 0 < meter.peak_mb() < 100
