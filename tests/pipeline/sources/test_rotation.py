"""Every kind of rotation, at every moment: each line is read once."""

import asyncio
import bz2
import gzip
import os
import shutil
from collections.abc import AsyncGenerator, Callable, Mapping
from pathlib import Path
from typing import Any

import cramjam
import pytest

from tailrace.pipeline.batch import Chunk, Position
from tailrace.pipeline.options import Duration, Size
from tailrace.pipeline.sources._folder import rotations_of
from tailrace.pipeline.sources.file import File

PACK: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "zst": lambda data: bytes(cramjam.zstd.compress(data)),
}
packings = pytest.mark.parametrize("packing", PACK)


def numbered(start: int, end: int) -> bytes:
    return b"".join(b"2026-11-03 10:00:00,000 INFO app: line number %06d\n" % n for n in range(start, end))


def numbers(chunks: list[Chunk]) -> list[int]:
    return [int(line[-6:]) for chunk in chunks for line in chunk.lines]


class Reader:
    """A file source under the test's control: what it read so far, and the positions it would resume at."""

    def __init__(self, *patterns: Path | str, resume: Mapping[str, Position] | None = None, **options: Any) -> None:
        now = Duration(0)
        defaults = {"idle": now, "multiline_wait": now, "rotate_wait": now, "poll": Duration(0.01), "watch": "poll"}
        self.file = File(name="app", include=[str(p) for p in patterns], **{**defaults, **options})
        self.positions: dict[str, Position] = dict(resume or {})
        self.read: list[int] = []
        self._chunks: AsyncGenerator[Chunk, None] | None = None

    async def once(self) -> "Reader":
        """Read what is there."""
        async for chunk in self.file.chunks(self.positions.copy(), once=True):
            self._take(chunk)
        for key in self.file.forgotten():
            self.positions.pop(key, None)
        return self

    async def until(self, count: int) -> "Reader":
        """Follow until so many lines were read in all."""
        if self._chunks is None:
            self._chunks = self.file.chunks(self.positions.copy(), once=False)
        async with asyncio.timeout(20):
            while len(self.read) < count:
                self._take(await anext(self._chunks))
        return self

    async def grow(self, log: Path, data: bytes) -> None:
        """Follow until this, one line more, is read too, after a new look at the folder."""
        await asyncio.sleep(0.015)  # longer than `poll`
        with log.open("ab") as more:
            more.write(data)
        await self.until(len(self.read) + 1)

    async def one_chunk(self) -> "Reader":
        """Follow for one chunk only: a slow sink holds the source there."""
        return await self.until(len(self.read) + 1)

    async def close(self) -> None:
        if self._chunks:
            await self._chunks.aclose()

    def _take(self, chunk: Chunk) -> None:
        self.positions[chunk.partition] = chunk.position
        self.read += numbers([chunk])


async def restarted(reader: Reader, *patterns: Path | str, **options: Any) -> list[int]:
    """What another run reads that starts from the positions of the last one."""
    await reader.close()
    return (await Reader(*patterns, resume=reader.positions, **options).once()).read


async def test_two_rotations_during_one_slow_push_lose_nothing(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_bytes(numbered(0, 100))
    reader = await Reader(log, chunk_bytes=Size(512)).one_chunk()
    log.rename(tmp_path / "app.log.1")
    log.write_bytes(numbered(100, 200))
    (tmp_path / "app.log.1").rename(tmp_path / "app.log.2")
    log.rename(tmp_path / "app.log.1")
    log.write_bytes(numbered(200, 300))
    await reader.until(300)
    await reader.close()
    assert sorted(reader.read) == list(range(300))


async def test_two_rotations_while_tailrace_is_down_lose_nothing(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    (tmp_path / "app.log.1").write_bytes(numbered(900, 950))
    log.write_bytes(numbered(0, 100))
    reader = await Reader(log).once()
    assert reader.read == list(range(100))
    with log.open("ab") as more:
        more.write(numbered(100, 110))
    (tmp_path / "app.log.1").rename(tmp_path / "app.log.3")
    log.rename(tmp_path / "app.log.2")
    (tmp_path / "app.log.1").write_bytes(numbered(110, 200))
    log.write_bytes(numbered(200, 300))
    assert sorted(await restarted(reader, log)) == list(range(100, 300))


async def test_what_was_not_read_when_a_file_is_copied_and_cut_is_read_from_the_copy(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_bytes(numbered(0, 100))
    reader = await Reader(log, chunk_bytes=Size(1024)).one_chunk()
    shutil.copy(log, tmp_path / "app.log.1")
    os.truncate(log, 0)
    with log.open("ab") as new:
        new.write(numbered(100, 120))
    await reader.until(120)
    await reader.close()
    assert sorted(reader.read) == list(range(120))


async def test_a_copy_that_matches_too_is_not_read_again(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_bytes(numbered(0, 100))
    reader = await Reader(tmp_path / "app.log*").until(100)
    shutil.copy(log, tmp_path / "app.log.1")
    os.truncate(log, 0)
    with log.open("ab") as new:
        new.write(numbered(100, 200))
    await reader.until(200)
    assert sorted(reader.read) == list(range(200))
    assert await restarted(reader, tmp_path / "app.log*") == []


async def test_a_copy_that_is_still_being_written_is_known_as_one(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_bytes(numbered(0, 100))
    reader = await Reader(tmp_path / "app.log*").until(100)
    (tmp_path / "app.log.1").write_bytes(numbered(0, 50))
    with log.open("ab") as more:
        more.write(numbered(100, 110))
    await reader.until(110)
    (tmp_path / "app.log.1").write_bytes(numbered(0, 110))
    os.truncate(log, 0)
    with log.open("ab") as new:
        new.write(numbered(110, 120))
    await reader.until(120)
    await reader.close()
    assert sorted(reader.read) == list(range(120))


async def test_a_file_copied_and_cut_while_tailrace_is_down_is_read_on_in_the_copy(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_bytes(numbered(0, 50))
    reader = await Reader(log).once()
    with log.open("ab") as more:
        more.write(numbered(50, 80))
    shutil.copy(log, tmp_path / "app.log.1")
    os.truncate(log, 0)
    with log.open("ab") as new:
        new.write(numbered(80, 90))
    assert sorted(await restarted(reader, log)) == list(range(50, 90))


@packings
async def test_a_rotated_file_that_is_compressed_is_not_read_again(tmp_path: Path, packing: str) -> None:
    log = tmp_path / "app.log"
    log.write_bytes(numbered(0, 100))
    reader = await Reader(tmp_path / "app.log*").until(100)
    log.rename(tmp_path / "app.log.1")
    log.write_bytes(numbered(100, 200))
    await reader.until(200)
    (tmp_path / f"app.log.1.{packing}").write_bytes(PACK[packing]((tmp_path / "app.log.1").read_bytes()))
    (tmp_path / "app.log.1").unlink()
    with log.open("ab") as more:
        more.write(numbered(200, 210))
    await reader.until(210)
    assert reader.read == list(range(210))
    assert await restarted(reader, tmp_path / "app.log*") == []


@packings
async def test_a_file_compressed_while_tailrace_is_down_and_behind_is_read_on_inside(
    tmp_path: Path, packing: str
) -> None:
    log = tmp_path / "app.log"
    log.write_bytes(numbered(0, 60))
    reader = await Reader(log).once()
    (tmp_path / f"app.log.1.{packing}").write_bytes(PACK[packing](numbered(0, 100)))
    log.unlink()
    log.write_bytes(numbered(100, 110))
    assert sorted(await restarted(reader, log)) == list(range(60, 110))


@packings
async def test_compressed_files_are_read_and_resumed_inside(tmp_path: Path, packing: str) -> None:
    data = PACK[packing](numbered(0, 300)) + PACK[packing](numbered(300, 500))
    (tmp_path / f"old.log.{packing}").write_bytes(data)
    reader = await Reader(tmp_path / "*.log.*", chunk_bytes=Size(4096)).one_chunk()
    assert 0 < len(reader.read) < 500
    assert reader.read + await restarted(reader, tmp_path / "*.log.*") == list(range(500))


async def test_a_file_that_is_still_being_compressed_is_waited_for(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_bytes(numbered(0, 2000))
    packed = gzip.compress((tmp_path / "app.log").read_bytes())
    reader = await Reader(tmp_path / "app.log*").until(2000)
    log.rename(tmp_path / "app.log.1")
    log.write_bytes(numbered(2000, 2010))
    (tmp_path / "app.log.1.gz").write_bytes(packed[:40])
    await reader.until(2010)
    (tmp_path / "app.log.1.gz").write_bytes(packed[: len(packed) // 2])
    with log.open("ab") as more:
        more.write(numbered(2010, 2020))
    await reader.until(2020)
    (tmp_path / "app.log.1.gz").write_bytes(packed)
    (tmp_path / "app.log.1").unlink()
    with log.open("ab") as more:
        more.write(numbered(2020, 2030))
    await reader.until(2030)
    await reader.close()
    assert reader.read == list(range(2030))


async def test_a_file_written_anew_with_the_same_length_is_read_anew(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_bytes(numbered(0, 10))
    reader = await Reader(log).until(10)
    log.write_bytes(numbered(10, 20))
    await reader.until(20)
    await reader.close()
    assert reader.read == list(range(20))


async def test_another_file_with_the_inode_of_an_old_one_is_read_from_its_beginning(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_bytes(numbered(0, 10))
    reader = await Reader(log).once()
    with log.open("r+b") as same_inode:
        same_inode.write(numbered(500, 520))
    assert await restarted(reader, log) == list(range(500, 520))


async def test_a_file_deleted_while_behind_is_read_to_its_end(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_bytes(numbered(0, 100))
    reader = await Reader(log, chunk_bytes=Size(512)).one_chunk()
    log.unlink()
    await reader.until(100)
    await reader.close()
    assert reader.read == list(range(100))


async def test_a_link_that_is_switched_leads_to_the_next_file(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(numbered(0, 10))
    (tmp_path / "two").write_bytes(numbered(10, 20))
    link = tmp_path / "current.log"
    link.symlink_to(tmp_path / "one")
    reader = await Reader(link).until(10)
    link.unlink()
    link.symlink_to(tmp_path / "two")
    await reader.until(20)
    await reader.close()
    assert reader.read == list(range(20))


async def test_a_hole_that_a_writer_leaves_after_a_cut_is_passed_over(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_bytes(numbered(0, 2000))
    reader = await Reader(log).until(2000)
    with log.open("r+b") as writer:
        writer.seek(0, os.SEEK_END)
        os.truncate(log, 0)
        writer.write(numbered(2000, 2010))
    await reader.until(2010)
    await reader.close()
    assert reader.read[-9:] == list(range(2001, 2010))


async def test_a_file_that_appears_with_one_byte_is_read_whole(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    data = numbered(0, 3)
    log.write_bytes(data[:1])
    reader = Reader(log, idle=Duration(60))
    following = asyncio.ensure_future(reader.until(3))
    await asyncio.sleep(0)
    with log.open("ab") as more:
        more.write(data[1:])
    await following
    await reader.close()
    assert reader.read == [0, 1, 2]


async def test_more_files_than_may_be_open_are_all_followed(tmp_path: Path) -> None:
    for n in range(40):
        (tmp_path / f"log-{n}.txt").write_bytes(numbered(n, n + 1))
    reader = await Reader(tmp_path / "*.txt", max_open=8).until(40)
    following = asyncio.ensure_future(reader.until(80))
    await asyncio.sleep(0.05)
    assert sum(not file.parked for file in reader.file._followed.values()) <= 8
    for n in range(40):
        with (tmp_path / f"log-{n}.txt").open("ab") as more:
            more.write(numbered(40 + n, 41 + n))
    await following
    await reader.close()
    assert sorted(reader.read) == list(range(80))


async def test_a_folder_that_appears_later_is_read(tmp_path: Path) -> None:
    reader = Reader(tmp_path / "later" / "*.log")
    following = asyncio.ensure_future(reader.until(5))
    await asyncio.sleep(0)
    (tmp_path / "later").mkdir()
    (tmp_path / "later" / "app.log").write_bytes(numbered(0, 5))
    await following
    await reader.close()
    assert reader.read == list(range(5))


async def test_a_file_matched_twice_and_linked_twice_is_read_once(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_bytes(numbered(0, 5))
    (tmp_path / "hard.log").hardlink_to(log)
    (tmp_path / "soft.log").symlink_to(log)
    assert (await Reader(tmp_path / "*.log", log).once()).read == list(range(5))


async def test_files_that_begin_alike_are_all_read(tmp_path: Path) -> None:
    banner = b"=" * 80 + b" service started, version 1.2.3, build 20261103 000000\n"
    for n in range(3):
        (tmp_path / f"worker-{n}.log").write_bytes(banner + numbered(10 * n + 1, 10 * n + 11))
    reader = await Reader(tmp_path / "*.log").once()
    assert sorted(reader.read) == [0, 0, 0, *range(1, 31)]


async def test_a_log_cut_and_refilled_before_a_look_is_read_anew_even_if_lines_end_alike(tmp_path: Path) -> None:
    def alike(start: int, end: int) -> bytes:
        return b"".join(b"%06d %s %06d\n" % (n, b"x" * 80, 7) for n in range(start, end))

    log = tmp_path / "app.log"
    log.write_bytes(alike(0, 10))
    reader = await Reader(log).until(10)
    log.write_bytes(alike(10, 40))
    await reader.until(40)
    await reader.close()
    assert len(reader.read) == 40


async def test_a_copy_of_what_came_after_a_cut_that_was_not_noticed_yet_is_read_once(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_bytes(numbered(0, 100))
    reader = await Reader(tmp_path / "app.log*").until(100)
    shutil.copy(log, tmp_path / "app.log-20261103")
    log.write_bytes(numbered(100, 200))
    shutil.copy(log, tmp_path / "app.log-20261104")
    await reader.until(200)
    for n in (200, 201, 202):
        await reader.grow(log, numbered(n, n + 1))
    await reader.close()
    assert sorted(reader.read) == list(range(203))


@packings
async def test_a_rotated_file_that_is_compressed_while_behind_is_read_to_its_end_once(
    tmp_path: Path, packing: str
) -> None:
    log = tmp_path / "app.log"
    log.write_bytes(numbered(0, 100))
    reader = await Reader(tmp_path / "app.log*", chunk_bytes=Size(512)).one_chunk()
    log.rename(tmp_path / "app.log.1")
    log.write_bytes(numbered(100, 110))
    (tmp_path / f"app.log.1.{packing}").write_bytes(PACK[packing](numbered(0, 100)))
    (tmp_path / "app.log.1").unlink()
    await reader.until(110)
    assert sorted(reader.read) == list(range(110))
    assert await restarted(reader, tmp_path / "app.log*") == []


@packings
async def test_a_short_rotated_file_that_is_compressed_is_not_read_again(tmp_path: Path, packing: str) -> None:
    log = tmp_path / "app.log"
    log.write_bytes(b"000000\n")
    reader = await Reader(tmp_path / "app.log*").until(1)
    log.rename(tmp_path / "app.log.1")
    log.write_bytes(b"000001\n")
    await reader.until(2)
    (tmp_path / f"app.log.1.{packing}").write_bytes(PACK[packing](b"000000\n"))
    (tmp_path / "app.log.1").unlink()
    for n in (2, 3, 4):
        await reader.grow(log, b"%06d\n" % n)
    await reader.close()
    assert reader.read == [0, 1, 2, 3, 4]


def give_inode(old: Path, new: Path, data: bytes) -> None:
    """The file system gives the inode of a file that is deleted to the next one."""
    with old.open("r+b") as file:
        file.truncate()
        file.write(data)
    old.rename(new)


@packings
async def test_files_that_are_compressed_one_into_the_inode_of_the_other_are_not_read_again(
    tmp_path: Path, packing: str
) -> None:
    log, count = tmp_path / "app.log", 4
    reader = Reader(log)
    for n in range(count):
        log.write_bytes(numbered(100 * n, 100 * n + 90 - n))
        await reader.until(len(reader.read) + 90 - n)
        log.rename(tmp_path / f"app.log-{n}")
        log.write_bytes(b"")
    for n in range(900, 903):  # some looks, in which the handles are let go
        await reader.grow(log, numbered(n, n + 1))
    read = reader.read.copy()
    assert all(file.parked for file in reader.file._followed.values() if file.path != str(log))
    packed = [PACK[packing]((tmp_path / f"app.log-{n}").read_bytes()) for n in range(count)]
    (tmp_path / f"app.log-{count - 1}.{packing}").write_bytes(packed[count - 1])
    for n in reversed(range(count - 1)):  # each into the inode of the one before, the first look finds all of it
        give_inode(tmp_path / f"app.log-{n + 1}", tmp_path / f"app.log-{n}.{packing}", packed[n])
    (tmp_path / "app.log-0").unlink()
    for n in range(903, 907):
        await reader.grow(log, numbered(n, n + 1))
    assert reader.read == [*read, 903, 904, 905, 906]
    assert await restarted(reader, log) == []


async def test_a_file_of_the_last_run_that_all_looks_missed_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "app.log"
    log.write_bytes(numbered(0, 50))
    reader = await Reader(tmp_path / "app.log*").once()
    (tmp_path / "app.log.1.gz").write_bytes(gzip.compress(numbered(0, 60)))
    log.unlink()
    log.write_bytes(numbered(60, 70))
    monkeypatch.setattr(File, "_find_missing", lambda *_: ())
    assert sorted(await restarted(reader, tmp_path / "app.log*")) == list(range(50, 70))


async def test_an_event_that_rotation_cuts_in_two_is_one(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"2026-11-03 10:00:00,000 ERROR app: failed 000000\nTraceback (most recent call last):\n")
        options: dict[str, Any] = {
            "multiline": "traceback",
            "multiline_wait": Duration(0.3),
            "rotate_wait": Duration(1),
        }
        chunks = Reader(log, **options).file.chunks({}, once=False)
        first = await anext(chunks)
        log.rename(tmp_path / "app.log.1")
        log.write_bytes(b"2026-11-03 10:00:01,000 INFO app: next 000001\n")
        writer.write(b'  File "a.py", line 1, in f\nValueError: x 000002\n')
    lines = list(first.lines)
    async with asyncio.timeout(10):
        while len(lines) < 2:
            lines += (await anext(chunks)).lines
    await chunks.aclose()
    assert sorted(line.count(b"\n") for line in lines) == [0, 3]


@pytest.mark.parametrize("lines", [1, 30], ids=["read at once", "read in many chunks"])
async def test_thousands_of_files_are_read_with_few_open(tmp_path: Path, lines: int) -> None:
    count = 1500 // lines
    for n in range(count):
        (tmp_path / f"log-{n}.txt").write_bytes(numbered(n * lines, n * lines + lines))
    reader = Reader(tmp_path / "*.txt", max_open=16, chunk_bytes=Size(256))
    chunks, most = reader.file.chunks({}, once=False), 0
    while len(reader.read) < count * lines:
        reader.read += numbers([await anext(chunks)])
        most = max(most, sum(not file.parked for file in reader.file._followed.values()))
    await chunks.aclose()
    assert sorted(reader.read) == list(range(count * lines))
    assert most <= 16


async def test_a_file_that_may_be_read_only_later_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, real = tmp_path / "app.log", os.open
    log.write_bytes(numbered(0, 5))
    reader = Reader(log)

    def refuse(path: str, *arguments: Any, **options: Any) -> int:
        if str(path).endswith("app.log") and not refused.is_set():
            asyncio.get_running_loop().call_later(0.05, refused.set)
            raise PermissionError(13, "Permission denied")
        return real(path, *arguments, **options)

    refused = asyncio.Event()
    monkeypatch.setattr(os, "open", refuse)
    following = asyncio.ensure_future(reader.until(5))
    await asyncio.sleep(0)
    assert reader.file.failing() == {str(log): "Permission denied"}
    await following
    await reader.close()
    assert reader.read == list(range(5))
    assert reader.file.failing() == {}


async def test_a_copy_whose_name_changes_while_it_is_looked_for_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "app.log"
    log.write_bytes(numbered(0, 100))
    reader = await Reader(log, chunk_bytes=Size(1024)).one_chunk()
    shutil.copy(log, tmp_path / "app.log.1")
    log.write_bytes(numbered(100, 120))

    def late(path: str) -> list[str]:
        found = rotations_of(path)
        if (tmp_path / "app.log.1").exists():
            (tmp_path / "app.log.1").rename(tmp_path / "app.log.2")
        return found

    monkeypatch.setattr("tailrace.pipeline.sources.file.rotations_of", late)
    await reader.until(120)
    await reader.close()
    assert sorted(reader.read) == list(range(120))
