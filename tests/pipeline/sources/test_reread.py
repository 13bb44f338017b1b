"""What a file held is found again, whatever became of the file, and never taken from another one."""

from __future__ import annotations

import bz2
import gzip
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tailrace.pipeline.batch import Chunk
from tailrace.pipeline.sources.file import File

TEXT = b"".join(b"%04d this is a line of the log\n" % n for n in range(200))


def source_of(folder: Path) -> File:
    return File(name="app", include=[f"{folder}/*.log"])


async def read(folder: Path) -> list[Chunk]:
    source = source_of(folder)
    source.chunk_bytes = type(source.chunk_bytes)(2000)
    return [chunk async for chunk in source.chunks({}, once=True) if chunk.lines]


def compress(pack: Callable[[bytes], bytes], suffix: str) -> Callable[[Path], None]:
    def packed(path: Path) -> None:
        path.with_name(path.name + suffix).write_bytes(pack(path.read_bytes()))
        path.unlink()

    return packed


def copy_and_cut(path: Path) -> None:
    shutil.copyfile(path, path.with_name("a.log.1"))
    path.write_bytes(b"new\n")


@pytest.mark.parametrize(
    "change",
    [
        lambda path: None,
        lambda path: path.rename(path.with_name("a.log.1")),
        lambda path: path.rename(path.with_name("a.log-20261123")),
        lambda path: path.rename(path.with_name("b.log")),
        compress(gzip.compress, ".1.gz"),
        compress(bz2.compress, "-20261123.bz2"),
        copy_and_cut,
    ],
    ids=["as it was", "renamed", "dated", "other name that matches", "gzip", "bzip2", "copied and cut"],
)
async def test_a_chunk_is_read_again_as_it_was(tmp_path: Path, change: Callable[[Path], None]) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(TEXT)
    chunks = await read(tmp_path)
    change(path)
    assert len(chunks) > 2
    start = 0
    for chunk in chunks:
        end = int(chunk.position["offset"])
        again = await source_of(tmp_path).reread(chunk.position, (start, end))
        assert again is not None
        assert (again.lines, again.offsets, again.size) == (chunk.lines, chunk.offsets, chunk.size)
        assert again.labels == {"source": "app", "file": str(path)}
        start = end


@pytest.mark.parametrize("content", [None, TEXT[:1000], TEXT[1:] + b"x"], ids=["gone", "cut", "rewritten"])
async def test_what_is_no_longer_there_is_not_made_up(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(TEXT)
    last = (await read(tmp_path))[-1]
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    assert await source_of(tmp_path).reread(last.position, (0, len(TEXT))) is None


async def test_a_short_file_is_known_by_its_inode_only(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b"short\n")
    (chunk,) = await read(tmp_path)
    assert await source_of(tmp_path).reread(chunk.position, (0, 6)) is not None
    (tmp_path / "copy.log").write_bytes(b"short\n")
    path.unlink()
    assert await source_of(tmp_path).reread(chunk.position, (0, 6)) is None


async def test_the_extent_is_the_size_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(TEXT)
    position = (await read(tmp_path))[0].position
    path.write_bytes(TEXT + b"more\n")
    assert File.extent(position) == len(TEXT) + 5
    path.rename(tmp_path / "b.log")
    assert File.extent(position) is None
    path.write_bytes(b"another file\n")
    assert File.extent(position) is None


async def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.log").symlink_to(tmp_path / "a.log")
    source = source_of(tmp_path)
    (tmp_path / "b.log").write_bytes(b"fine\n")
    assert [chunk.lines async for chunk in source.chunks({}, once=True) if chunk.lines] == [[b"fine"]]
    assert {Path(path).name for path in source.failing()} == {"a.log"}
