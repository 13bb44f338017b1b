"""What went wrong lately: the few latest kinds of trouble, each with its time and how often it was."""

from __future__ import annotations

import time
from collections.abc import Iterator

import msgspec

MOST = 20
"""Kinds of trouble that are kept; the one that has been quiet for longest gives way."""
DETAIL_CHARS = 1000


class Trouble(msgspec.Struct, omit_defaults=True):
    """One kind of trouble at one place."""

    at: float
    """When it was last, in Unix seconds."""
    where: str
    """The source, stage or sink; empty for tailrace itself."""
    what: str
    detail: str = ""
    """Of the last time, such as the error."""
    times: int = 1
    worker: int | None = None
    """Which of several workers had it."""

    def line(self) -> str:
        """All but the time, for a line of text."""
        times = f" ({self.times:,} times)" if self.times > 1 else ""
        worker = "" if self.worker is None else f", worker {self.worker}"
        return f"{self.where} {self.what}{times}{worker}".strip() + (f": {self.detail}" if self.detail else "")


class Troubles:
    """Iterates over what is kept, the latest first."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], Trouble] = {}

    def note(self, where: str, what: str, detail: str, times: int = 1) -> None:
        """Keep this, or count it as one more of the same kind."""
        known = self._kept.pop((where, what), None)
        if known is None and len(self._kept) >= MOST:
            del self._kept[next(iter(self._kept))]
        times += known.times if known else 0
        self._kept[where, what] = Trouble(time.time(), where, what, detail[:DETAIL_CHARS], times)

    def __iter__(self) -> Iterator[Trouble]:
        return reversed(self._kept.values())
