"""How far a replay is: a bar on a terminal, a line of the log elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any

from ..pipeline.log import log

EVERY_SECONDS = 15.0
"""A line of progress, where nobody looks."""


class Progress:
    """A bar on a terminal, a line of the log now and then elsewhere."""

    def __init__(self, console: Any = None) -> None:
        """`console`: of rich; None for standard error, if that is a terminal."""
        self._bar: Any = None
        self._task: Any = None
        self._told = time.monotonic()
        self._console = console
        self.terminal = console is not None or sys.stderr.isatty()

    def begin(self, what: str, total: int | None = None) -> None:
        """Of something new."""
        self.end()
        if self.terminal:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
            more = (TimeRemainingColumn(), TextColumn("{task.fields[note]}"))
            self._bar = Bar(*columns, *more, console=self._console or Console(stderr=True), transient=True)
            self._bar.start()
            self._task = self._bar.add_task(what, total=total, note="")

    def to(self, done: int, note: str, total: int | None = None) -> None:
        """So far."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total, note=note)
        elif time.monotonic() - self._told > EVERY_SECONDS:
            self._told = time.monotonic()
            log.info("replaying", records=done, of=total or "?", so_far=note)

    def end(self) -> None:
        """Of it."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
