"""The division: which worker has which folder below the state, and what moves when their number changes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from pathlib import Path

import msgspec

from .batch import Position
from .checkpoint import Checkpoint, State, StateError, replace, sync
from .dead_letter import FILE, DeadLetter
from .flight import Flight, Flown, Taken
from .partition import Partitions

PLAN = "division.json"
"""The positions of every worker as they are to be: from the moment that it is there, it is what is true."""
WORKER = "worker-"

Owner = Callable[[str, str, Position], int | None]
"""The worker that a source's partition with this position belongs to; None: to who had it before."""


class Part(msgspec.Struct):
    """The state of one worker."""

    state: State
    flown: list[Flown]
    """What of it is on its way."""


class Left(msgspec.Struct):
    """What a run left in a folder."""

    partitions: Partitions
    sinks: dict[str, Position]
    number: int


def folder_of(state: Path, worker: int, workers: int) -> Path:
    """A worker's folder; that of a single one is the state folder itself."""
    return state if workers == 1 else state / f"{WORKER}{worker}"


def folders(state: Path) -> list[Path]:
    """The folders of the workers of the last run; none where a single process wrote the state."""
    found = [path for path in state.glob(f"{WORKER}*") if path.name.removeprefix(WORKER).isdecimal()]
    return sorted(found, key=lambda path: int(path.name.removeprefix(WORKER)))


def is_divided(state: Path) -> bool:
    """Several workers had it, or were about to."""
    return (state / PLAN).exists() or bool(folders(state))


def read(folder: Path, sources: Iterable[str], sinks: Iterable[str]) -> Left:
    """What is on disk of a folder by now. Raises StateError."""
    # In this order: who runs there leaves out of the one only what is in the other.
    flight, state = Flight(folder / "flight.jsonl").load(), Checkpoint(folder).load()
    left = Left(Partitions(sources, sinks), dict(state.sinks), state.number)
    left.partitions.restore(state.sources, flight, state.number)
    for entry in flight:
        if isinstance(entry, Taken) and entry.number > state.number:
            left.sinks[entry.sink] = entry.position
        left.number = max(left.number, entry.number)
    return left


def positions(folders: Iterable[Path], source: str) -> Iterable[Position]:
    """Where these workers are in a source."""
    for folder in folders:
        for partition in read(folder, [source], ()).partitions.of(source).values():
            if partition.ledger.position:
                yield partition.ledger.position


def divide(
    state: Path,
    workers: int,
    sources: Sequence[str],
    sinks: Sequence[str],
    owner: Owner,
    resume: Callable[[str, Position], None],
) -> set[str]:
    """Bring every position to the worker that it belongs to now. Returns the sources that were read of before.

    Only for who holds the state folder. A crash at any moment leaves the old division or the new one, once the next
    start has been here. `resume` is told what each sink had saved in a folder that is given up, before that is.

    Raises:
        StateError: the state is not readable, or cannot be written.
    """
    try:
        finish(state)
        # What a retry of the dead letter was about to do belongs to the state folder itself.
        DeadLetter(state / FILE).recover(Checkpoint(state).load().number)
        new = [folder_of(state, worker, workers) for worker in range(workers)]
        old = {folder: read(folder, sources, sinks) for folder in dict.fromkeys((state, *folders(state)))}
        parts = _parts(old.values(), workers, sources, owner)
        begun = {source for part in parts for source, saved in part.state.sources.items() if saved}
        if not _is_in_place(old, new, owner):
            for left in old.values():
                for sink, position in left.sinks.items():
                    resume(sink, position)
            replace(state / PLAN, msgspec.json.encode(parts))
            finish(state)
        for folder in new:
            folder.mkdir(exist_ok=True)
    except OSError as error:
        raise StateError(f"{state}: cannot be written: {error.strerror}") from None
    return begun


def finish(state: Path) -> None:
    """Do what a division that a crash cut short has decided. Raises OSError."""
    plan = state / PLAN
    if not plan.exists():
        return
    parts = msgspec.json.decode(plan.read_bytes(), type=list[Part])
    new = [folder_of(state, worker, len(parts)) for worker in range(len(parts))]
    for folder, part in zip(new, parts, strict=True):
        folder.mkdir(exist_ok=True)
        Checkpoint(folder).save(part.state)
        flight = Flight(folder / "flight.jsonl")
        flight.open(part.flown)
        flight.close()
    for folder in folders(state):
        if folder not in new:
            shutil.rmtree(folder)
    if state not in new:
        for name in ("checkpoint.json", "flight.jsonl"):
            (state / name).unlink(missing_ok=True)
    sync(state)
    plan.unlink()
    sync(state)


def _parts(old: Iterable[Left], workers: int, sources: Iterable[str], owner: Owner) -> list[Part]:
    parts = [Part(State({name: {} for name in sources}, {}), []) for _ in range(workers)]
    used: list[set[int]] = [set() for _ in parts]
    for place, left in enumerate(old):
        for source, saved in left.partitions.saved().items():
            for key, one in saved.items():
                worker = owner(source, key, one.position)
                if worker is None:
                    worker = max(0, place - 1) % workers  # the first place is that of a single process
                part = parts[worker]
                # A number of its own among those that it is with now; what is on its way keeps the one that it had.
                if one.slot in used[worker]:
                    one.slot = next(slot for slot in count() if slot not in used[worker])
                used[worker].add(one.slot)
                part.state.sources[source][key] = one
                part.flown += left.partitions.of(source)[key].flown
        for part in parts:
            part.state.number = max(part.state.number, left.number)
    return parts


def _is_in_place(old: dict[Path, Left], new: Sequence[Path], owner: Owner) -> bool:
    for folder, left in old.items():
        saved = left.partitions.saved()
        if folder not in new:
            if folder.name.startswith(WORKER) or left.sinks or any(saved.values()):
                return False
            continue
        for source, partitions in saved.items():
            place = new.index(folder)
            if any(owner(source, key, one.position) not in (place, None) for key, one in partitions.items()):
                return False
    return True
