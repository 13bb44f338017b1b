"""What bounds and records calls: how many a minute, how long one may take, and the audit log."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ...pipeline.record import encode, rfc3339


class TimeUp(ValueError):
    """A call takes longer than it may."""


class TooMany(ValueError):
    """More calls than there may be in a minute."""


class Deadline:
    """When a call has to end; looked at by all that takes long. Without a start there is none."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._end: float | None = None

    def start(self, seconds: float) -> None:
        """From now on there are so many seconds."""
        self._end = self._now() + seconds

    @property
    def left(self) -> float:
        """Seconds; 0 when the time is over."""
        return float("inf") if self._end is None else max(self._end - self._now(), 0.0)

    def check(self) -> None:
        """Raises TimeUp."""
        if self.left <= 0:
            raise TimeUp("the time for a call is over: ask for less (a time range, a path, a field, an id)")


class Rate:
    """Lets so many calls through in any minute."""

    def __init__(self, calls: int, now: Callable[[], float] = time.monotonic) -> None:
        self._calls = calls
        self._now = now
        self._taken: deque[float] = deque()

    def take(self) -> None:
        """Count a call. Raises TooMany."""
        now = self._now()
        while self._taken and now - self._taken[0] >= 60:
            self._taken.popleft()
        if len(self._taken) >= self._calls:
            wait = 60 - (now - self._taken[0])
            raise TooMany(f"more than {self._calls} calls in a minute: ask again in {wait:.0f} s")
        self._taken.append(now)


class Audit:
    """A file to which each call is added, readable by its owner alone. The one file that the server writes.

    It is opened for each line: a file that was renamed away gets no more of them.
    """

    def __init__(self, path: Path, now_ns: Callable[[], int] = time.time_ns) -> None:
        self._path = path
        self._now_ns = now_ns

    def write(self, entry: Mapping[str, Any]) -> None:
        """Add a line, with the time in front. Raises OSError: a call that is not written down is not answered."""
        line = encode({"timestamp": rfc3339(self._now_ns()), **entry}) + b"\n"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self._path, flags, 0o600)
        try:
            while line:
                line = line[os.write(descriptor, line) :]
        finally:
            os.close(descriptor)
