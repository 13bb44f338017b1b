"""One run that several processes share: the state divided among them, and the work of each."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from functools import partial

from .. import __version__
from ..config.data_flow import wanted
from ..config.load import Config
from ..pipeline import division
from ..pipeline.batch import Position
from ..pipeline.checkpoint import Checkpoint
from ..pipeline.component import Share, Source
from ..pipeline.runner import Runner
from ._ship import dead_letter_of, guarded, in_loop, tap_of, tried
from ._workers import STOP, Workers, in_child


def ship_shared(config: Config, *, once: bool, offline: bool) -> int:
    """Try the endpoints, divide the state, and run the workers. Returns the exit code."""
    # In a process of its own: threads that this leaves behind would be missing in the workers.
    if not offline and (code := in_child(lambda: guarded(config, lambda: in_loop(tried(config))))):
        return code

    def run() -> int:
        # Held by the workers too, as long as the last of them lives: they inherit it.
        checkpoint = Checkpoint(config.state)
        checkpoint.lock()
        try:
            begun = _divide(config)

            def work(worker: int, line: int, again: bool) -> int:
                return guarded(config, lambda: in_loop(_work(config, worker, line, begun, again=again, once=once)))

            return Workers(config.workers, work).run()
        finally:
            checkpoint.unlock()

    return guarded(config, run)


def gather(config: Config) -> None:
    """Bring together what several workers left, for a run or a retry without any. Raises StateError."""
    checkpoint = Checkpoint(config.state)
    checkpoint.lock()
    try:
        _divide(config)
    finally:
        checkpoint.unlock()


def _divide(config: Config) -> set[str]:
    def owner(source: str, partition: str, position: Position) -> int | None:
        return config.sources[source].owner(partition, position, config.workers)

    def resume(sink: str, position: Position) -> None:
        if sink in config.sinks:
            config.sinks[sink].resume(position, _nothing)

    return division.divide(config.state, config.workers, list(config.sources), list(config.sinks), owner, resume)


async def _nothing() -> None:
    """What a sink had saved is gone through, and nothing is to be saved."""


async def _work(config: Config, worker: int, line: int, begun: set[str], *, again: bool, once: bool) -> int:
    folders = [division.folder_of(config.state, number, config.workers) for number in range(config.workers)]
    runner = Runner(
        _sources(config, worker, {name: again or name in begun for name in config.sources}),
        config.stages,
        config.sinks,
        wanted=wanted(config.stages, config.sinks.values()),
        state=folders[worker],
        drain=config.drain,
        dead_letter=dead_letter_of(config),
        tap=tap_of(config, folders[worker]),
    )
    for sink in config.sinks.values():
        sink.share(worker)

    def told() -> None:
        if os.read(line, 1) != STOP:
            os._exit(1)  # the parent is gone: as after a kill, the next start goes on from what is on disk
        runner.stop()

    asyncio.get_running_loop().add_reader(line, told)
    if config.exporter is None:
        return await runner.run(once=once)
    from ..pipeline.exporter import Exporter  # as in a run without workers
    from ..pipeline.merged import PORT, Merged

    exporter = Exporter(runner, "127.0.0.1:0", __version__)
    await exporter.open()
    (folders[worker] / PORT).write_text(str(exporter.port))
    merged = Merged(config.exporter.listen, config.state, folders, os.getppid()) if worker == 0 else None
    try:
        if merged:
            await merged.open()
        return await runner.run(once=once)
    finally:
        if merged:
            await merged.close()
        await exporter.close()


def _sources(config: Config, worker: int, begun: Mapping[str, bool]) -> dict[str, Source]:
    """What a worker reads: its share of what can be shared, the first one also everything else."""
    folders = [division.folder_of(config.state, other, config.workers) for other in range(config.workers)]
    del folders[worker]
    sources = {}
    for name, source in config.sources.items():
        if tuple(source.tells_apart()):
            source.share(Share(worker, config.workers, begun[name], partial(division.positions, folders, name)))
        elif worker != 0:
            continue
        sources[name] = source
    return sources
