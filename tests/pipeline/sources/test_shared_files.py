"""Several processes read one source: each log with all its generations is one's, and none is read twice."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest

from tailrace.pipeline.batch import Position
from tailrace.pipeline.component import Share
from tailrace.pipeline.sources._folder import owner_of
from tailrace.pipeline.sources.file import File

from .test_rotation import Reader, numbered


class Two:
    """Two processes on the same logs, each of which sees where the other one is."""

    def __init__(self, *patterns: Path) -> None:
        self.readers = [Reader(*patterns) for _ in range(2)]
        self._share()

    def _share(self) -> None:
        for worker, reader in enumerate(self.readers):
            other = self.readers[1 - worker]

            def elsewhere(other: Reader = other) -> Iterable[Position]:
                return other.positions.values()

            reader.file.share(Share(worker, 2, begun=True, elsewhere=elsewhere))

    async def once(self) -> list[list[int]]:
        """Both read what is there. Returns what each has read in all."""
        for reader in self.readers:
            await reader.once()
        return [reader.read for reader in self.readers]

    def restart(self, *patterns: Path) -> None:
        """Others, which go on where these were."""
        before = self.readers
        self.readers = [Reader(*patterns, resume=reader.positions) for reader in before]
        for old, new in zip(before, self.readers, strict=True):
            new.read = old.read
        self._share()


def names(folder: Path, worker: int) -> Iterable[Path]:
    """Logs that belong to a worker of two."""
    return (
        folder / f"log-{'abcdefghijkl'[n]}.log"
        for n in range(12)
        if owner_of(str(folder / f"log-{'abcdefghijkl'[n]}.log"), 2) == worker
    )


@pytest.mark.parametrize(
    "other",
    ["app.log.1", "app.log.2.gz", "app.log-20261123.zst", "app.log.2026-11-23", "app-2026-11-23.log", "app.log.1.bz2"],
)
@pytest.mark.parametrize("workers", [2, 3, 7, 64])
def test_all_generations_of_a_log_are_one_worker_s(other: str, workers: int) -> None:
    assert owner_of(f"/var/log/{other}", workers) == owner_of("/var/log/app.log", workers)
    assert 0 <= owner_of(f"/var/log/{other}", workers) < workers


def test_names_that_come_to_one_label_are_one_worker_s() -> None:
    assert len({owner_of(f"/log/550e8400-e29b-41d4-a716-44665544{n:04x}.log", 64) for n in range(50)}) == 1


def test_logs_are_spread() -> None:
    counts = [0, 0, 0, 0]
    for one in range(200):
        counts[owner_of(f"/var/log/app/service{one}.log", 4)] += 1
    assert min(counts) > 25


def test_the_owner_of_a_position_is_that_of_the_name_it_began_under() -> None:
    position: Position = {"offset": 1, "path": "/log/app.log.3", "first_path": "/log/app.log"}
    assert File.owner("/log/app.log#7", position, 5) == owner_of("/log/app.log", 5)
    assert File.owner("/log/app.log#7", {}, 5) == owner_of("/log/app.log", 5)


async def test_each_log_is_read_by_one_of_two(tmp_path: Path) -> None:
    for n in range(10):
        (tmp_path / f"log-{'abcdefghij'[n]}.log").write_bytes(numbered(n, n + 1))
    first, second = await Two(tmp_path / "*.log").once()
    assert sorted(first + second) == list(range(10))
    assert first
    assert second


@pytest.mark.parametrize("how", ["rename", "copy", "pack", "link"])
async def test_a_log_is_read_on_by_its_worker_through_a_rotation(tmp_path: Path, how: str) -> None:
    log, old = tmp_path / "app.log", tmp_path / "app.log.1"
    if how == "link":
        log, old = tmp_path / "app-1.log", tmp_path / "zz.log"
        old.symlink_to(log)
    log.write_bytes(numbered(0, 100))
    both = Two(tmp_path / "*")
    await both.once()
    with log.open("ab") as more:
        more.write(numbered(100, 200))
    both.restart(tmp_path / "*")
    if how == "rename":
        log.rename(old)
    elif how == "copy":
        shutil.copy(log, old)
    elif how == "pack":
        (tmp_path / "app.log.1.gz").write_bytes(gzip.compress(log.read_bytes()))
        log.unlink()
    else:
        old.unlink()
        log = tmp_path / "app-2.log"
        old.symlink_to(log)
    log.write_bytes(numbered(200, 300))
    reads = await both.once()
    assert sorted(map(len, reads)) == [0, 300]
    assert sorted(reads[0] + reads[1]) == list(range(300))


async def test_a_log_that_gets_the_name_of_another_stays_its_worker_s(tmp_path: Path) -> None:
    log, other = next(iter(names(tmp_path, 0))), next(iter(names(tmp_path, 1)))
    log.write_bytes(numbered(0, 100))
    both = Two(tmp_path / "*.log")
    await both.readers[0].until(100)
    log.rename(other)
    await both.readers[0].grow(other, numbered(100, 101))
    assert (await both.readers[1].once()).read == []
    await both.readers[0].close()
    with other.open("ab") as more:
        more.write(numbered(101, 200))
    both.restart(tmp_path / "*.log")
    assert list(map(len, await both.once())) == [200, 0]


async def test_another_log_with_the_inode_of_one_that_is_gone_is_read(tmp_path: Path) -> None:
    other = next(iter(names(tmp_path, 1)))
    other.write_bytes(numbered(0, 10))
    both = Two(tmp_path / "*.log")
    status = other.stat()
    both.readers[0].positions["gone"] = {
        "offset": 5, "path": "x", "first_path": "x", "device": status.st_dev, "inode": status.st_ino,
        "head": "0" * 32, "head_bytes": 5, "tail": "", "tail_bytes": 0, "size": -1, "mtime_ns": -1,
    }  # fmt: skip
    await both.readers[1].once()
    assert both.readers[1].read == list(range(10))


async def test_start_at_end_is_for_the_very_first_start_of_all(tmp_path: Path) -> None:
    log = next(iter(names(tmp_path, 1)))
    log.write_bytes(numbered(0, 10))
    for begun, read in ((False, 0), (True, 10)):
        reader = Reader(tmp_path / "*.log", start_at="end")
        reader.file.share(Share(1, 2, begun=begun))
        assert len((await reader.once()).read) == read
