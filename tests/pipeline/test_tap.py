"""The tap shows what passes a point to whoever asks, hides what is hidden, and never holds the pipeline."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tailrace.pipeline import tap as module
from tailrace.pipeline.batch import Batch, Dead
from tailrace.pipeline.chain import Chain
from tailrace.pipeline.component import Stage
from tailrace.pipeline.delivery import Delivery
from tailrace.pipeline.match import Match
from tailrace.pipeline.record import Record
from tailrace.pipeline.tap import SOCKET, Ask, Shown, Tap, Told, address, copies, identified, identity
from tailrace.stages.parse import Parse
from tailrace.testing import ListSink, batch_of


class Shout(Stage):
    """Makes the line loud, and says so."""

    def process(self, batch: Batch) -> Batch:
        for record in batch.records:
            record.line = record.line.upper()
            record.set("loud", {"how": ["very"]})
        return batch


class Mask:
    """Hides one word; a line with `odd` it cannot redact."""

    def veil(self, batch: Batch, done: int) -> list[Shown | None]:
        return [self._shown(record) for record in batch.records]

    def _shown(self, record: Record) -> Shown | None:
        record.line = record.line.replace(b"secret", b"***")
        fields = {name: self.clean(value) if isinstance(value, str) else value for name, value in record.fields.items()}
        return None if b"odd" in record.line else Shown(record, fields)

    def clean(self, text: str) -> str:
        return text.replace("secret", "***")


class Run:
    """A chain and a sink with a tap beside them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sink = ListSink(name="out", match=Match('{} |~ "(?i)b"'))
        self.chain = Chain([Shout(name="shout")], [None])
        self.delivery = Delivery(self.sink, _bury)
        self.tap = Tap(folder, Mask)

    def pass_through(self, *lines: bytes) -> None:
        batch = self.chain.run(batch_of(*lines, labels={"source": "app", "file": "secret.log"}))
        self.delivery.put(batch)


async def _bury(batch: Batch, dead: list[Dead]) -> None:
    raise AssertionError("nothing dies here")


class Client:
    """Reads what a tap tells."""

    def __init__(self, stream: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.stream = stream
        self.writer = writer

    async def next(self) -> Told:
        return msgspec.json.decode(await asyncio.wait_for(self.stream.readline(), 5), type=Told)

    async def records(self, count: int) -> list[tuple[str, Any]]:
        """Line and fields of the next ones."""
        told = [(await self.next()).record for _ in range(count)]
        assert None not in told
        return [(one.line, msgspec.json.decode(one.fields)) for one in told if one is not None]


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Run]:
    run = Run(folder)
    async with run.tap.beside(run.chain, [run.delivery]):
        yield run


@asynccontextmanager
async def asking(folder: Path, at: str = "sinks", match: str = "") -> AsyncIterator[Client]:
    with address(folder) as path:
        stream, writer = await asyncio.open_unix_connection(path)
    try:
        writer.write(msgspec.json.encode(Ask(at=at, match=match)) + b"\n")
        yield Client(stream, writer)
    finally:
        writer.close()
        await writer.wait_closed()


@asynccontextmanager
async def tapping(folder: Path, at: str = "sinks", match: str = "") -> AsyncIterator[Client]:
    async with asking(folder, at, match) as client:
        assert (await client.next()).begun
        yield client


@pytest.mark.parametrize(
    ("at", "lines"),
    [
        ("source", ["a ***", "b"]),
        ("shout", ["A SECRET", "B"]),
        ("sinks", ["A SECRET", "B"]),
        ("sink:out", ["B"]),
    ],
)
async def test_each_point_shows_the_records_as_they_are_there(tmp_path: Path, at: str, lines: list[str]) -> None:
    async with running(tmp_path) as run:
        async with tapping(tmp_path, at) as client:
            run.pass_through(b"a secret", b"b")
            found = await client.records(len(lines))
        assert [line for line, _ in found] == lines
        assert all(("loud" in fields) == (at != "source") for _, fields in found)


async def test_a_record_has_its_id_and_times_and_labels_without_secrets(tmp_path: Path) -> None:
    async with running(tmp_path) as run, tapping(tmp_path) as client:
        run.pass_through(b"a", b"b")
        await client.next()
        record = (await client.next()).record
    assert record is not None
    assert (record.id, record.source, record.labels["file"]) == ("app:test@2", "app", "***.log")
    assert record.read == "2026-09-21T14:13:20.000000000Z"
    assert record.time == "2026-09-21T14:13:20.000000001Z"


async def test_a_question_is_asked_of_what_is_shown_and_cannot_find_out_what_is_hidden(tmp_path: Path) -> None:
    async with (
        running(tmp_path) as run,
        tapping(tmp_path, "source", '{} |= "secret"') as guess,
        tapping(tmp_path, "source", '{file=~".+"} |= "***"') as fair,
    ):
        run.pass_through(b"a secret", b"b")
        assert [line for line, _ in await fair.records(1)] == ["a ***"]
        guess.writer.write_eof()
        assert await guess.stream.read() == b""


async def test_what_cannot_be_redacted_is_withheld(tmp_path: Path) -> None:
    async with running(tmp_path) as run, tapping(tmp_path, "source") as client:
        run.pass_through(b"odd thing")
        record = (await client.next()).record
    assert record is not None
    assert (record.withheld, record.line, bytes(record.fields)) == (True, "", b"{}")


async def test_nothing_is_looked_at_while_nobody_reads(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        assert (run.chain.see, run.delivery.see) == (None, None)
        async with tapping(tmp_path):
            assert run.chain.see is not None
            assert run.delivery.see is None
        async with tapping(tmp_path, "sink:out"):
            assert run.delivery.see is not None
        await until(lambda: run.delivery.see is None)
        assert run.chain.see is None


async def until(holds: Any) -> None:
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110  # what the server does when a reader has left, no event tells
            await asyncio.sleep(0)  # the server takes its turn


async def test_a_slow_reader_loses_records_and_is_told_how_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_RECORDS", 3)
    monkeypatch.setattr(module, "BURST", 1e9)
    async with running(tmp_path) as run, tapping(tmp_path) as client:
        # Nothing awaits in between: the tap has no turn until all of it has passed.
        for number in range(5):
            run.pass_through(*(f"{number}.{place}".encode() for place in range(2)))
        assert (await client.next()).lost == 7
        assert [line for line, _ in await client.records(3)] == ["0.0", "0.1", "1.0"]


async def test_few_bytes_are_held_but_a_long_line_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 10)
    async with running(tmp_path) as run, tapping(tmp_path) as client:
        run.pass_through(b"x" * 100, b"y")
        assert (await client.next()).lost == 1
        assert [line for line, _ in await client.records(1)] == ["X" * 100]


async def test_no_more_than_its_share_of_time_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BURST", 0.0)
    monkeypatch.setattr(module, "SHARE", 1e-9)
    async with running(tmp_path) as run, tapping(tmp_path) as client:
        run.pass_through(b"a")
        run.pass_through(b"b", b"c")
        assert (await client.next()).lost == 2


def test_credit_grows_with_time_up_to_a_burst() -> None:
    now = [0.0]
    credit = module._Credit(lambda: now[0])
    credit.spend(module.BURST + 0.1)
    assert credit.left() == pytest.approx(-0.1)
    assert credit.wait() == pytest.approx(0.1 / module.SHARE)
    now[0] = 1000.0
    assert (credit.left(), credit.wait()) == (module.BURST, 0.0)


async def test_a_look_that_fails_ends_the_tap_and_not_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(batch: Batch, count: int) -> list[Record]:
        raise RecursionError

    async with running(tmp_path) as run, tapping(tmp_path) as client:
        monkeypatch.setattr(module, "copies", fail)
        run.pass_through(b"a", b"b")
        assert (await client.next()).end == "cannot look: RecursionError"
        assert run.delivery.held_events == 1


async def test_the_end_of_the_run_is_told_after_what_was_held(tmp_path: Path) -> None:
    async with running(tmp_path) as run, asking(tmp_path) as client:
        assert (await client.next()).begun
        run.pass_through(b"a")
        async with asyncio.TaskGroup() as group:
            ended = group.create_task(_ended(client))
            group.create_task(run.tap._end())
        assert ended.result() == ["A", "the run has ended"]
    assert not (tmp_path / SOCKET).exists()


async def _ended(client: Client) -> list[str]:
    told = []
    while line := await client.stream.readline():
        one = msgspec.json.decode(line, type=Told)
        told.append(one.record.line if one.record else one.end)
    return told


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        (b'{"at":"nowhere"}', "there is no 'nowhere' in this run: source, shout, sinks, sink:out"),
        (b'{"match":"{"}', "expected"),
        (b"hello", "is it of another version?"),
        (b'{"at":7}', "is it of another version?"),
        (b"\xff", "is it of another version?"),
    ],
)
async def test_a_wrong_question_is_answered_with_what_is_wrong(tmp_path: Path, question: bytes, answer: str) -> None:
    async with running(tmp_path):
        with address(tmp_path) as path:
            stream, writer = await asyncio.open_unix_connection(path)
        writer.write(question + b"\n")
        told = await Client(stream, writer).next()
        writer.close()
    assert answer in told.error


async def test_more_readers_than_there_may_be_are_sent_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "READERS", 1)
    async with running(tmp_path), tapping(tmp_path), asking(tmp_path) as second:
        assert (await second.next()).error == "1 are reading already"


async def test_only_the_user_may_open_the_socket_and_one_left_by_a_crash_gives_way(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / SOCKET))
    async with running(tmp_path), tapping(tmp_path):
        assert stat.S_IMODE((tmp_path / SOCKET).stat().st_mode) == 0o600


async def test_a_folder_may_have_a_long_name(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    assert len(os.fsencode(folder)) > 108
    async with running(folder) as run, tapping(folder) as client:
        run.pass_through(b"a")
        assert [line for line, _ in await client.records(1)] == ["A"]


async def test_a_run_goes_on_where_no_socket_can_be(tmp_path: Path) -> None:
    async with running(tmp_path / "gone") as run:
        run.pass_through(b"a", b"b")
        assert run.delivery.held_events == 1


@pytest.mark.parametrize(
    "lines",
    [
        [b'{"level":"info","n":1}', b'{"level":"info","n":2}'],
        [b"level=info n=1", b"level=info n=2"],
        [b"plain", b"text"],
        [b'{"level":"info"}', b"text"],
    ],
    ids=["json", "logfmt", "text", "mixed"],
)
def test_copies_are_the_same_and_their_own(lines: Sequence[bytes]) -> None:
    parse = Parse(name="parse")
    parse.prepare(None)
    batch = parse.process(batch_of(*lines))
    if batch.columns is not None:
        batch.columns.add("app", ["shop", None])
        batch.columns.add_to({1: {"deep": {"list": [1]}}})
    made = copies(batch, 2)
    fields = [record.whole() for record in made]
    for record in made:
        record.replace({})
    assert [record.whole() for record in batch.records] == fields
    assert [(one.offset, one.time_ns, one.format) for one in made] == [
        (one.offset, one.time_ns, one.format) for one in batch.records
    ]
    again = copies(batch, 2)
    assert [record.whole() for record in again] == fields
    for record in again:
        (record.added or {}).clear()
    assert [record.whole() for record in batch.records] == fields


def test_an_id_says_where_a_record_came_from() -> None:
    text = identity("app", "/var/log/a@b:c.log#12", 4567)
    assert identified(text) == ("app", "/var/log/a@b:c.log#12", 4567)


@pytest.mark.parametrize("text", ["", "app", "app:x", "app:x@", "app:x@y", ":x@1", "app:@1"])
def test_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no id"):
        identified(text)
