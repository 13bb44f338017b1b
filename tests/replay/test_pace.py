"""A replay's pace: no faster than told, slower when Loki throttles, and faster again."""

from __future__ import annotations

import pytest

from tailrace.replay.pace import FIRST, SLOWEST, Pace


class Clock:
    def __init__(self) -> None:
        self.now = 100.0
        self.throttled = 0

    def pace(self, rate: float) -> Pace:
        return Pace(rate, lambda: self.throttled, lambda: self.now)


def test_it_keeps_to_its_rate() -> None:
    clock = Clock()
    pace = clock.pace(1000)
    assert [pace.wait(500) for _ in range(3)] == [0.5, 1.0, 1.5]
    clock.now += 100
    assert pace.wait(500) == 0.0  # but what was not used is lost
    assert pace.wait(1000) == 0.5


def test_without_a_rate_it_waits_only_once_it_was_throttled() -> None:
    clock = Clock()
    pace = clock.pace(0)
    assert pace.wait(10**12) == 0.0
    clock.throttled = 1
    assert pace.wait(FIRST) == pytest.approx(2.0)


def test_each_throttling_halves_it_and_time_brings_it_back() -> None:
    clock = Clock()
    pace = clock.pace(1 << 20)
    for clock.throttled in range(1, 20):
        pace.wait(1)
    assert pace.rate == SLOWEST
    for _ in range(100):
        clock.now += 1
        pace.wait(1)
    assert pace.rate == 1 << 20
