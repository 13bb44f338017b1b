"""Wakes the file source when something in its folders changes, by the kernel's notice or by the clock."""

from __future__ import annotations

import asyncio
import glob
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from ..log import log

STEP_MS = 10
"""A burst of changes is over when nothing came for this long."""
DEBOUNCE_MS = 50
"""The longest a burst is waited for."""


def folders(patterns: Sequence[str]) -> dict[Path, bool]:
    """The folders to watch that exist now, and whether with all below them (`**`)."""
    found: dict[Path, bool] = {}
    for pattern in patterns:
        head, _, deep = pattern.partition("**")
        tops = [head or "."] if deep else glob.glob(str(Path(pattern).parent))  # noqa: PTH207  # an absolute pattern
        for top in map(Path, tops):
            if top.is_dir():
                found[top] = found.get(top, False) or bool(deep)
    return found


class Watch:
    """An async context; `wait` returns on a change, or after the given time."""

    def __init__(self, patterns: Sequence[str], *, poll_only: bool) -> None:
        self._patterns = patterns
        self._poll_only = poll_only
        self._changed = asyncio.Event()
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Watch:
        if not self._poll_only:
            flat = [path for path, deep in folders(self._patterns).items() if not deep]
            deep = [path for path, deep in folders(self._patterns).items() if deep]
            for paths, recursive in ((flat, False), (deep, True)):
                if paths:
                    # No TaskGroup: it cannot live in an async generator, which may be closed at a yield.
                    self._tasks.append(asyncio.get_running_loop().create_task(self._follow(paths, recursive)))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        await asyncio.gather(*self._tasks)

    async def wait(self, seconds: float) -> None:
        """Sleep until something changes, at most this long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        self._changed.clear()

    async def _follow(self, paths: list[Path], recursive: bool) -> None:
        import watchfiles  # costs 30 ms that `run --once` does without

        try:
            async for _ in watchfiles.awatch(
                *paths,
                watch_filter=None,
                step=STEP_MS,
                debounce=DEBOUNCE_MS,
                rust_timeout=1000,
                stop_event=self._stop,
                recursive=recursive,
            ):
                self._changed.set()
        except (OSError, RuntimeError) as error:
            # Too many watches, a file system without notices, a folder that went away: polling goes on.
            log.warning("not told of file changes by the kernel, polling instead", error=error)
