"""One run: everything read is delivered once, the books are closed at every moment, the checkpoint is never ahead."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailrace.pipeline import runner as module
from tailrace.pipeline.batch import Batch, Chunk, Position
from tailrace.pipeline.checkpoint import Checkpoint, StateError
from tailrace.pipeline.component import Gone, ProbeError, RetryAfter, Sink, Source, Stage
from tailrace.pipeline.dead_letter import DeadLetter
from tailrace.pipeline.match import Match
from tailrace.pipeline.options import Duration, Size
from tailrace.pipeline.record import Record
from tailrace.pipeline.runner import Runner
from tailrace.testing import READ_AT, ListSink, ListSource

LINES = [[b"%d" % n for n in range(start, start + 3)] for start in range(0, 12, 3)]
START: list[bytes] = []
"""An empty chunk: where a partition begins is known before anything of it was delivered."""
ALL = [line for lines in LINES for line in lines]


class Follow(ListSource):
    """Waits for more at the end, as a followed file does; notes what the runner tells it."""

    _read: int = 0
    _committed: list[Mapping[str, Position]] = []
    _gone: set[str] = set()

    @property
    def read(self) -> int:
        return self._read

    @property
    def committed(self) -> list[Mapping[str, Position]]:
        return self._committed

    async def chunks(self, resume: Mapping[str, Position], *, once: bool) -> AsyncGenerator[Chunk, None]:
        async for chunk in super().chunks(resume, once=once):
            self._read += 1
            yield chunk
        if not once:
            await asyncio.Event().wait()

    async def commit(
        self,
        positions: Mapping[str, Position],
        states: Mapping[str, bytes],
        taken: Mapping[str, Mapping[str, int]],
    ) -> None:
        self._committed.append(positions)

    def forgotten(self) -> Iterable[str]:
        gone, self._gone = self._gone, set()
        return gone


class Down(ListSink):
    """Takes some records, then fails for ever, without a wait between the attempts."""

    takes: int = 0

    async def send(self, batches: Sequence[Batch]) -> None:
        if len(self.got) >= self.takes:
            raise RetryAfter("down", 0.0)
        await super().send(batches)


class Copier(ListSink):
    """Copies lines as they are."""

    def cuts(self) -> bool:
        return False


class Asked(ListSource):
    """Notes whether it may leave lines in one piece."""

    _whole: bool = False

    @property
    def whole(self) -> bool:
        return self._whole

    def leave_whole(self) -> None:
        self._whole = True


class Slow(ListSink):
    """Lets others run before it takes anything, and again before it says so."""

    async def send(self, batches: Sequence[Batch]) -> None:
        for _ in range(3):
            await asyncio.sleep(0)
        await super().send(batches)


class Forgetful(Slow):
    """Has taken the records when it is cut off before it can say so, as a server may have."""

    async def send(self, batches: Sequence[Batch]) -> None:
        await super().send(batches)
        await asyncio.sleep(0)


class Choke(Stage):
    """Raises on some records, drops others."""

    bad: bytes = b"bad"
    reason: ClassVar[str] = "unwanted"

    def process(self, batch: Batch) -> Batch:
        if any(record.line == self.bad for record in batch.records):
            raise ValueError("cannot swallow this")
        return batch.with_records([record for record in batch.records if record.line != b"unwanted"])


class Count(Stage):
    """Carries a number from batch to batch."""

    def process(self, batch: Batch) -> Batch:
        for record in batch.records:
            batch.state[self.name] = batch.state.get(self.name, 0) + 1
            record.set("n", batch.state[self.name])
        return batch


def runner_of(
    state: Path, source: Source | None = None, *sinks: Sink, stages: Sequence[Stage] = (), drain: float = 0.0
) -> Runner:
    source = source or ListSource(lines=LINES)
    source.name = "app"
    for sink in sinks:
        sink.batch_wait, sink.batch_bytes = Duration(0), Size(1)
    for stage in stages:
        stage.name = stage.word()
    named = {f"{sink.word()}{place}": sink for place, sink in enumerate(sinks)}
    for name, sink in named.items():
        sink.name = name
    clock = itertools.count(READ_AT, 1_000_000)
    return Runner(
        {"app": source},
        stages,
        named,
        wanted=[None] * len(stages),
        state=state,
        drain=drain,
        clock_ns=lambda: next(clock),
    )


def assert_books_closed(runner: Runner) -> None:
    for delivery in runner.deliveries:
        assert runner.residual(delivery) == 0
        for source in runner.sources:
            assert runner.partitions.books(source).residual(delivery.sink.name) == 0
            for partition in runner.partitions.of(source).values():
                assert partition.ledger.books.residual(delivery.sink.name) == 0


def lines(sink: ListSink) -> list[bytes]:
    return [record.line for record in sink.got]


def saved_offset(state: Path) -> int:
    partitions = Checkpoint(state).load().sources.get("app", {})
    return int(partitions["list"].position["offset"]) if "list" in partitions else 0


async def steps(n: int = 200) -> None:
    for _ in range(n):
        await asyncio.sleep(0)


async def until(condition: Callable[[], object]) -> None:
    """Let the others run until it is so."""
    while not condition():  # noqa: ASYNC110  # what it waits for is plain state
        await asyncio.sleep(0)


async def stopped(runner: Runner, condition: Callable[[], object]) -> int:
    """Run until it is so, then stop."""
    running = asyncio.ensure_future(runner.run())
    await until(condition)
    await steps()
    runner.stop()
    return await running


async def test_everything_read_is_delivered_to_every_sink(tmp_path: Path) -> None:
    sinks = ListSink(), ListSink()
    runner = runner_of(tmp_path, None, *sinks)
    assert await runner.run(once=True) == 0
    assert [lines(sink) for sink in sinks] == [ALL, ALL]
    assert saved_offset(tmp_path) == 12
    assert_books_closed(runner)


async def test_the_next_run_goes_on_where_this_one_ended(tmp_path: Path) -> None:
    first = ListSink()
    assert await runner_of(tmp_path, ListSource(lines=LINES[:2]), first).run(once=True) == 0
    second = ListSink()
    runner = runner_of(tmp_path, None, second)
    assert await runner.run(once=True) == 0
    assert lines(first) + lines(second) == ALL
    assert_books_closed(runner)


async def test_a_run_with_nothing_to_read_ends_well(tmp_path: Path) -> None:
    runner = runner_of(tmp_path, ListSource(), ListSink())
    assert await runner.run(once=True) == 0
    assert Checkpoint(tmp_path).load().sources == {}
    assert_books_closed(runner)


async def test_what_stages_carry_goes_on_after_a_restart(tmp_path: Path) -> None:
    first, second = ListSink(), ListSink()
    await runner_of(tmp_path, ListSource(lines=LINES[:2]), first, stages=[Count()]).run(once=True)
    await runner_of(tmp_path, None, second, stages=[Count()]).run(once=True)
    assert [record.fields["n"] for record in first.got + second.got] == list(range(1, 13))
    times = [record.time_ns or 0 for record in first.got + second.got]
    assert times == sorted(set(times))


async def test_what_stages_carry_outlives_a_run_in_which_nothing_moved(tmp_path: Path) -> None:
    first = Down(takes=3), ListSink()
    runner = runner_of(tmp_path, Follow(lines=LINES[:1]), *first, stages=[Count()])
    await stopped(runner, lambda: all(len(sink.got) == 3 for sink in first))
    second = Down(), ListSink()  # one sink goes on, the position stays
    runner = runner_of(tmp_path, Follow(lines=LINES), *second, stages=[Count()])
    assert await stopped(runner, lambda: len(second[1].got) == 9) == 1
    third = Down(takes=100), ListSink()
    assert await runner_of(tmp_path, None, *third, stages=[Count()]).run(once=True) == 0
    for sinks in zip(first, second, third, strict=True):
        assert [record.fields["n"] for sink in sinks for record in sink.got] == list(range(1, 13))


async def test_what_is_dropped_dead_or_rejected_is_in_the_books_and_in_the_dead_letter(tmp_path: Path) -> None:
    source = ListSource(lines=[[b"good", b"bad", b"unwanted"], [b"refused", b"fine"], [b"bad"]])
    everything, errors = ListSink(reject="refused"), ListSink(match=Match('{message="fine"}'))
    runner = runner_of(tmp_path, source, everything, errors, stages=[Choke()])
    assert await runner.run(once=True) == 0
    assert (lines(everything), lines(errors)) == ([b"good", b"fine"], [b"fine"])
    assert_books_closed(runner)
    letters = [json.loads(line) for line in runner.dead_letter.path.read_bytes().splitlines()]
    assert sorted((one["offset"], one["where"], one["line"]) for one in letters) == [
        (1, "choke", "bad"),
        (3, "list_sink0", "refused"),
        (5, "choke", "bad"),
    ]
    assert saved_offset(tmp_path) == 6


async def test_once_waits_for_a_failing_sink_as_long_as_it_takes(tmp_path: Path) -> None:
    sink = Down(takes=3)
    runner = runner_of(tmp_path, None, sink)
    running = asyncio.ensure_future(runner.run(once=True))
    await steps()
    assert not running.done()
    assert saved_offset(tmp_path) == 0 or saved_offset(tmp_path) == 3
    sink.takes = 100
    assert await running == 0
    assert lines(sink) == ALL
    assert_books_closed(runner)


async def test_stopped_while_a_sink_fails_for_ever_it_gives_up_after_the_drain(tmp_path: Path) -> None:
    down, up = Down(takes=3), ListSink()
    runner = runner_of(tmp_path, Follow(lines=LINES), down, up)
    running = asyncio.ensure_future(runner.run())
    await until(lambda: len(up.got) == len(ALL))
    runner.stop()
    assert await running == 1
    assert (lines(down), lines(up)) == (ALL[:3], ALL)
    assert saved_offset(tmp_path) == 3
    assert_books_closed(runner)


async def test_a_sink_that_was_ahead_is_not_sent_anything_twice(tmp_path: Path) -> None:
    down, up = Down(takes=3), ListSink()
    runner = runner_of(tmp_path, Follow(lines=LINES), down, up)
    running = asyncio.ensure_future(runner.run())
    await until(lambda: len(up.got) == len(ALL))
    runner.stop()
    assert await running == 1

    down_again, up_again = Down(takes=100), ListSink()
    runner = runner_of(tmp_path, None, down_again, up_again)
    assert await runner.run(once=True) == 0
    assert lines(down) + lines(down_again) == ALL
    assert lines(up) + lines(up_again) == ALL
    assert runner.deliveries[1].meter.dropped == {"delivered_before": 9}
    assert_books_closed(runner)


async def test_a_sink_that_is_new_in_the_config_gets_what_comes_from_now_on(tmp_path: Path) -> None:
    await runner_of(tmp_path, ListSource(lines=LINES[:2]), ListSink()).run(once=True)
    old, new = ListSink(), ListSink()
    runner = runner_of(tmp_path, None, old, new)
    assert await runner.run(once=True) == 0
    assert lines(old) == lines(new) == ALL[6:]
    assert_books_closed(runner)


async def test_stopped_with_all_delivered_it_ends_well(tmp_path: Path) -> None:
    sink = ListSink()
    runner = runner_of(tmp_path, Follow(lines=LINES), sink)
    running = asyncio.ensure_future(runner.run())
    await until(lambda: len(sink.got) == len(ALL))
    runner.stop()
    assert await running == 0
    assert saved_offset(tmp_path) == 12
    assert_books_closed(runner)


async def test_after_a_stop_what_was_read_is_delivered_within_the_drain(tmp_path: Path) -> None:
    sink = Slow()
    runner = runner_of(tmp_path, Follow(lines=LINES), sink, drain=60.0)
    running = asyncio.ensure_future(runner.run())
    await until(lambda: sink.got)
    runner.stop()
    assert await running == 0
    assert lines(sink) == ALL[: len(sink.got)]
    assert saved_offset(tmp_path) == len(sink.got)
    assert_books_closed(runner)


async def test_a_full_queue_holds_the_source_and_the_books_stay_closed(tmp_path: Path) -> None:
    down, up = Down(takes=0), ListSink()
    source = Follow(lines=[[b"x" * 10] for _ in range(100)])
    runner = runner_of(tmp_path, source, down, up)
    down.queue_bytes = Size(25)
    running = asyncio.ensure_future(runner.run())
    for _ in range(300):
        await asyncio.sleep(0.001 if len(up.got) < 3 else 0)  # writing the state down takes its time in a thread
        assert_books_closed(runner)
        assert runner.deliveries[0].held_bytes <= 25 + 10
    assert source.read == 3  # the third is above the limit
    assert len(up.got) == 3  # the sink that works gets all that was read
    runner.stop()
    assert await running == 1
    assert_books_closed(runner)


async def test_while_a_dead_record_is_written_down_the_books_stay_closed(tmp_path: Path) -> None:
    sink = ListSink()
    source = Follow(lines=[[b"good", b"bad"]] * 5)
    runner = runner_of(tmp_path, source, sink, stages=[Choke()])
    running = asyncio.ensure_future(runner.run(once=True))
    while not running.done():
        assert_books_closed(runner)
        await asyncio.sleep(0)
    assert (await running, runner.dead_letter.written) == (0, 5)
    assert_books_closed(runner)


async def test_a_dead_record_that_cannot_be_written_down_is_read_again(tmp_path: Path) -> None:
    (tmp_path / "dead_letter.jsonl").mkdir()
    first = ListSink()
    source = Follow(lines=[START, [b"good", b"bad"], [b"fine"]])
    runner = runner_of(tmp_path, source, first, stages=[Choke()])
    running = asyncio.ensure_future(runner.run())
    await until(lambda: first.got)
    runner.stop()
    await running
    assert saved_offset(tmp_path) == 0
    assert_books_closed(runner)

    (tmp_path / "dead_letter.jsonl").rmdir()
    second = ListSink()
    runner = runner_of(tmp_path, ListSource(lines=source.lines), second, stages=[Choke()])
    assert await runner.run(once=True) == 0
    assert lines(first) + lines(second) == [b"good", b"fine"]
    assert runner.dead_letter.written == 1
    assert_books_closed(runner)


async def test_a_reader_that_went_away_ends_the_run_well(tmp_path: Path) -> None:
    class Head(ListSink):
        async def send(self, batches: Sequence[Batch]) -> None:
            if self.got:
                raise Gone("closed")
            await super().send(batches)

    head, other = Head(), ListSink()
    runner = runner_of(tmp_path, Follow(lines=LINES), head, other)
    assert await runner.run() == 0
    assert lines(head) == ALL[:3]
    assert lines(other) == ALL[: len(other.got)]
    assert saved_offset(tmp_path) == 3
    assert_books_closed(runner)


async def test_a_reader_that_went_away_does_not_hide_that_another_sink_is_behind(tmp_path: Path) -> None:
    class Closed(ListSink):
        async def send(self, batches: Sequence[Batch]) -> None:
            raise Gone("closed")

    runner = runner_of(tmp_path, Follow(lines=LINES), Closed(), Down())
    assert await runner.run() == 1
    assert saved_offset(tmp_path) == 0
    assert_books_closed(runner)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_and_drains(tmp_path: Path, number: signal.Signals) -> None:
    class Raise(ListSink):
        async def send(self, batches: Sequence[Batch]) -> None:
            if not self.got:
                os.kill(os.getpid(), number)
            await super().send(batches)

    sink = Raise()
    runner = runner_of(tmp_path, Follow(lines=LINES), sink, drain=60.0)
    assert await runner.run() == 0
    assert lines(sink) == ALL[: len(sink.got)]
    assert_books_closed(runner)


def test_a_second_signal_leaves_at_once(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import asyncio, os, signal, sys
        from pathlib import Path
        from tailrace.pipeline.component import RetryAfter
        from tailrace.pipeline.runner import Runner
        from tailrace.testing import ListSink, ListSource

        class Stubborn(ListSink):
            async def send(self, batches):
                os.kill(os.getpid(), signal.SIGTERM)
                raise RetryAfter("down", 0.0)

        source, sink = ListSource(lines=[[b"a"]], name="app"), Stubborn(name="sink", batch_wait=0.0)
        runner = Runner({"app": source}, [], {"sink": sink}, wanted=[], state=Path(sys.argv[1]), drain=3600.0)
        print("code", asyncio.run(runner.run()))
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert saved_offset(tmp_path) == 0


async def test_a_source_that_breaks_ends_the_run_with_its_error(tmp_path: Path) -> None:
    class Broken(ListSource):
        async def chunks(self, resume: Mapping[str, Position], *, once: bool) -> AsyncGenerator[Chunk, None]:
            async for chunk in super().chunks(resume, once=once):
                yield chunk
            raise ValueError("broken")

    sink = ListSink()
    runner = runner_of(tmp_path, Broken(lines=LINES), sink)
    with pytest.raises(ExceptionGroup) as caught:
        await runner.run()
    assert caught.group_contains(ValueError, match="broken")
    assert saved_offset(tmp_path) == len(sink.got)
    assert_books_closed(runner)
    assert await runner_of(tmp_path, None, ListSink()).run(once=True) == 0  # the folder was given back


async def test_two_runs_do_not_share_a_state_folder(tmp_path: Path) -> None:
    runner = runner_of(tmp_path, Follow(lines=LINES), ListSink())
    running = asyncio.ensure_future(runner.run())
    await steps(5)
    with pytest.raises(StateError, match="in use by another tailrace"):
        await runner_of(tmp_path, None, ListSink()).run(once=True)
    runner.stop()
    await running
    assert_books_closed(runner)


async def test_a_sink_that_cannot_open_stops_the_start_and_the_others_are_closed(tmp_path: Path) -> None:
    told: list[str] = []

    class Opens(ListSink):
        async def close(self) -> None:
            told.append(f"closed {self.name}")

    class Fails(Opens):
        async def open(self) -> None:
            raise ProbeError("no such file", "tls")

    with pytest.raises(ProbeError, match="no such file"):
        await runner_of(tmp_path, None, Opens(), Fails()).run(once=True)
    assert told == ["closed opens0"]
    assert await runner_of(tmp_path, None, ListSink()).run(once=True) == 0  # the folder was given back


async def test_a_source_is_told_the_positions_that_were_saved(tmp_path: Path) -> None:
    source = Follow(lines=LINES)
    assert await runner_of(tmp_path, source, ListSink()).run(once=True) == 0
    assert source.committed[-1] == {"list": {"offset": 12}}


async def test_a_forgotten_partition_leaves_the_checkpoint_once_it_is_delivered(tmp_path: Path) -> None:
    source, sink = Follow(lines=LINES), Down(takes=3)
    source._gone = {"list", "a file that was empty"}
    runner = runner_of(tmp_path, source, sink)
    running = asyncio.ensure_future(runner.run())
    await until(lambda: source.read == len(LINES) and len(sink.got) == 3)
    runner.stop()
    assert await running == 1
    assert saved_offset(tmp_path) == 3

    source, sink = Follow(lines=LINES), Down(takes=100)
    source._gone = {"list"}
    assert await runner_of(tmp_path, source, sink).run(once=True) == 0
    assert lines(sink) == ALL[3:]
    assert Checkpoint(tmp_path).load().sources == {"app": {}}


async def test_a_checkpoint_that_cannot_be_written_stays_behind_and_is_tried_again(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.tmp").mkdir(parents=True)
    sink = ListSink()
    runner = runner_of(tmp_path, None, sink)
    assert await runner.run(once=True) == 0
    assert lines(sink) == ALL
    assert saved_offset(tmp_path) == 0
    (tmp_path / "checkpoint.tmp").rmdir()
    again = ListSink()
    assert await runner_of(tmp_path, None, again).run(once=True) == 0
    assert again.got == []  # that it was delivered stands in the flight file too
    assert saved_offset(tmp_path) == 12


async def test_positions_are_saved_while_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHECKPOINT_SECONDS", 0.0)
    runner = runner_of(tmp_path, Follow(lines=LINES), ListSink())
    running = asyncio.ensure_future(runner.run())
    while saved_offset(tmp_path) < 12:
        assert not running.done()
        await asyncio.sleep(0)
    runner.stop()
    assert await running == 0
    assert_books_closed(runner)


async def test_the_last_save_holds_everything_even_if_one_was_under_way_when_the_run_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHECKPOINT_SECONDS", 0.0)
    for n in range(50):
        assert await runner_of(tmp_path / str(n), None, Slow()).run(once=True) == 0
        assert saved_offset(tmp_path / str(n)) == 12


async def test_while_nothing_moves_nothing_is_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHECKPOINT_SECONDS", 0.0)
    source = Follow(lines=LINES)
    runner = runner_of(tmp_path, source, ListSink())
    running = asyncio.ensure_future(runner.run())
    await until(lambda: {"list": {"offset": 12}} in source.committed)
    saves, at = len(source.committed), runner.saved_at
    await until(lambda: runner.saved_at > at)  # it was looked at again
    assert len(source.committed) == saves
    runner.stop()
    assert await running == 0


@pytest.mark.parametrize("end", ["stop", "cancel"])
@pytest.mark.parametrize("kind", [ListSink, Slow])
async def test_ended_at_any_moment_the_next_run_delivers_the_rest(
    tmp_path: Path, kind: type[ListSink], end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHECKPOINT_SECONDS", 0.0)
    source = [START, *([b"good %d" % n, b"bad"] for n in range(4))]
    cut = 0
    for moment in itertools.count(0, 4):
        state = tmp_path / str(moment)
        first, behind = kind(), Slow()
        runner = runner_of(state, ListSource(lines=source), first, behind, stages=[Choke(), Count()], drain=60.0)
        running = asyncio.ensure_future(runner.run(once=True))
        await steps(moment)
        done = running.done()
        if end == "stop":
            runner.stop()
        else:
            running.cancel()
        await asyncio.wait([running])
        with runner.checkpoint._saving:  # a process that is gone writes no more, a cancelled run's thread may
            pass
        assert_books_closed(runner)
        assert saved_offset(state) <= 2 * min(len(first.got), len(behind.got))

        second, behind_again = kind(), Slow()
        runner = runner_of(state, ListSource(lines=source), second, behind_again, stages=[Choke(), Count()])
        assert await runner.run(once=True) == 0
        assert_books_closed(runner)
        for before, after in ((first, second), (behind, behind_again)):
            numbers = {record.line: record.fields["n"] for record in before.got + after.got}
            assert numbers == {b"good %d" % n: n + 1 for n in range(4)}
            if end == "stop":  # a cancelled run may be cut off in its last save, as by a kill
                assert len(before.got) + len(after.got) == 4
        if done:
            break
        cut += 1
    assert cut > 3


@pytest.mark.parametrize("kind", [Slow, Forgetful])
async def test_killed_at_any_moment_nothing_is_lost_and_a_repeat_is_equal_in_all_but_the_attempt(
    tmp_path: Path, kind: type[ListSink], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHECKPOINT_SECONDS", 0.0)

    class Timed(Stage):
        """The time that a parser would find."""

        def process(self, batch: Batch) -> Batch:
            for record in batch.records:
                record.time_ns = READ_AT + record.offset // 5
            return batch

    def shipped(sink: ListSink) -> list[tuple[int, bytes, int | None, object]]:
        return [(r.offset, r.line, r.time_ns, r.fields["n"]) for r in sink.got]

    whole = kind()
    await runner_of(tmp_path / "whole", None, whole, stages=[Timed(), Count()]).run(once=True)
    for moment in range(0, 60, 3):
        state, killed = tmp_path / f"a{moment}", tmp_path / f"b{moment}"
        first = kind()
        runner = runner_of(state, ListSource(lines=LINES), first, stages=[Timed(), Count()])
        running = asyncio.ensure_future(runner.run(once=True))
        await steps(moment)
        # What is on disk now is what a kill would leave; what the sink has got by now, it has got.
        killed.mkdir()
        if (state / "checkpoint.json").exists():
            shutil.copy(state / "checkpoint.json", killed)
        before = shipped(first)
        running.cancel()
        await asyncio.wait([running])

        second = kind()
        runner = runner_of(killed, ListSource(lines=LINES), second, stages=[Timed(), Count()])
        assert await runner.run(once=True) == 0
        assert_books_closed(runner)
        assert saved_offset(killed) == 12
        after = shipped(second)
        assert before == shipped(whole)[: len(before)]
        assert after == shipped(whole)[len(ALL) - len(after) :]
        assert len(before) + len(after) >= len(ALL)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_however_sinks_fail_and_runs_end_every_record_reaches_every_sink_once(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    state = tmp_path_factory.mktemp("state")
    words = st.sampled_from([b"good", b"bad", b"unwanted"])
    source = [START] + [
        [b"%s %d" % (word, n) if word == b"good" else word for word in chunk]
        for n, chunk in enumerate(data.draw(st.lists(st.lists(words, max_size=4), max_size=6)))
    ]
    good = [line for chunk in source for line in chunk if line.startswith(b"good")]
    got: list[list[Record]] = [[], []]

    async def one_run(takes: tuple[int, int], stop_after: int | None) -> int:
        sinks = [Down(takes=limit) for limit in takes]
        runner = runner_of(state, Follow(lines=source), *sinks, stages=[Choke()])
        running = asyncio.ensure_future(runner.run(once=stop_after is None))
        if stop_after is not None:
            await steps(stop_after)
            runner.stop()
        code = await running
        assert_books_closed(runner)
        for kept, sink in zip(got, sinks, strict=True):
            kept += sink.got
        return code

    for _ in range(data.draw(st.integers(0, 3))):
        takes = data.draw(st.tuples(st.integers(0, 4), st.integers(0, 4)))
        asyncio.run(one_run(takes, data.draw(st.integers(0, 60))))
    assert asyncio.run(one_run((1000, 1000), None)) == 0
    for kept in got:
        assert [record.line for record in kept] == good


async def test_a_full_dead_letter_holds_the_run_until_there_is_room(tmp_path: Path) -> None:
    dead_letter = DeadLetter(tmp_path / "dead_letter.jsonl", max_bytes=1)
    source, sink = ListSource(name="app", lines=[[b"good", b"bad"], [b"bad"], [b"fine"]]), ListSink(name="sink")
    choke = Choke(name="choke")
    runner = Runner(
        {"app": source}, [choke], {"sink": sink}, wanted=[None], state=tmp_path, dead_letter=dead_letter, drain=0.0
    )
    running = asyncio.ensure_future(runner.run(once=True))
    while not dead_letter.problem:
        await asyncio.sleep(0.001)
        assert_books_closed(runner)
    assert "full" in dead_letter.problem
    assert dead_letter.written == 1
    assert dead_letter.drop(lambda letter: True) == 1
    assert await running == 0
    assert (dead_letter.written, dead_letter.problem) == (2, "")
    assert lines(sink) == [b"good", b"fine"]
    assert_books_closed(runner)


@pytest.mark.parametrize(
    ("sinks", "stages", "whole"),
    [
        pytest.param([Copier], [], True, id="copies alone"),
        pytest.param([Copier, ListSink], [], False, id="another sink too"),
        pytest.param([Copier], [Choke], False, id="a stage"),
    ],
)
async def test_lines_stay_in_one_piece_only_where_nobody_looks_at_them(
    sinks: list[type[ListSink]], stages: list[type[Stage]], whole: bool, tmp_path: Path
) -> None:
    source = Asked(lines=LINES, name="app")
    run = Runner(
        {"app": source},
        [stage(name="stage") for stage in stages],
        {str(n): sink(name=str(n)) for n, sink in enumerate(sinks)},
        wanted=[None] * len(stages),
        state=tmp_path,
    )
    assert await run.run(once=True) == 0
    assert source.whole is whole
