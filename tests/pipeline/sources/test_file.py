import asyncio
import os
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tailrace.pipeline.batch import Chunk, Position
from tailrace.pipeline.component import ProbeError
from tailrace.pipeline.options import Duration, Size
from tailrace.pipeline.sources.file import File

NOW = Duration(0)


def source(*patterns: Path | str, **options: Any) -> File:
    """A file source that waits for nothing."""
    return File(
        name="app",
        include=[str(pattern) for pattern in patterns],
        **{"idle": NOW, "multiline_wait": NOW, "rotate_wait": NOW, "poll": Duration(0.05), **options},
    )


async def read_once(file: File, resume: Mapping[str, Position] | None = None) -> list[Chunk]:
    """Its chunks, without the empty ones that only carry where a file is."""
    return [chunk async for chunk in file.chunks(resume or {}, once=True) if chunk.size]


async def next_chunk(chunks: AsyncGenerator[Chunk, None]) -> Chunk:
    """The next one that holds something."""
    while not (chunk := await anext(chunks)).size:
        pass
    return chunk


def lines_in(chunks: list[Chunk]) -> list[bytes]:
    return [line for chunk in chunks for line in chunk.lines]


def positions_of(chunks: list[Chunk]) -> dict[str, Position]:
    return {chunk.partition: chunk.position for chunk in chunks}


async def next_lines(chunks: AsyncGenerator[Chunk, None], count: int) -> list[bytes]:
    """Lines as they come, until there are so many."""
    lines: list[bytes] = []
    async with asyncio.timeout(10):
        while len(lines) < count:
            lines += (await anext(chunks)).lines
    return lines


async def test_every_line_of_every_matching_file_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(b"a1\na2\n")
    (tmp_path / "b.log").write_bytes(b"b1\n")
    (tmp_path / "c.txt").write_bytes(b"c1\n")
    chunks = await read_once(source(tmp_path / "*.log", tmp_path / "a.*"))
    assert sorted(lines_in(chunks)) == [b"a1", b"a2", b"b1"]


async def test_excluded_files_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(b"a\n")
    (tmp_path / "debug.log").write_bytes(b"d\n")
    file = source(tmp_path / "*.log", exclude=["*/debug*"])
    assert lines_in(await read_once(file)) == [b"a"]


async def test_two_stars_find_files_at_any_depth(tmp_path: Path) -> None:
    (tmp_path / "x" / "y").mkdir(parents=True)
    (tmp_path / "x" / "y" / "a.log").write_bytes(b"deep\n")
    (tmp_path / "b.log").write_bytes(b"flat\n")
    assert sorted(lines_in(await read_once(source(tmp_path / "**" / "*.log")))) == [b"deep", b"flat"]


async def test_a_last_line_without_a_line_break_is_read_too(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(b"one\ntwo")
    assert lines_in(await read_once(source(tmp_path / "a.log"))) == [b"one", b"two"]


async def test_an_empty_file_and_no_file_at_all_yield_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.log").touch()
    assert await read_once(source(tmp_path / "*.log", tmp_path / "missing" / "*.log")) == []


async def test_records_know_their_source_file_and_offset(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(b"one\ntwo\n")
    (chunk,) = await read_once(source(tmp_path / "a.log"))
    assert chunk.labels == {"source": "app", "file": str(tmp_path / "a.log")}
    assert chunk.offsets == [0, 4]
    assert chunk.size == 8


async def test_reading_resumes_where_the_position_stands(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b"one\ntwo\n")
    before = positions_of(await read_once(source(path)))
    with path.open("ab") as log:
        log.write(b"three\n")
    chunks = await read_once(source(path), before)
    assert lines_in(chunks) == [b"three"]
    assert chunks[0].offsets == [8]
    assert positions_of(chunks).keys() == before.keys()


async def test_a_file_renamed_while_tailrace_was_down_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_bytes(b"one\n")
    before = positions_of(await read_once(source(path)))
    with path.open("ab") as log:
        log.write(b"two\n")
    path.rename(tmp_path / "app.log.1")
    path.write_bytes(b"three\n")
    chunks = await read_once(source(path), before)
    assert sorted(lines_in(chunks)) == [b"three", b"two"]


async def test_a_renamed_file_that_still_matches_is_not_read_again(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_bytes(b"one\n")
    before = positions_of(await read_once(source(tmp_path / "app.log*")))
    path.rename(tmp_path / "app.log.1")
    chunks = [chunk async for chunk in source(tmp_path / "app.log*").chunks(before, once=True)]
    assert lines_in(chunks) == []
    assert positions_of(chunks).keys() == before.keys()


async def test_a_file_rewritten_while_tailrace_was_down_is_read_from_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_bytes(b"one\ntwo\n")
    file = source(path)
    before = positions_of(await read_once(file))
    path.write_bytes(b"new 1\nnew 2\nnew 3\n")
    file = source(path)
    chunks = await read_once(file, before)
    assert lines_in(chunks) == [b"new 1", b"new 2", b"new 3"]
    assert list(file.forgotten()) == list(before)
    assert positions_of(chunks).keys() != before.keys()


async def test_a_position_is_kept_while_the_whole_folder_is_missing(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "a.log").write_bytes(b"one\n")
    before = positions_of(await read_once(source(folder / "*.log")))
    folder.rename(tmp_path / "away")
    file = source(folder / "*.log")
    assert await read_once(file, before) == []
    assert list(file.forgotten()) == []


async def test_a_position_is_forgotten_when_its_file_was_deleted(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(b"one\n")
    before = positions_of(await read_once(source(tmp_path / "*.log")))
    (tmp_path / "a.log").unlink()
    file = source(tmp_path / "*.log")
    assert await read_once(file, before) == []
    assert list(file.forgotten()) == list(before)


async def test_start_at_end_leaves_out_what_is_there_and_remembers_it(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b"old\n")
    file = source(path, start_at="end")
    before = positions_of([chunk async for chunk in file.chunks({}, once=True)])
    with path.open("ab") as log:
        log.write(b"new\n")
    assert lines_in(await read_once(source(path, start_at="end"), before)) == [b"new"]


@pytest.mark.parametrize("watch", ["auto", "poll"])
async def test_growth_new_files_and_rotation_are_followed(tmp_path: Path, watch: str) -> None:
    path = tmp_path / "app.log"
    path.write_bytes(b"one\n")
    chunks = source(path, watch=watch).chunks({}, once=False)
    assert await next_lines(chunks, 1) == [b"one"]
    with path.open("ab") as log:
        log.write(b"two\n")
    assert await next_lines(chunks, 1) == [b"two"]
    with path.open("ab") as log:
        log.write(b"three\n")
    path.rename(tmp_path / "app.log.1")
    path.write_bytes(b"four\n")
    assert sorted(await next_lines(chunks, 2)) == [b"four", b"three"]
    await chunks.aclose()


async def test_a_file_cut_to_nothing_is_read_from_its_beginning_as_another_partition(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_bytes(b"one\ntwo\n")
    chunks = source(path).chunks({}, once=False)
    first = await next_chunk(chunks)
    os.truncate(path, 0)
    with path.open("ab") as log:
        log.write(b"new\n")
    second = await next_chunk(chunks)
    await chunks.aclose()
    assert (first.lines, second.lines) == ([b"one", b"two"], [b"new"])
    assert first.partition != second.partition


async def test_a_deleted_file_is_read_to_its_end_and_then_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_bytes(b"one\n")
    file = source(tmp_path / "*.log", chunk_bytes=Size(4))
    chunks = file.chunks({}, once=False)
    assert await next_lines(chunks, 1) == [b"one"]
    with path.open("ab") as log:
        log.write(b"two\nthree")
    path.unlink()
    (tmp_path / "other.log").write_bytes(b"next\n")
    assert sorted(await next_lines(chunks, 3)) == [b"next", b"three", b"two"]
    await chunks.aclose()
    assert len(list(file.forgotten())) == 1


async def test_a_traceback_is_one_event_even_when_it_is_written_in_two_parts(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_bytes(b"2026-11-03 10:00:00,000 ERROR app: failed\nTraceback (most recent call last):\n")
    wait = Duration(0.2)
    chunks = source(path, multiline="traceback", multiline_wait=wait, idle=wait).chunks({}, once=False)
    reading = asyncio.ensure_future(next_chunk(chunks))
    await asyncio.sleep(0)
    with path.open("ab") as log:
        log.write(b'  File "a.py", line 1, in f\nValueError: x\n')
    chunk = await reading
    await chunks.aclose()
    assert len(chunk.lines) == 1
    assert chunk.lines[0].endswith(b"ValueError: x")


async def test_a_large_file_does_not_starve_a_small_one(tmp_path: Path) -> None:
    (tmp_path / "large.log").write_bytes(b"large\n" * 1000)
    (tmp_path / "small.log").write_bytes(b"small\n")
    chunks = await read_once(source(tmp_path / "*.log", chunk_bytes=Size(600)))
    assert [chunk.lines[0] for chunk in chunks[:2]] == [b"large", b"small"]
    assert sum(len(chunk.lines) for chunk in chunks) == 1001


async def test_a_line_longer_than_the_limit_ships_in_pieces(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(b"x" * 5000 + b"\nshort\n")
    chunks = await read_once(source(tmp_path / "a.log", max_event=Size(2048), chunk_bytes=Size(1000)))
    assert [len(line) for line in lines_in(chunks)] == [2048, 2048, 904, 5]


async def test_reading_in_any_chunk_size_gives_the_same_lines_and_offsets(tmp_path: Path) -> None:
    data = b"".join(b"line %d\n" % n * (n % 3) for n in range(500)) + b"end"
    (tmp_path / "a.log").write_bytes(data)
    seen = []
    for size in (7, 64, 1 << 20):
        chunks = await read_once(source(tmp_path / "a.log", chunk_bytes=Size(size)))
        seen.append([(line, at) for c in chunks for line, at in zip(c.lines, c.offsets, strict=True)])
        assert sum(chunk.size for chunk in chunks) == len(data)
    assert seen[0] == seen[1] == seen[2]


async def test_what_a_container_runtime_split_is_one_event(tmp_path: Path) -> None:
    parts = b"2026-11-03T10:00:00.1Z stdout P 2026-11-03 10:00:00 ERROR fai\n2026-11-03T10:00:00.1Z stdout F led\n"
    (tmp_path / "0.log").write_bytes(parts + b"2026-11-03T10:00:01.1Z stdout F 2026-11-03 10:00:01 INFO up\n")
    file = source(tmp_path / "0.log", multiline="container")
    lines = [line async for chunk in file.chunks({}, once=True) for line in chunk.lines]
    assert lines == [parts.rstrip(b"\n"), b"2026-11-03T10:00:01.1Z stdout F 2026-11-03 10:00:01 INFO up"]


async def test_lag_tells_how_many_bytes_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(b"12345\n" * 10)
    file = source(tmp_path / "a.log", chunk_bytes=Size(12))
    chunks = file.chunks({}, once=True)
    await next_chunk(chunks)
    (lag,) = file.lag()
    await chunks.aclose()
    assert lag.bytes == 48


async def test_a_file_that_cannot_be_read_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.log").write_bytes(b"a\n")
    (tmp_path / "b.log").write_bytes(b"b\n")
    real = os.open

    def refuse(path: str, *arguments: Any, **options: Any) -> int:
        if str(path).endswith("a.log"):
            raise PermissionError(13, "Permission denied")
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, "open", refuse)
    assert lines_in(await read_once(source(tmp_path / "*.log"))) == [b"b"]


async def test_a_folder_without_permission_is_told_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(ProbeError, match="no permission to read"):
        await source(tmp_path / "*.log").probe()


def test_empty_patterns_and_tiny_limits_are_refused(tmp_path: Path) -> None:
    problems = dict(source("", exclude=[" "], max_event=Size(10)).check())
    assert problems.keys() == {"include[0]", "exclude[0]", "max_event"}


async def test_what_was_on_its_way_at_a_crash_is_read_in_the_same_pieces_again(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b"one\ntwo\nhalf")
    before = await read_once(source(path, chunk_bytes=Size(5)))
    with path.open("ab") as log:
        log.write(b" and the other half\nthree\n")
    again = source(path)
    again.repeat({before[0].partition: [int(chunk.position["offset"]) for chunk in before]})
    chunks = await read_once(again)
    pieces = [(chunk.lines, chunk.offsets) for chunk in chunks]
    assert pieces[: len(before)] == [(chunk.lines, chunk.offsets) for chunk in before]
    assert pieces[len(before) :] == [([b" and the other half", b"three"], [12, 32])]


async def test_a_file_that_ends_before_what_was_on_its_way_is_read_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b"one\ntwo\n")
    file = source(path)
    file.repeat({f"{path}#{path.stat().st_ino}": [4, 400]})
    assert lines_in(await read_once(file)) == [b"one", b"two"]


async def test_a_partition_shows_where_it_begins_before_anything_of_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(b"one\n")
    first, *_ = [chunk async for chunk in source(tmp_path / "a.log").chunks({}, once=True)]
    assert (first.lines, first.position["offset"]) == ([], 0)


async def test_a_file_whose_name_is_not_utf_8_is_told_and_does_not_stop_the_others(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(b"a\n")
    os.mknod(os.fsencode(tmp_path) + b"/caf\xe9.log")
    assert lines_in(await read_once(source(tmp_path / "*.log"))) == [b"a"]
