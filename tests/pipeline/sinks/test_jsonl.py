"""The archive: every line as it was read, in its file, on disk, or not there at all."""

from __future__ import annotations

import asyncio
import errno
import gzip
import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cramjam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.pipeline.ack import Ack
from tailrace.pipeline.batch import Batch, Chunk, Position
from tailrace.pipeline.component import ProbeError
from tailrace.pipeline.match import Match
from tailrace.pipeline.options import Duration, Size, Template
from tailrace.pipeline.runner import Runner
from tailrace.pipeline.sinks import _archive_file
from tailrace.pipeline.sinks import jsonl as module
from tailrace.pipeline.sinks._archive_file import ArchiveFile
from tailrace.pipeline.sinks._file_index import FileIndex
from tailrace.pipeline.sinks.jsonl import Jsonl
from tailrace.testing import READ_AT, ListSource, batch_of

HOUR = 3_600 * 10**9
MIDNIGHT = 1_772_668_800 * 10**9
"""2026-03-05T00:00:00Z"""


def sink_at(path: str | Path, **options: Size | Duration) -> Jsonl:
    return Jsonl(path=Template(str(path)), name="archive", **options)  # type: ignore[arg-type]  # a table of options


def json_batch(*lines: bytes, times: list[int] | None = None, **labels: str) -> Batch:
    batch = batch_of(*lines, labels={"source": "app", **labels})
    for place, record in enumerate(batch.records):
        record.format, record.time_ns = "json", (times or [MIDNIGHT + n for n in range(len(lines))])[place]
    return batch


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@contextmanager
def disk_with(room: int, *names: str) -> Iterator[None]:
    """A disk on which the files of these names can grow by that many bytes all together."""
    write, left = os.write, [room]

    def full(fd: int, data: bytes) -> int:
        if not str(Path(f"/proc/self/fd/{fd}").readlink()).endswith(names):
            return write(fd, data)
        if not left[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = write(fd, bytes(data)[: left[0]])
        left[0] -= written
        return written

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "write", full)
        yield


async def test_a_json_line_is_written_byte_for_byte(tmp_path: Path) -> None:
    sink = sink_at(tmp_path / "a.jsonl")
    await sink.send([json_batch(b'{"a":  1.50}', b'{"b":"\\u00e9","b":2 }'), json_batch(b"{}")])
    await sink.send([json_batch(b'{"c": null}')])
    await sink.close()
    assert files(tmp_path) == {"a.jsonl": b'{"a":  1.50}\n{"b":"\\u00e9","b":2 }\n{}\n{"c": null}\n'}


async def test_raw_archives_are_copies_of_the_log(tmp_path: Path) -> None:
    log = b"plain\ncaf\xe9\n  {}\n"
    chunk = Chunk.of_lines("p", log, 0, {"source": "app"})
    batch = Batch.of_chunk(chunk, "app", Ack({}, 0, ()), MIDNIGHT, {})
    batch.set_times(range(MIDNIGHT, MIDNIGHT + 3))
    sink = Jsonl(path=Template(f"{tmp_path}/{{source}}.log"), name="copy", line="raw")
    dated = Jsonl(path=Template(f"{tmp_path}/{{date}}.log"), name="copy", line="raw")
    await dated.send([batch])
    assert batch.columns is not None
    await sink.send([batch, json_batch(b'{"a": 1}')])
    await sink.close()
    await dated.close()
    assert files(tmp_path) == {"2026-03-05.log": log, "app.log": log + b'{"a": 1}\n'}


async def test_a_text_line_is_written_with_its_time_and_message(tmp_path: Path) -> None:
    sink = sink_at(tmp_path / "a.jsonl")
    batch = batch_of(b"caf\xc3\xa9")
    batch.records[0].time_ns = 0
    await sink.send([batch])
    await sink.close()
    assert files(tmp_path) == {"a.jsonl": '{"timestamp":"1970-01-01T00:00:00.000000000Z","message":"café"}\n'.encode()}


async def test_it_goes_on_with_a_file_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"{}\n")
    sink = sink_at(tmp_path / "a.jsonl")
    await sink.send([json_batch(b'{"a":1}')])
    await sink.close()
    assert files(tmp_path) == {"a.jsonl": b'{}\n{"a":1}\n'}


async def test_the_date_is_that_of_the_event_in_utc(tmp_path: Path) -> None:
    sink = sink_at(tmp_path / "{source}" / "{date}.jsonl")
    times = [MIDNIGHT - 1, MIDNIGHT, MIDNIGHT - 1, MIDNIGHT + 24 * HOUR - 1, 0]
    await sink.send([json_batch(*[b'{"n":%d}' % n for n in range(5)], times=times)])
    await sink.close()
    assert files(tmp_path) == {
        "app/1970-01-01.jsonl": b'{"n":4}\n',
        "app/2026-03-04.jsonl": b'{"n":0}\n{"n":2}\n',
        "app/2026-03-05.jsonl": b'{"n":1}\n{"n":3}\n',
    }


async def test_the_hour_is_that_of_the_event_in_utc(tmp_path: Path) -> None:
    sink = sink_at(tmp_path / "{date}" / "{hour}.jsonl")
    await sink.send([json_batch(b'{"n":0}', b'{"n":1}', times=[MIDNIGHT - 1, MIDNIGHT + 13 * HOUR])])
    await sink.close()
    assert list(files(tmp_path)) == ["2026-03-04/23.jsonl", "2026-03-05/13.jsonl"]


async def test_the_order_within_a_file_is_the_order_of_the_records(tmp_path: Path) -> None:
    sink = sink_at(tmp_path / "{k}.jsonl")
    await sink.send(
        [json_batch(*[b'{"k":"%d","n":%d}' % (n % 3, n) for n in range(9)]), json_batch(b'{"k":"1","n":9}')]
    )
    await sink.close()
    assert files(tmp_path)["1.jsonl"] == b"".join(b'{"k":"1","n":%d}\n' % n for n in (1, 4, 7, 9))


@pytest.mark.parametrize(
    ("value", "name"),
    [
        pytest.param(b'"../../etc/passwd"', "_.._etc_passwd", id="upwards"),
        pytest.param(b'"/etc/passwd"', "_etc_passwd", id="absolute"),
        pytest.param(b'".."', "unknown", id="dots"),
        pytest.param(b'"."', "unknown", id="a dot"),
        pytest.param(b'".hidden"', "hidden", id="hidden"),
        pytest.param(b'""', "unknown", id="empty"),
        pytest.param(b"null", "unknown", id="null"),
        pytest.param(b'"a\\u0000b"', "a_b", id="NUL"),
        pytest.param(b'"a\\nb c\\\\d"', "a_b_c_d", id="line break, space, backslash"),
        pytest.param(b'"caf\\u00e9 \\u65e5"', "caf_", id="beyond ASCII"),
        pytest.param(b'"me@host=1.2-3"', "me@host=1.2-3", id="harmless"),
        pytest.param(b"42", "42", id="a number"),
        pytest.param(b"true", "True", id="a truth"),
        pytest.param(b'{"a":1}', "_a_1_", id="an object"),
        pytest.param(b'"%s"' % (b"x" * 1000), "x" * 200, id="too long"),
    ],
)
async def test_a_field_chooses_a_name_and_nothing_else(tmp_path: Path, value: bytes, name: str) -> None:
    folder = tmp_path / "archive"
    sink = sink_at(folder / "{k}.jsonl")
    await sink.send([json_batch(b'{"k":%s}' % value)])
    await sink.close()
    assert list(files(tmp_path)) == [f"archive/{name}.jsonl"]


async def test_many_long_fields_make_one_name_that_a_file_may_have(tmp_path: Path) -> None:
    sink = sink_at(tmp_path / "{a}_{b}_{c}.jsonl", rotate_bytes=Size(1))
    line = b'{"a":"%s","b":"%s","c":"%s"}' % (b"x" * 300, b"y" * 300, b"z" * 300)
    for _ in range(2):
        await sink.send([json_batch(line)])
    await sink.close()
    assert list(files(tmp_path).values()) == [line + b"\n"] * 2


@given(values=st.lists(st.text(), min_size=1, max_size=5))
def test_whatever_the_fields_hold_every_file_is_inside_the_folder(
    tmp_path_factory: pytest.TempPathFactory, values: list[str]
) -> None:
    top = tmp_path_factory.mktemp("top")
    sink = sink_at(top / "archive" / "{a}" / "x-{b}.jsonl")
    batch = batch_of(*[b"x"] * len(values))
    for place, (record, value) in enumerate(zip(batch.records, values, strict=True)):
        record.set("a", value)
        record.set("b", values[place - 1])
        record.added = None
        record.parsed = {"message": "x", "a": value, "b": values[place - 1]}
        record.format, record.line = "json", b"{}"

    async def send() -> None:
        await sink.send([batch])
        await sink.close()

    asyncio.run(send())
    written = files(top)
    assert sum(data.count(b"\n") for data in written.values()) == len(values)
    assert all(path.startswith("archive/") and path.count("/") == 2 for path in written)


@pytest.mark.parametrize(
    ("suffix", "read"),
    [
        pytest.param("zst", lambda data: bytes(cramjam.zstd.decompress(data)), id="zst"),
        pytest.param("gz", gzip.decompress, id="gz"),
        pytest.param("jsonl", bytes, id="plain"),
    ],
)
async def test_after_each_send_the_file_can_be_read_to_its_end(tmp_path: Path, suffix: str, read: object) -> None:
    assert callable(read)
    sink = sink_at(tmp_path / f"a.{suffix}")
    expected = b""
    for n in range(3):
        await sink.send([json_batch(b'{"n":%d}' % n, b"{}")])
        expected += b'{"n":%d}\n{}\n' % n
        assert read((tmp_path / f"a.{suffix}").read_bytes()) == expected
    await sink.close()


@pytest.mark.parametrize("suffix", ["zst", "gz"])
async def test_the_same_lines_are_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    for name in ("one", "two"):
        sink = sink_at(tmp_path / f"{name}.{suffix}")
        await sink.send([json_batch(b'{"n":1}', b"{}")])
        await sink.close()
    one, two = files(tmp_path).values()
    assert one == two


async def test_on_a_full_disk_every_file_is_as_long_as_before_and_the_next_try_works(tmp_path: Path) -> None:
    sink = sink_at(tmp_path / "{k}.jsonl")
    await sink.send([json_batch(b'{"k":"a","n":0}')])
    before = files(tmp_path)
    more = json_batch(b'{"k":"a","n":1}', b'{"k":"b","n":2}', b'{"k":"b","n":3}')
    for room in (0, 5, 16, 20, 40):
        with disk_with(room, "a.jsonl", "b.jsonl"), pytest.raises(OSError, match="No space left"):
            await sink.send([more])
        assert {name: data for name, data in files(tmp_path).items() if data} == before
    await sink.send([more])
    await sink.close()
    assert files(tmp_path) == {
        "a.jsonl": b'{"k":"a","n":0}\n{"k":"a","n":1}\n',
        "b.jsonl": b'{"k":"b","n":2}\n{"k":"b","n":3}\n',
    }


async def test_a_send_to_more_files_than_stay_open_writes_them_all(tmp_path: Path) -> None:
    sink = sink_at(tmp_path / "{k}.jsonl")
    lines = [b'{"k":%d}' % n for n in range(3 * module.MAX_OPEN)]
    for _ in range(2):
        await sink.send([json_batch(*lines)])
    assert len(sink._open) == module.MAX_OPEN
    await sink.close()
    assert files(tmp_path) == {f"{n}.jsonl": line + b"\n" + line + b"\n" for n, line in enumerate(lines)}


async def test_a_full_disk_takes_back_also_the_files_that_were_closed_on_the_way(tmp_path: Path) -> None:
    sink = sink_at(tmp_path / "{k}.jsonl")
    lines = [b'{"k":%d}' % n for n in range(3 * module.MAX_OPEN)]
    await sink.send([json_batch(*lines)])
    before = files(tmp_path)
    last = f"/{len(lines) - 1}.jsonl"
    with disk_with(3, last), pytest.raises(OSError, match="No space left"):
        await sink.send([json_batch(*lines)])
    assert files(tmp_path) == before
    await sink.send([json_batch(*lines)])
    await sink.close()
    assert files(tmp_path) == {name: data * 2 for name, data in before.items()}


async def test_it_goes_on_in_a_next_file_when_one_is_large_enough(tmp_path: Path) -> None:
    for n in range(5):
        sink = sink_at(tmp_path / "a.jsonl", rotate_bytes=Size(10))
        await sink.send([json_batch(b'{"n":%d}' % n)])
        if n % 2:
            await sink.send([json_batch(b'{"m":%d}' % n)])
        await sink.close()
    assert files(tmp_path) == {
        "a.jsonl": b'{"n":0}\n{"n":1}\n',
        "a.1.jsonl": b'{"m":1}\n{"n":2}\n',
        "a.2.jsonl": b'{"n":3}\n{"m":3}\n',
        "a.3.jsonl": b'{"n":4}\n',
    }


class HandTurned:
    """A clock for one module."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return time.time() + self.now - 1000.0


async def test_it_goes_on_in_a_next_file_when_one_is_old_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = HandTurned()
    monkeypatch.setattr(_archive_file, "time", clock)
    sink = sink_at(tmp_path / "a.jsonl.gz", rotate_every=Duration(60))
    for n in range(4):
        await sink.send([json_batch(b'{"n":%d}' % n)])
        clock.now += 40
    await sink.close()
    clock.now += 100
    sink = sink_at(tmp_path / "a.jsonl.gz", rotate_every=Duration(60))
    await sink.send([json_batch(b'{"n":4}')])
    await sink.close()
    assert {name: gzip.decompress(data) for name, data in files(tmp_path).items()} == {
        "a.jsonl.gz": b'{"n":0}\n{"n":1}\n',
        "a.1.jsonl.gz": b'{"n":2}\n{"n":3}\n',
        "a.2.jsonl.gz": b'{"n":4}\n',
    }


@pytest.mark.parametrize(
    ("path", "own"),
    [
        ("a/{date}.jsonl.zst", "a/{date}.worker-3.jsonl.zst"),
        ("a/{source}", "a/{source}.worker-3"),
        ("a.d/log", "a.d/log.worker-3"),
        ("app.jsonl", "app.worker-3.jsonl"),
    ],
)
def test_each_of_several_processes_has_files_of_its_own(path: str, own: str) -> None:
    sink = sink_at(path)
    sink.share(3)
    assert sink.path.text == own


async def test_two_archives_do_not_share_their_files(tmp_path: Path) -> None:
    one, two = sink_at(tmp_path / "one.jsonl"), sink_at(tmp_path / "two.jsonl")
    await one.send([json_batch(b'{"n":1}')])
    await two.send([json_batch(b'{"n":2}')])
    await two.close()
    assert [Path(path).name for path in one._open] == ["one.jsonl"]
    await one.send([json_batch(b'{"n":3}')])
    await one.close()
    assert files(tmp_path) == {"one.jsonl": b'{"n":1}\n{"n":3}\n', "two.jsonl": b'{"n":2}\n'}


async def test_closing_waits_for_a_write_whose_send_was_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    append = ArchiveFile.append

    def slow(file: ArchiveFile, data: bytes) -> None:
        begun.set()
        go_on.wait()
        append(file, data)

    monkeypatch.setattr(ArchiveFile, "append", slow)
    sink = sink_at(tmp_path / "a.jsonl")
    sending = asyncio.ensure_future(sink.send([json_batch(b'{"n":1}')]))
    await asyncio.to_thread(begun.wait)
    sending.cancel()
    closing = asyncio.ensure_future(sink.close())
    await asyncio.wait([sending])
    assert not closing.done()
    go_on.set()
    await closing
    assert files(tmp_path) == {"a.jsonl": b'{"n":1}\n'}


async def test_a_closed_sink_holds_no_file(tmp_path: Path) -> None:
    sink = sink_at(tmp_path / "{k}.jsonl")
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208  # the listing's own handle is in both counts
    await sink.send([json_batch(*[b'{"k":%d}' % n for n in range(2 * module.MAX_OPEN)])])
    await sink.close()
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208  # as above
    await sink.close()


async def test_the_probe_leaves_nothing_behind(tmp_path: Path) -> None:
    await sink_at(tmp_path / "deep" / "archive" / "{date}.jsonl").probe()
    assert not (tmp_path / "deep").exists()
    assert files(tmp_path) == {}


@pytest.mark.parametrize("path", ["file/{date}.jsonl", "file/x/a.jsonl"])
async def test_a_folder_that_cannot_be_is_found_by_the_probe(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ProbeError, match=r"cannot write into .*file: not a folder") as caught:
        await sink_at(tmp_path / path).probe()
    assert caught.value.option == "path"


@pytest.mark.parametrize(
    ("path", "options", "found"),
    [
        pytest.param("archive/{source}/{date}.jsonl.zst", {}, [], id="as in the documentation"),
        pytest.param("all.jsonl", {}, [], id="a plain file"),
        pytest.param("archive/../../x.jsonl", {}, ["path"], id="upwards"),
        pytest.param("{app}/x.jsonl", {}, ["path"], id="a field chooses the folder"),
        pytest.param("a{app}.jsonl", {}, ["path"], id="a field without a folder in front"),
        pytest.param("archive/{app}/", {}, ["path"], id="a folder"),
        pytest.param("archive/..x/{app}.jsonl", {}, [], id="dots in a name"),
        pytest.param("a.jsonl", {"rotate_bytes": Size(10)}, ["rotate_bytes"], id="tiny files"),
    ],
)
def test_a_path_that_would_not_do_is_refused(path: str, options: dict[str, Size], found: list[str]) -> None:
    assert [option for option, _ in sink_at(path, **options).check()] == found


def test_it_reads_the_fields_of_its_path_and_match_only() -> None:
    sink = Jsonl(path=Template("a/{app}/{date}.jsonl"), match=Match('{level="error"}'))
    assert set(sink.reads()) == {"app", "level"}


async def test_in_a_run_every_record_is_archived_once(tmp_path: Path) -> None:
    sink = sink_at(tmp_path / "archive" / "{source}.jsonl")
    sink.batch_wait = Duration(0)
    source = ListSource(name="app", lines=[[b"one", b"two"], [b"three"]])
    for _ in range(2):
        runner = Runner(
            {"app": source}, [], {"archive": sink}, wanted=[], state=tmp_path / "state", clock_ns=lambda: READ_AT
        )
        assert await runner.run(once=True) == 0
        assert runner.residual(runner.deliveries[0]) == 0
    assert (tmp_path / "archive" / "app.jsonl").read_bytes().count(b"\n") == 3


async def test_beside_others_it_goes_on_in_no_file_but_its_own(tmp_path: Path) -> None:
    async def run(sink: Jsonl, line: bytes, position: Position) -> Position:
        assert not [*sink.beside([frozenset({"topic"})])]
        sink.resume(position, _nothing)
        await sink.send([json_batch(line, topic="t")])
        position = sink.position()
        await sink.close()
        return position

    path = tmp_path / "{topic}.jsonl"
    one = await run(sink_at(path), b'{"a":1}', {})
    other = await run(sink_at(path), b'{"b":1}', {})
    await run(sink_at(path), b'{"a":2}', one)
    await run(sink_at(path), b'{"b":2}', other)
    assert files(tmp_path) == {"t.jsonl": b'{"a":1}\n{"a":2}\n', "t.1.jsonl": b'{"b":1}\n{"b":2}\n'}


async def _nothing() -> None:
    """Nothing is to be saved."""


INDEX = FileIndex(name="llm_io_index.jsonl", row={"type": "llm_io", "mode": "sanitized"})


def indexed(path: str, **options: Size | Duration) -> Jsonl:
    sink = sink_at(path, **options)
    sink.index = INDEX
    return sink


def listed(folder: Path) -> list[dict[str, object]]:
    path = folder / INDEX.name
    return [json.loads(row) for row in path.read_bytes().splitlines()] if path.exists() else []


async def test_the_index_has_a_row_for_each_file_made_from_its_first_event(tmp_path: Path) -> None:
    path = f"{tmp_path}/llm_io_{{date}}.jsonl"
    for _ in range(2):
        sink = indexed(path)
        await sink.send([json_batch(b"{}", b"{}", times=[MIDNIGHT - 1, MIDNIGHT + 179_000_000])])
        await sink.send([json_batch(b"{}")])
        await sink.close()
    row = {"type": "llm_io", "mode": "sanitized", "pid": os.getpid()}
    assert listed(tmp_path) == [
        row | {"created_at": "2026-03-04T23:59:59.999999Z", "log_path": f"{tmp_path}/llm_io_2026-03-04.jsonl"},
        row | {"created_at": "2026-03-05T00:00:00.179000Z", "log_path": f"{tmp_path}/llm_io_2026-03-05.jsonl"},
    ]


async def test_each_file_of_a_rotated_series_is_listed(tmp_path: Path) -> None:
    sink = indexed(f"{tmp_path}/a.jsonl", rotate_bytes=Size(5))
    for n in range(3):
        await sink.send([json_batch(b'{"n":%d}' % n)])
    await sink.close()
    assert [Path(str(row["log_path"])).name for row in listed(tmp_path)] == ["a.jsonl", "a.1.jsonl", "a.2.jsonl"]


async def test_a_file_that_was_there_before_the_index_gets_its_row(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"{}\n")
    (tmp_path / INDEX.name).write_bytes(b'\xff\n[]\n{"log_path":"elsewhere"}')
    sink = indexed(f"{tmp_path}/a.jsonl")
    await sink.send([json_batch(b"{}")])
    await sink.send([json_batch(b"{}")])
    await sink.close()
    rows = (tmp_path / INDEX.name).read_bytes().splitlines()
    assert rows[:3] == [b"\xff", b"[]", b'{"log_path":"elsewhere"}']
    assert [json.loads(row)["log_path"] for row in rows[3:]] == [f"{tmp_path}/a.jsonl"]


async def test_on_a_full_disk_neither_the_file_nor_its_row_is_there(tmp_path: Path) -> None:
    sink = indexed(f"{tmp_path}/a.jsonl")
    for room in (0, 4, 8, 50):
        with disk_with(room, "a.jsonl", INDEX.name), pytest.raises(OSError, match="No space left"):
            await sink.send([json_batch(b'{"n":1}')])
        assert not any(files(tmp_path).values())
    await sink.send([json_batch(b'{"n":1}')])
    await sink.close()
    assert (len(listed(tmp_path)), files(tmp_path)["a.jsonl"]) == (1, b'{"n":1}\n')


@pytest.mark.parametrize("lag", [0, 3], ids=["saved after each send", "saved late"])
async def test_killed_at_any_moment_files_and_index_agree_and_every_record_is_there_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lag: int
) -> None:
    """The disk is copied at each write, in its middle too, each fsync and each save: so it looks after `kill -9`."""
    sends = [[b'{"k":"%d","id":%d}' % (n % 3 + n // 4, 2 * n + m) for m in range(2)] for n in range(6)]
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path / "run")
    saved: list[tuple[Position, int]] = [({}, 0)]
    moments: list[tuple[Path, Position, int]] = []
    write, fdatasync = os.write, os.fdatasync

    def moment() -> None:
        copy = tmp_path / str(len(moments))
        shutil.copytree(tmp_path / "run", copy)
        moments.append((copy, *saved[-1]))

    def in_two(fd: int, data: bytes) -> int:
        half = write(fd, bytes(data)[: max(1, len(data) // 2)])
        moment()
        return half

    def synced(fd: int) -> None:
        moment()
        fdatasync(fd)
        moment()

    async def run(first: int, position: Position, *, lag: int) -> None:
        done = first
        sink = indexed("archive/{k}.jsonl", rotate_bytes=Size(40))

        async def save() -> None:
            saved.append((sink.position(), done))

        sink.resume(position, save)
        for n, lines in enumerate(sends[first:], first):
            await sink.send([json_batch(*lines)])
            done = n + 1
            if n % (lag + 1) == lag:
                await save()
        await sink.close()

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", in_two)
        patch.setattr(os, "fdatasync", synced)
        await run(0, {}, lag=lag)
    assert len(moments) > 50
    for folder, position, done in moments:
        monkeypatch.chdir(folder)
        await run(done, position, lag=0)
        found = files(Path("archive"))
        rows = [json.loads(row)["log_path"] for row in found.pop(INDEX.name).splitlines()]
        assert sorted(rows) == [f"archive/{name}" for name in found]
        assert sorted(json.loads(line)["id"] for data in found.values() for line in data.splitlines()) == [*range(12)]


def test_an_index_that_would_not_do_is_refused() -> None:
    sink = indexed("archive/{k}.jsonl")
    assert [*sink.check()] == []
    assert [option for option, _ in sink.beside([])] == ["index"]
    for name in ("../x.jsonl", "a/b.jsonl", "", ".hidden"):
        sink.index = FileIndex(name=name)
        assert [option for option, _ in sink.check()] == ["index.name"]


def test_each_of_several_processes_has_an_index_of_its_own() -> None:
    sink = indexed("archive/{k}.jsonl")
    sink.share(1)
    assert (sink.path.text, sink.index and sink.index.name) == (
        "archive/{k}.worker-1.jsonl",
        "llm_io_index.worker-1.jsonl",
    )
