"""The status says how far everything is, from the state folder alone and from the run itself."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec
import pytest

from tailrace.pipeline.batch import Batch, Position
from tailrace.pipeline.checkpoint import Checkpoint, Saved, State
from tailrace.pipeline.component import Lag, RetryAfter, Sink, Stage
from tailrace.pipeline.flight import Flown, Taken
from tailrace.pipeline.log import log
from tailrace.pipeline.options import Duration
from tailrace.pipeline.runner import Runner
from tailrace.pipeline.sources.file import File
from tailrace.pipeline.status import (
    FOREMOST,
    PartitionStatus,
    SinkBooks,
    SinkStatus,
    SourceStatus,
    StageStatus,
    Status,
    foremost,
    holder,
    merged,
    of_run,
    of_state,
)
from tailrace.pipeline.troubles import Trouble, Troubles
from tailrace.testing import ListSink, ListSource

LINES = [[b"one", b"two", b"three"], [b"four"]]


class Lagging(ListSource):
    def lag(self) -> Iterable[Lag]:
        return [Lag("list", 12, 1.5)]

    def failing(self) -> Mapping[str, str]:
        return {"b.log": "Permission denied"}


class Pick(Stage):
    """Drops one record and fails on another."""

    def process(self, batch: Batch) -> Batch:
        if any(record.line == b"three" for record in batch.records):
            raise ValueError("odd")
        return batch.with_records([record for record in batch.records if record.line != b"one"])


class Down(ListSink):
    async def send(self, batches: Sequence[Batch]) -> None:
        raise RetryAfter("down", 0.0)


def runner_of(state: Path, *sinks: Sink, stages: Sequence[Stage] = ()) -> Runner:
    for stage in stages:
        stage.name = stage.word()
    for place, sink in enumerate(sinks):
        sink.name, sink.batch_wait = f"sink{place}", Duration(0)
    source = Lagging(name="app", lines=LINES)
    named = {sink.name: sink for sink in sinks}
    return Runner({"app": source}, stages, named, wanted=[None] * len(stages), state=state, drain=0.0)


def unknown(source: str, position: Position) -> int | None:
    return None


async def test_a_run_tells_of_its_partitions_sinks_and_books(tmp_path: Path) -> None:
    runner = runner_of(tmp_path, ListSink(reject="two"), ListSink(), stages=[Pick()])
    assert await runner.run(once=True) == 0
    status = of_run(runner, "1.2.3")
    assert (status.state, status.running, status.pid, status.version) == (str(tmp_path), True, os.getpid(), "1.2.3")
    assert status.errors == {"app": {"b.log": "Permission denied"}}
    (one,) = status.partitions
    assert (one.source, one.partition, one.position, one.read, one.events) == ("app", "list", 4, 4, 4)
    assert (one.size, one.lag_bytes, one.lag_seconds) == (16, 12, 1.5)
    assert one.taken == {"sink0": 4, "sink1": 4}
    assert one.books == {"sink0": SinkBooks(1, 1, 2, 0, 0), "sink1": SinkBooks(2, 1, 1, 0, 0)}
    for sink, delivered, dead in zip(status.sinks, (1, 2), (1, 0), strict=True):
        assert (sink.use, sink.up, sink.in_flight, sink.residual) == ("list_sink", True, 0, 0)
        assert (sink.delivered, sink.dead, sink.bytes, sink.dropped, sink.retries) == (delivered, dead, 7, {}, 0)
        assert (sink.queue_bytes, sink.queue_limit) == (0, 2 << 20)


async def test_a_run_tells_what_each_source_and_stage_did(tmp_path: Path) -> None:
    runner = runner_of(tmp_path, ListSink(), stages=[Pick()])
    assert await runner.run(once=True) == 0
    status = of_run(runner, "1")
    assert status.at is not None
    assert status.started is not None
    assert status.at >= status.started > 1_600_000_000
    (source,), (stage,) = status.sources, status.stages
    assert source.seconds >= stage.seconds > 0
    source.seconds = stage.seconds = 0.0
    assert source == SourceStatus("app", "lagging", 4, 19, partitions=1, lag_bytes=12, lag_seconds=1.5)
    dropped = {"dropped": 1}
    assert stage == StageStatus("pick", "pick", 4, 2, bytes_in=15, bytes_out=7, dropped=dropped, dead=1)


async def test_a_run_tells_what_went_wrong_lately_without_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Hide(Pick):
        protects = True

        def clean(self, text: str) -> str:
            return text.replace("odd", "[HIDDEN]")

    monkeypatch.setattr(log, "troubles", Troubles())
    runner = runner_of(tmp_path, ListSink(reject="two"), stages=[Hide()])
    assert await runner.run(once=True) == 0
    log.warning("delivery failed", sink="sink0", error="odd")
    log.info("delivery works again", sink="sink0")
    troubles = of_run(runner, "1").troubles
    assert [(one.where, one.what, one.detail, one.times) for one in troubles] == [
        ("sink0", "delivery failed", "[HIDDEN]", 1),
        ("sink0", "dead letter", "told to reject", 1),
        ("hide", "dead letter", "ValueError", 1),
    ]


def test_the_numbers_of_several_workers_are_added_up() -> None:
    def part(number: int) -> Status:
        return Status(
            state="x",
            at=100.0 + number,
            started=50.0 + number,
            sources=[SourceStatus("app", "file", 5, 50, partitions=2, lag_bytes=9, lag_seconds=1.0 + number)],
            stages=[StageStatus("parse", "parse", 5, 4, dropped={"odd": 1, str(number): 1}, seconds=0.5)],
            sinks=[SinkStatus("loki", "loki", up=number == 0, delivered=4, dropped={}, queue_bytes=number)],
            troubles=[Trouble(90.0 + number, "loki", "failed")],
        )

    whole = merged([part(0), part(1)], Path("x"), 7)
    assert (whole.at, whole.started) == (101.0, 50.0)
    assert whole.sources == [SourceStatus("app", "file", 10, 100, partitions=4, lag_bytes=18, lag_seconds=2.0)]
    assert whole.stages == [StageStatus("parse", "parse", 10, 8, dropped={"odd": 2, "0": 1, "1": 1}, seconds=1.0)]
    assert whole.sinks == [SinkStatus("loki", "loki", up=False, delivered=8, dropped={}, queue_bytes=1)]
    assert whole.troubles == [Trouble(91.0, "loki", "failed", worker=1), Trouble(90.0, "loki", "failed", worker=0)]


def test_what_cannot_be_read_and_what_is_furthest_behind_comes_first_and_not_all_of_it() -> None:
    many = [PartitionStatus("app", str(number), 0, lag_bytes=number) for number in range(FOREMOST)]
    found = foremost([*many, PartitionStatus("app", "odd", 0, error="Permission denied")])
    assert [one.partition for one in found[:3]] == ["odd", str(FOREMOST - 1), str(FOREMOST - 2)]
    assert (len(found), found[-1].partition) == (FOREMOST, "1")


def test_where_no_worker_tells_there_is_nothing_to_add_up() -> None:
    whole = merged([Status(state="x")], Path("x"), None)
    assert (whole.at, whole.started, whole.sources, whole.troubles) == (None, None, [], [])


async def test_a_sink_that_fails_says_why(tmp_path: Path) -> None:
    runner = runner_of(tmp_path, Down())
    running = asyncio.ensure_future(runner.run())
    while not (runner.deliveries[0].failing and runner.deliveries[0].held_events == 4):  # noqa: ASYNC110  # plain state
        await asyncio.sleep(0)
    (sink,) = of_run(runner, "1").sinks
    (one,) = of_run(runner, "1").partitions
    assert (sink.up, sink.error, sink.in_flight, sink.residual) == (False, "RetryAfter: down", 4, 0)
    assert one.books == {"sink0": SinkBooks(0, 0, 0, 4, 0)}
    assert (one.position, one.read) == (0, 4)
    runner.stop()
    assert await running == 1


async def test_the_state_folder_tells_what_was_delivered_and_what_was_on_its_way(tmp_path: Path) -> None:
    runner = runner_of(tmp_path, ListSink(reject="two"), ListSink(), stages=[Pick()])
    assert await runner.run(once=True) == 0
    entries: list[Flown | Taken] = [Flown("app", "list", 4, 10, 1, 0), Taken(99, "sink1", {}, [("app", "list", 4, 10)])]
    flight = tmp_path / "flight.jsonl"
    flight.write_bytes(flight.read_bytes() + b"".join(msgspec.json.encode(entry) + b"\n" for entry in entries))
    status = of_state(tmp_path, ["app"], ["sink0", "sink1"], lambda source, position: 30)
    assert (status.running, status.pid, status.dead_letters) == (False, None, {"pick": 1, "sink0": 1})
    assert status.checkpoint_age is not None
    (one,) = status.partitions
    assert (one.position, one.size, one.lag_bytes, one.books) == (4, 30, 26, {})
    assert one.taken == {"sink0": 4, "sink1": 10}
    assert status.sinks == [SinkStatus("sink0", in_flight_bytes=6), SinkStatus("sink1", in_flight_bytes=0)]


async def test_of_a_file_the_state_folder_knows_path_and_size(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b"one\ntwo\n")
    sink = ListSink(name="sink", batch_wait=Duration(0))
    source = File(name="app", include=[str(path)])
    runner = Runner({"app": source}, [], {"sink": sink}, wanted=[], state=tmp_path / "state")
    assert await runner.run(once=True) == 0
    path.write_bytes(b"one\ntwo\nthree\n")
    (one,) = of_state(tmp_path / "state", ["app"], ["sink"], lambda source, position: File.extent(position)).partitions
    assert (one.path, one.position, one.size, one.lag_bytes) == (str(path), 8, 14, 6)


def test_what_cannot_be_measured_says_why(tmp_path: Path) -> None:
    Checkpoint(tmp_path).save(State({"app": {"p": Saved({"offset": 3})}}, {}))

    def extent(source: str, position: Position) -> int | None:
        raise PermissionError(13, "Permission denied")

    (one,) = of_state(tmp_path, [], [], extent).partitions
    assert (one.source, one.position, one.size, one.error) == ("app", 3, None, "Permission denied")


def test_a_folder_that_was_never_used_is_empty(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    status = of_state(folder, ["app"], ["sink"], unknown)
    assert status == Status(state=str(folder), sinks=[SinkStatus("sink", in_flight_bytes=0)])
    assert not folder.exists()


def test_who_holds_the_folder_is_told_as_long_as_it_does(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path)
    assert holder(tmp_path) is None
    checkpoint.lock()
    assert holder(tmp_path) == os.getpid()
    checkpoint.unlock()
    assert holder(tmp_path) is None


async def test_the_books_of_a_partition_that_is_done_with_are_kept(tmp_path: Path) -> None:
    class Ending(Lagging):
        def forgotten(self) -> Iterable[str]:
            return ["list"]

    sink = ListSink(name="sink", batch_wait=Duration(0))
    source = Ending(name="app", lines=LINES)
    runner = Runner({"app": source}, [], {"sink": sink}, wanted=[], state=tmp_path)
    assert await runner.run(once=True) == 0
    assert list(runner.partitions) == []
    books = runner.partitions.books("app")
    assert (books.read, books.of("sink").delivered, books.residual("sink")) == (4, 4, 0)
