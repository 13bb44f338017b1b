"""One run of a config, from the file to the exit code."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

from .. import __version__
from ..config.data_flow import wanted
from ..config.load import Config, check
from ..config.probe import probe
from ..config.problem import EXIT_CODE, errors
from ..pipeline.checkpoint import StateError
from ..pipeline.component import ProbeError
from ..pipeline.dead_letter import FILE, DeadLetter
from ..pipeline.division import is_divided
from ..pipeline.log import log
from ..pipeline.runner import Runner
from ..pipeline.tap import Tap, Veil
from .check import show

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Of malloc.h."""
_KEEP_BYTES = 32 << 20


def ship(path: Path, *, once: bool, offline: bool) -> int:
    """Check the config, try its endpoints, and run it. Returns the exit code; problems are told on stderr."""
    config, problems = check(path)
    show(problems, sys.stderr)
    if config is None:
        return EXIT_CODE
    _keep_freed_memory()
    # Records are freed by their counts; the runner collects the few cycles between batches.
    gc.collect()
    gc.freeze()
    gc.disable()
    if config.workers == 1:
        return guarded(config, lambda: _alone(config, once=once, offline=offline))
    from ._shared import ship_shared  # processes of their own, of which a single one knows nothing

    return ship_shared(config, once=once, offline=offline)


def guarded(config: Config, work: Callable[[], int]) -> int:
    """Do the work, and tell what keeps it from being done. Returns the exit code."""
    try:
        return work()
    except StateError as error:
        show([config.problem("state", str(error))], sys.stderr)
        return EXIT_CODE
    except ProbeError as error:
        log.error("cannot start", reason=error)
        return EXIT_CODE
    except ExceptionGroup as group:
        # A component broke its contract: what was not delivered is read again at the next start.
        for cause in group.exceptions:
            log.error("stopped by an error", error=f"{type(cause).__name__}: {cause}")
        return 1


def in_loop(work: Coroutine[Any, Any, int]) -> int:
    """Run this in the fastest event loop that there is."""
    if sys.platform == "win32":
        return asyncio.run(work)
    import uvloop

    return uvloop.run(work)


def _alone(config: Config, *, once: bool, offline: bool) -> int:
    if is_divided(config.state):
        from ._shared import gather

        gather(config)
    return in_loop(_run(config, once=once, offline=offline))


def _keep_freed_memory() -> None:
    """Have glibc keep what a batch needed for the next one, as far as it goes.

    Else it gives most of it back to the kernel each time, which then fills pages with zeros for a fifth of all time.
    """
    if sys.platform == "linux":
        import ctypes

        with suppress(AttributeError, OSError):  # another libc
            mallopt = ctypes.CDLL(None).mallopt
            mallopt(_M_MMAP_THRESHOLD, _KEEP_BYTES)
            mallopt(_M_TRIM_THRESHOLD, _KEEP_BYTES)


def dead_letter_of(config: Config) -> DeadLetter:
    """The dead letter in the config's state folder, bounded as it says."""
    return DeadLetter(config.state / FILE, config.dead_letter.max_bytes, config.dead_letter.when_full)


def tap_of(config: Config, folder: Path) -> Tap:
    """The tap of a run whose positions are in this folder."""

    def veil() -> Veil:
        from ._veil import Veil  # only who taps needs stages of its own

        return Veil(config)

    return Tap(folder, veil)


async def tried(config: Config) -> int:
    """Try all endpoints. Returns the exit code that they make; 0 where the start may go on."""
    problems = await probe(config)
    show(problems, sys.stderr)
    return EXIT_CODE if errors(problems) else 0


async def _run(config: Config, *, once: bool, offline: bool) -> int:
    if not offline and (code := await tried(config)):
        return code
    runner = Runner(
        config.sources,
        config.stages,
        config.sinks,
        wanted=wanted(config.stages, config.sinks.values()),
        state=config.state,
        drain=config.drain,
        dead_letter=dead_letter_of(config),
        tap=tap_of(config, config.state),
    )
    if config.exporter is None:
        return await runner.run(once=once)
    from ..pipeline.exporter import Exporter  # costs 100 ms that a config without exporter does without

    exporter = Exporter(runner, config.exporter.listen, __version__)
    await exporter.open()
    try:
        return await runner.run(once=once)
    finally:
        await exporter.close()
