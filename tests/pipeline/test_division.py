"""Positions are every worker's own, whoever had them before, whatever happens in between."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tailrace.pipeline.batch import Batch, Position
from tailrace.pipeline.checkpoint import Checkpoint, Saved, State, StateError
from tailrace.pipeline.component import Stage
from tailrace.pipeline.division import PLAN, divide, finish, folder_of, folders, is_divided, positions, read
from tailrace.pipeline.flight import Begun, Flight, Flown, Taken
from tailrace.pipeline.options import Duration
from tailrace.pipeline.runner import Runner
from tailrace.testing import ListSink, ListSource

SECOND = 1_000_000_000
FILES = [f"/logs/{name}.log" for name in "abcdefgh"]


def owner_of(workers: int) -> Any:
    return lambda source, partition, position: FILES.index(partition) % workers


def divided(state: Path, workers: int) -> list[tuple[str, Position]]:
    """Divide anew. Returns what every sink had saved in folders that were given up."""
    told: list[tuple[str, Position]] = []
    divide(state, workers, ["app"], ["out"], owner_of(workers), lambda *one: told.append(one))
    return told


def offsets(state: Path, workers: int) -> list[dict[str, int]]:
    """For each worker how far its files were read."""
    lefts = [read(folder_of(state, worker, workers), ["app"], ["out"]) for worker in range(workers)]
    return [
        {
            name: int((one.ledger.position or {"offset": -1})["offset"])
            for name, one in left.partitions.of("app").items()
        }
        for left in lefts
    ]


def save(folder: Path, files: Sequence[str], **sinks: Position) -> None:
    folder.mkdir(exist_ok=True)
    saved = {name: Saved({"offset": 100 + FILES.index(name)}, slot=slot) for slot, name in enumerate(files)}
    Checkpoint(folder).save(State({"app": saved}, dict(sinks), number=7))


@pytest.fixture
def state(tmp_path: Path) -> Path:
    save(tmp_path, FILES)
    return tmp_path


def test_the_first_start_of_two_has_two_empty_folders(tmp_path: Path) -> None:
    divided(tmp_path, 2)
    assert [path.name for path in folders(tmp_path)] == ["worker-0", "worker-1"]
    assert offsets(tmp_path, 2) == [{}, {}]


def test_a_single_process_has_no_folder_of_its_own(state: Path) -> None:
    divided(state, 1)
    assert not is_divided(state)
    assert len(offsets(state, 1)[0]) == 8


def test_every_file_goes_on_where_it_was_through_changes_of_the_number(state: Path) -> None:
    wanted = {name: 100 + place for place, name in enumerate(FILES)}
    for workers in (2, 3, 3, 1, 5, 2, 1):
        divided(state, workers)
        now = offsets(state, workers)
        assert [sorted(own) for own in now] == [FILES[worker::workers] for worker in range(workers)]
        assert {name: offset for own in now for name, offset in own.items()} == wanted
        assert len(folders(state)) == (workers if workers > 1 else 0)
        assert (state / "checkpoint.json").exists() == (workers == 1)


def test_no_two_files_of_one_worker_have_the_same_number(tmp_path: Path) -> None:
    for worker in range(2):
        save(tmp_path / f"worker-{worker}", FILES[worker::2])
    divided(tmp_path, 1)
    assert sorted(one.slot for one in Checkpoint(tmp_path).load().sources["app"].values()) == list(range(8))


def flying(folder: Path) -> None:
    """Of a: a chunk that is on its way, written down but not taken; of b one that was taken since the checkpoint."""

    async def fly() -> None:
        flight = Flight(folder / "flight.jsonl")
        flight.open([])
        await flight.note(Flown("app", FILES[0], 100, 150, 42, 9, number=8))
        await flight.note(Flown("app", FILES[1], 101, 160, 43, 1, number=9))
        flight.take(Taken(10, "out", {"out.jsonl": 60}, [("app", FILES[1], 101, 160)]))
        await flight.note(Begun(11, "app", FILES[2], {"offset": 102}, 2))
        flight.close()

    asyncio.run(fly())


def test_what_was_on_its_way_is_repeated_by_the_new_owner_as_it_was(state: Path) -> None:
    flying(state)
    assert divided(state, 2) == [("out", {"out.jsonl": 60})]
    first, second = (read(state / f"worker-{n}", ["app"], ["out"]).partitions.of("app") for n in range(2))
    assert [(one.start, one.end, one.read_at_ns, one.slot) for one in first[FILES[0]].flown] == [(100, 150, 42, 9)]
    assert first[FILES[0]].skip_before("out", 100) == 100
    assert second[FILES[1]].skip_before("out", 101) == 160
    assert first[FILES[2]].ledger.position == {"offset": 102}


async def test_what_was_on_its_way_is_repeated_under_the_number_that_it_had(tmp_path: Path) -> None:
    """Its partition has another number by now, which goes into the digits below the times of what comes after."""
    flight = Flight(tmp_path / "flight.jsonl")
    flight.open([Flown("app", "list", 0, 1, 42, 7, number=1)])
    flight.close()
    Checkpoint(tmp_path).save(State({"app": {"list": Saved({"offset": 0}, slot=3)}}, {}, number=1))
    source, sink = ListSource(name="app", lines=[[b"one"], [b"two"]]), ListSink(name="out", batch_wait=Duration(0))
    runner = Runner({"app": source}, [Timed(name="timed")], {"out": sink}, wanted=[None], state=tmp_path)
    assert await runner.run(once=True) == 0
    assert [record.time_ns for record in sink.got] == [SECOND + 7_000, 2 * SECOND + 3_000]


class Timed(Stage):
    """The first line is of the first second, the next of the second."""

    def process(self, batch: Batch) -> Batch:
        for record in batch.records:
            record.time_ns = (record.offset + 1) * SECOND
        return batch


def test_what_any_worker_may_read_stays_where_it_was(state: Path) -> None:
    divided(state, 2)
    for workers, files in ((2, [4, 4]), (1, [8]), (3, [8, 0, 0])):
        divide(state, workers, ["app"], ["out"], lambda *one: None, lambda *one: None)
        assert [len(own) for own in offsets(state, workers)] == files


def test_sinks_are_told_of_a_retry_of_the_dead_letter_in_between(state: Path) -> None:
    divided(state, 2)
    assert divided(state, 2) == []
    Checkpoint(state).save(State({}, {"out": {"out.jsonl": 5}}, number=1))
    assert divided(state, 2) == [("out", {"out.jsonl": 5})]
    assert divided(state, 2) == []


def test_sources_that_were_read_of_are_told(state: Path) -> None:
    told = divide(state, 2, ["app", "new"], ["out"], owner_of(2), lambda *one: None)
    assert told == {"app"}


def test_others_see_where_a_worker_is_while_it_runs(state: Path) -> None:
    divided(state, 2)
    assert sorted(int(one["offset"]) for one in positions([state / "worker-1"], "app")) == [101, 103, 105, 107]


def test_a_state_of_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.json").write_text('{"version": 99}')
    with pytest.raises(StateError, match="version 99"):
        divided(tmp_path, 2)


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1), (2, 3), (4, 2)])
def test_killed_at_any_moment_it_is_the_old_division_or_the_new_one(state: Path, before: int, after: int) -> None:
    """A child ends at once before its first, second … change of the file system, until one gets through."""
    flying(state)
    divided(state, before)
    wanted = sorted(one for own in offsets(state, before) for one in own.items())
    for steps in range(1000):
        code = in_a_child(lambda: divided(state, after), steps)
        finish(state)
        now = after if len(folders(state)) == (after if after > 1 else 0) else before
        assert sorted(one for own in offsets(state, now) for one in own.items()) == wanted
        flown = [one for left in offsets_of_flown(state, now) for one in left]
        assert flown == [(100, 150, 9)]
        if code == 0:
            break
        divided(state, before)
    assert (code, now, (state / PLAN).exists()) == (0, after, False)
    assert steps > 5


def offsets_of_flown(state: Path, workers: int) -> list[list[tuple[int, int, int]]]:
    lefts = [read(folder_of(state, worker, workers), ["app"], ["out"]) for worker in range(workers)]
    return [
        [(one.start, one.end, one.slot) for one in left.partitions.of("app")[FILES[0]].flown]
        for left in lefts
        if FILES[0] in left.partitions.of("app")
    ]


CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "shutil.rmtree"}


def in_a_child(work: Any, steps: int) -> int:
    """Do it in a process that ends after so many changes of the file system. Returns its exit code."""
    pid = os.fork()
    if pid == 0:
        left = steps

        def count(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal left
            writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
            if event in CHANGES or writes:
                left -= 1
                if left < 0:
                    os._exit(9)

        sys.addaudithook(count)
        work()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
