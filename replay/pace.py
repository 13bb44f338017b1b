"""How fast a replay may go, so that live logs come first."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

SLOWEST = 64 << 10
"""Bytes a second: a replay that is throttled all the time still goes on."""
FIRST = 8 << 20
"""Where there is no rate to keep to, of which half is left when Loki throttles for the first time."""
GROWTH = 1.1
"""A second, after it was slowed down."""


class Pace:
    """Keeps to a rate (bytes a second; 0: none), and to half of it each time when Loki answers that it is too much."""

    def __init__(self, rate: float, throttled: Callable[[], int], clock: Callable[[], float] = time.monotonic) -> None:
        self.rate = rate
        self._most = rate
        self._throttled = throttled
        self._clock = clock
        self._seen = throttled()
        self._due = self._changed = clock()

    def wait(self, size: int) -> float:
        """Seconds to wait before so many bytes go."""
        now, throttled = self._clock(), self._throttled()
        if throttled > self._seen:
            self._seen, self._changed = throttled, now
            self.rate = max(SLOWEST, (self.rate or FIRST) / 2)
        elif self.rate and self.rate != self._most and now - self._changed >= 1:
            self.rate *= GROWTH ** (now - self._changed)
            self._changed = now
            if self._most and self.rate > self._most:
                self.rate = self._most
        if not self.rate:
            return 0.0
        self._due = max(self._due, now - 1) + size / self.rate  # what was not used in a second is lost
        return max(0.0, self._due - now)

    async def take(self, size: int) -> None:
        """Return when so many bytes may go."""
        if wait := self.wait(size):
            await asyncio.sleep(wait)
