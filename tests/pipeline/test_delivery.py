"""One sink's queue: bounded, in order, retried as long as it takes, settled only when taken."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import ClassVar

import pytest

from tailrace.pipeline import delivery as module
from tailrace.pipeline.ack import Ack
from tailrace.pipeline.batch import Batch, Dead, Position
from tailrace.pipeline.component import Gone, RetryAfter, Sink
from tailrace.pipeline.delivery import Delivery
from tailrace.pipeline.match import Match
from tailrace.pipeline.options import Duration, Size
from tailrace.testing import ListSink, batch_of


class Gate(ListSink):
    """Lets a send through for each `open`."""

    _sends: list[list[bytes]] = []
    _under_way: int = 0
    _most: int = 0

    @property
    def sends(self) -> list[list[bytes]]:
        return self._sends

    async def open(self) -> None:
        self.gate = asyncio.Semaphore(0)

    def let_through(self, sends: int = 1) -> None:
        for _ in range(sends):
            self.gate.release()

    async def send(self, batches: Sequence[Batch]) -> None:
        self._under_way += 1
        self._most = max(self._most, self._under_way)
        try:
            await self.gate.acquire()
        finally:
            self._under_way -= 1
        await super().send(batches)
        self._sends.append([record.line for batch in batches for record in batch.records])


class Broad(Gate):
    concurrency: ClassVar[int] = 3


class Pipe(ListSink):
    """Its reader goes away after some records."""

    after: int = 0

    async def send(self, batches: Sequence[Batch]) -> None:
        if len(self.got) >= self.after:
            raise Gone("the reader went away")
        await super().send(batches)


def ready(sink: Sink) -> Sink:
    sink.name = "sink"
    sink.batch_wait = Duration(0)
    return sink


def due(*lines: bytes, offset: int = 0, **labels: str) -> Batch:
    """A batch that owes an ack to the sink."""
    batch = batch_of(*lines, labels={"source": "test", **labels})
    for place, record in enumerate(batch.records):
        record.offset = offset + place
    batch.ack = Ack({"offset": offset + len(lines)}, offset + len(lines), ["sink"])
    batch.size = batch.measure()
    return batch


class Books:
    """A delivery and all that it told."""

    def __init__(self, sink: Sink) -> None:
        self.dead: list[tuple[Batch, Dead]] = []
        self.waits: list[float] = []
        self.settled = self.stopped = 0
        self.delivery = Delivery(ready(sink), self._keep_dead, settled=self._settle, stop=self._stop, jitter=self._wait)

    async def _keep_dead(self, batch: Batch, dead: list[Dead]) -> None:
        self.dead += [(batch, one) for one in dead]

    def _settle(self, sink: str, position: Position, batches: list[Batch]) -> None:
        assert sink == self.delivery.sink.name
        self.settled += len(batches)

    def _stop(self) -> None:
        self.stopped += 1

    def _wait(self, most: float) -> float:
        self.waits.append(most)
        return 0.0

    @property
    def residual(self) -> int:
        meter, delivery = self.delivery.meter, self.delivery
        return meter.events_in - meter.events_out - meter.dead - sum(meter.dropped.values()) - delivery.held_events


@asynccontextmanager
async def running(books: Books) -> AsyncIterator[Delivery]:
    """The delivery at work; all is delivered at the end."""
    await books.delivery.sink.open()
    async with asyncio.TaskGroup() as group:
        group.create_task(books.delivery.run())
        try:
            yield books.delivery
        finally:
            books.delivery.close()


async def turns(n: int = 20) -> None:
    """Let the others run."""
    for _ in range(n):
        await asyncio.sleep(0)


async def test_what_is_put_is_sent_in_order_and_settled() -> None:
    sink = ListSink()
    books = Books(sink)
    batches = [due(b"a", b"b"), due(b"c", offset=2)]
    async with running(books) as delivery:
        for batch in batches:
            delivery.put(batch)
    assert [record.line for record in sink.got] == [b"a", b"b", b"c"]
    assert [batch.ack.owed for batch in batches] == [set(), set()]
    assert (delivery.held_events, delivery.held_bytes, books.settled, books.residual) == (0, 0, 2, 0)
    assert (delivery.meter.events_in, delivery.meter.events_out, delivery.meter.bytes_out) == (3, 3, 3)


async def test_nothing_is_settled_before_it_was_taken() -> None:
    sink = Gate()
    books = Books(sink)
    batch = due(b"a")
    async with running(books) as delivery:
        delivery.put(batch)
        await turns()
        assert (batch.ack.owed, books.settled, delivery.held_events, books.residual) == ({"sink"}, 0, 1, 0)
        sink.let_through()
    assert (batch.ack.owed, books.settled) == (set(), 1)


async def test_batches_are_sent_together_up_to_batch_bytes() -> None:
    sink = Gate(batch_bytes=Size(4))
    books = Books(sink)
    async with running(books) as delivery:
        for line in (b"1", b"2", b"33", b"4444", b"too long by far", b"5"):
            delivery.put(due(line))
        sink.let_through(6)
    assert sink.sends == [[b"1", b"2", b"33"], [b"4444"], [b"too long by far"], [b"5"]]


async def test_what_waits_is_sent_at_the_latest_after_batch_wait() -> None:
    sink = ListSink()
    books = Books(sink)
    async with running(books) as delivery:
        delivery.put(due(b"little"))
        await turns()
        assert [record.line for record in sink.got] == [b"little"]


async def test_closed_it_does_not_wait_for_more() -> None:
    sink = ListSink()
    books = Books(sink)
    sink.batch_wait = Duration(3600)
    async with running(books) as delivery:
        delivery.put(due(b"little"))
    assert len(sink.got) == 1


async def test_a_batch_that_is_empty_or_does_not_match_is_settled_at_once() -> None:
    books = Books(ListSink(match=Match('{level="error"}')))
    empty, other = due(), due(b"x")
    books.delivery.put(empty)
    books.delivery.put(other)
    assert (empty.ack.owed, other.ack.owed, books.settled) == (set(), set(), 2)
    assert books.delivery.meter.dropped == {"no_match": 1}
    assert (books.delivery.held_events, books.residual) == (0, 0)


async def test_only_what_matches_is_sent_and_the_rest_is_counted() -> None:
    sink = ListSink(match=Match('{level="error"}'))
    books = Books(sink)
    batch = due(b"a", b"b", b"c")
    batch.records[1].set("level", "error")
    async with running(books) as delivery:
        delivery.put(batch)
        assert (delivery.held_events, delivery.held_bytes, books.residual) == (1, 1, 0)
    assert [record.line for record in sink.got] == [b"b"]
    assert (delivery.meter.dropped, books.residual) == ({"no_match": 2}, 0)
    assert [record.line for record in batch.records] == [b"a", b"b", b"c"]  # other sinks see them all


@pytest.mark.parametrize(
    ("skip", "sent"),
    [(0, [b"a", b"b", b"c"]), (10, [b"a", b"b", b"c"]), (12, [b"c"]), (13, []), (99, [])],
)
async def test_what_this_sink_took_before_the_restart_is_not_sent_again(skip: int, sent: list[bytes]) -> None:
    sink = ListSink()
    books = Books(sink)
    batch = due(b"a", b"b", b"c", offset=10)
    async with running(books) as delivery:
        delivery.put(batch, skip)
    assert [record.line for record in sink.got] == sent
    assert delivery.meter.dropped.get("delivered_before", 0) == 3 - len(sent)
    assert (batch.ack.owed, books.residual) == (set(), 0)


async def test_a_failed_send_is_tried_again_until_it_works() -> None:
    sink = ListSink(fail_times=3)
    books = Books(sink)
    batch = due(b"a")
    async with running(books) as delivery:
        delivery.put(batch)
        await turns(200)
        assert (delivery.failing, delivery.held_events) == ("", 0)
    assert [record.line for record in sink.got] == [b"a"]
    assert (delivery.meter.retries, delivery.meter.events_out, books.residual) == (3, 1, 0)


async def test_the_wait_doubles_up_to_half_a_minute() -> None:
    books = Books(ListSink(fail_times=10))
    async with running(books) as delivery:
        delivery.put(due(b"a"))
    assert books.waits == [0.25, 0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert max(books.waits) == module.BACKOFF_MOST


async def test_the_next_send_begins_with_a_short_wait_again() -> None:
    sink = ListSink(fail_times=2)
    books = Books(sink)
    async with running(books) as delivery:
        delivery.put(due(b"a"))
        await turns(100)
        sink.fail_times = 1
        delivery.put(due(b"b"))
    assert books.waits == [0.25, 0.5, 0.25]


async def test_the_wait_is_as_long_as_the_other_side_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    class Busy(ListSink):
        async def send(self, batches: Sequence[Batch]) -> None:
            raise RetryAfter("too many requests", 3600.0)

    books = Books(Busy())
    books.delivery.sink.name = "busy"
    caplog.set_level(logging.INFO, "tailrace")
    batch = due(b"a")
    batch.ack.owed = {"busy"}
    task = asyncio.ensure_future(books.delivery.run())
    books.delivery.put(batch)
    await turns()
    assert books.delivery.failing == "RetryAfter: too many requests"
    assert books.waits[:1] == [0.25]
    (told,) = [record for record in caplog.records if getattr(record, "fields", {}).get("sink") == "busy"]
    assert vars(told)["fields"]["wait_s"] == 3600.0
    task.cancel()
    await asyncio.wait([task])
    assert (batch.ack.owed, books.delivery.held_events, books.residual) == ({"busy"}, 1, 0)


async def test_an_error_without_words_is_called_by_its_kind() -> None:
    class Silent(ListSink):
        async def send(self, batches: Sequence[Batch]) -> None:
            raise RetryAfter("", 3600) if self.fail_times else TimeoutError

    books = Books(Silent(fail_times=1))
    task = asyncio.ensure_future(books.delivery.run())
    books.delivery.put(due(b"a"))
    await turns()
    assert books.delivery.failing == "RetryAfter"
    task.cancel()
    await asyncio.wait([task])


async def test_rejected_records_go_to_the_dead_letter_and_the_rest_is_delivered() -> None:
    sink = ListSink(reject="bad")
    books = Books(sink)
    batches = [due(b"good", b"bad 1"), due(b"fine", offset=2), due(b"bad 2", b"bad 3", offset=3)]
    async with running(books) as delivery:
        for batch in batches:
            delivery.put(batch)
    assert [record.line for record in sink.got] == [b"good", b"fine"]
    assert [(one.record.line, one.where, one.reason, one.hint) for _, one in books.dead] == [
        (line, "sink", "told to reject", "do not say that") for line in (b"bad 1", b"bad 2", b"bad 3")
    ]
    assert [batch.ack for batch, _ in books.dead] == [batches[0].ack, batches[2].ack, batches[2].ack]
    assert (delivery.meter.dead, delivery.meter.events_out, books.residual) == (3, 2, 0)
    assert all(not batch.ack.owed for batch in batches)


async def test_a_rejected_record_is_not_settled_before_it_is_written_down() -> None:
    written = asyncio.Event()

    async def slow(batch: Batch, dead: list[Dead]) -> None:
        await written.wait()

    delivery = Delivery(ready(ListSink(reject="bad")), slow)
    batch = due(b"bad")
    delivery.put(batch)
    delivery.close()
    task = asyncio.ensure_future(delivery.run())
    await turns()
    assert (batch.ack.owed, delivery.held_events) == ({"sink"}, 1)
    written.set()
    await task
    assert (batch.ack.owed, delivery.held_events) == (set(), 0)


async def test_room_holds_the_caller_while_more_than_queue_bytes_are_held() -> None:
    sink = Gate(queue_bytes=Size(10), batch_bytes=Size(4))
    books = Books(sink)
    async with running(books) as delivery:
        for _ in range(2):
            delivery.put(due(b"12345"))
            await delivery.room()
        delivery.put(due(b"12345"))
        waiting = asyncio.ensure_future(delivery.room())
        await turns()
        assert not waiting.done()
        assert (delivery.held_bytes, books.residual) == (15, 0)
        sink.let_through()
        await waiting
        assert delivery.held_bytes == 10
        sink.let_through(2)
    assert books.residual == 0


async def test_a_batch_larger_than_the_queue_passes_alone() -> None:
    sink = Gate(queue_bytes=Size(10), batch_bytes=Size(10))
    books = Books(sink)
    async with running(books) as delivery:
        delivery.put(due(b"x" * 1000))
        waiting = asyncio.ensure_future(delivery.room())
        await turns()
        assert not waiting.done()
        sink.let_through()
        await waiting
    assert (len(sink.got), delivery.held_bytes, books.residual) == (1, 0, 0)


async def test_all_who_wait_for_room_get_it() -> None:
    sink = Gate(queue_bytes=Size(0))
    books = Books(sink)
    async with running(books) as delivery:
        delivery.put(due(b"x"))
        waiting = [asyncio.ensure_future(delivery.room()) for _ in range(3)]
        await turns()
        assert not any(task.done() for task in waiting)
        sink.let_through()
        await asyncio.gather(*waiting)
    assert delivery.held_bytes == 0


@pytest.mark.parametrize(("kind", "most"), [(Gate, 1), (Broad, 3)])
async def test_no_more_sends_are_under_way_than_the_sink_allows(kind: type[Gate], most: int) -> None:
    sink = kind(batch_bytes=Size(1))
    books = Books(sink)
    async with running(books) as delivery:
        for n in range(6):
            delivery.put(due(b"%d" % n))
        for _ in range(6):
            await turns(50)
            sink.let_through()
    assert sink._most == most
    assert sorted(line for send in sink.sends for line in send) == [b"%d" % n for n in range(6)]
    assert books.residual == 0


async def test_while_one_send_fails_no_other_begins() -> None:
    sink = Broad(batch_bytes=Size(1), fail_times=1)
    books = Books(sink)
    async with running(books) as delivery:
        delivery.put(due(b"first"))
        await turns()
        sink.let_through()
        await turns()
        assert delivery.failing == "OSError: told to fail"
        delivery.put(due(b"second"))
        await turns()
        assert sink._under_way == 1  # the first, again
        sink.let_through(2)
    assert sink.sends == [[b"first"], [b"second"]]
    assert delivery.failing == ""


async def test_a_reader_that_went_away_ends_the_run_and_settles_nothing() -> None:
    sink = Pipe(after=1, batch_bytes=Size(1))
    books = Books(sink)
    first, second, third = due(b"a"), due(b"b", offset=1), due(b"c", offset=2)
    async with running(books) as delivery:
        for batch in (first, second, third):
            delivery.put(batch)
    assert (delivery.gone, books.stopped) == (True, 1)
    assert (first.ack.owed, second.ack.owed, third.ack.owed) == (set(), {"sink"}, {"sink"})
    assert (delivery.held_events, books.residual, books.waits) == (2, 0, [])


async def test_progress_is_what_the_sink_took_not_what_passes_it_by(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count(1000.0, 1000.0)
    monkeypatch.setattr(module, "monotonic", lambda: next(clock))
    sink = Gate(match=Match('{level="error"}'))
    books = Books(sink)
    batch = due(b"a")
    batch.records[0].set("level", "error")
    async with running(books) as delivery:
        delivery.put(batch)
        since = delivery.last_progress
        delivery.put(due(b"does not match"))
        await turns()
        assert delivery.last_progress == since
        sink.let_through()
        await turns()
        assert delivery.last_progress > since


async def test_closed_and_empty_it_ends() -> None:
    books = Books(ListSink())
    books.delivery.close()
    await books.delivery.run()
    assert books.delivery.held_events == 0


@pytest.mark.parametrize("fail_times", [0, 2])
@pytest.mark.parametrize("kind", [Gate, Broad])
async def test_cancelled_at_any_moment_it_has_settled_what_was_taken_and_nothing_else(
    kind: type[Gate], fail_times: int
) -> None:
    cut = 0
    for moment in itertools.count():
        sink = kind(batch_bytes=Size(2), fail_times=fail_times, reject="bad")
        books = Books(sink)
        await sink.open()
        sink.let_through(10)
        batches = [due(b"%d" % n, b"bad" if n == 2 else b"x", offset=2 * n) for n in range(5)]
        task = asyncio.ensure_future(books.delivery.run())
        for batch in batches:
            books.delivery.put(batch)
        books.delivery.close()
        await turns(moment)
        done = task.done()
        task.cancel()
        await asyncio.wait([task])
        taken = {id(record) for record in sink.got} | {id(one.record) for _, one in books.dead}
        for batch in batches:
            if not batch.ack.owed:
                assert {id(record) for record in batch.records} <= taken
        held = sum(len(batch.records) for batch in batches if batch.ack.owed)
        assert (books.delivery.held_events, books.residual) == (held, 0)
        if done:
            assert held == 0
            break
        cut += 1
    assert cut > 5


class Choosy(ListSink):
    """Cannot say some records, and is now and then away."""

    away: int = 0
    _asked: int = 0

    async def send(self, batches: Sequence[Batch]) -> None:
        self._asked += 1
        if any(b"odd" in record.line for batch in batches for record in batch.records):
            raise TypeError("cannot say odd things")
        if self.away and self._asked > 4:
            self.away -= 1
            raise OSError("away")
        await super().send(batches)


@pytest.mark.parametrize("away", [0, 7], ids=["there", "away for a time"])
async def test_records_that_a_sink_cannot_say_go_to_the_dead_letter_and_hold_up_no_other(away: int) -> None:
    books = Books(Choosy(away=away))
    first, second = due(b"a", b"odd 1", b"b"), due(b"c", b"odd 2", offset=3)
    async with running(books) as delivery:
        delivery.put(first)
        delivery.put(second)
    assert [record.line for record in books.delivery.sink.got] == [b"a", b"b", b"c"]  # type: ignore[attr-defined]  # a ListSink
    assert [(batch.ack, one.record.line, one.where, one.reason) for batch, one in books.dead] == [
        (first.ack, b"odd 1", "sink", "TypeError: cannot say odd things"),
        (second.ack, b"odd 2", "sink", "TypeError: cannot say odd things"),
    ]
    assert (books.residual, books.settled, delivery.held_events) == (0, 2, 0)
    assert (delivery.meter.events_out, delivery.meter.dead) == (3, 2)
    assert len(books.waits) == module.PATIENCE - 1 + away


async def test_what_waits_of_a_partition_is_let_go_of_and_what_is_being_sent_is_not() -> None:
    sink = Gate()
    books = Books(sink)
    begun, waits, others = due(b"a"), due(b"b", offset=1), due(b"c", offset=2)
    others.partition = "another"
    async with running(books) as delivery:
        delivery.put(begun)
        await turns()
        delivery.put(waits)
        delivery.put(others)
        delivery.let_go(begun.source, begun.partition)
        assert (delivery.held_events, books.residual) == (2, 0)
        assert waits.ack.books.of("sink").in_flight == 0
        sink.let_through(2)
    assert sink.sends == [[b"a"], [b"c"]]
    assert (waits.ack.owed, begun.ack.owed) == ({"sink"}, set())
    assert (delivery.meter.dropped["let_go"], delivery.held_bytes, books.residual) == (1, 0, 0)
