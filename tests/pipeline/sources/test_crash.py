"""Killed before the first checkpoint, and then rotated: each line is delivered once, however little of it was known."""

import asyncio
import bz2
import gzip
import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import cramjam
import pytest

from tailrace.pipeline import runner as engine
from tailrace.pipeline.options import Duration, Size
from tailrace.pipeline.runner import Runner
from tailrace.pipeline.sources import file as file_source
from tailrace.pipeline.sources.file import File
from tailrace.testing import ListSink

NOW = Duration(0)
SHORT = b"ready\n"
BANNER = b"==== service started, version 1.2.3, build 20261103, listening on 127.0.0.1:8080, workers 4, pid 1 ====\n"
MORE = b"".join(b"line %d\n" % n for n in range(200))
NEW = b"".join(b"another %d\n" % n for n in range(300))


class Run:
    """A run of the engine over the files of one folder."""

    def __init__(self, folder: Path, state: Path, include: str = "app.log*") -> None:
        self.state = state
        self._sink = ListSink(name="list", batch_wait=NOW, batch_bytes=Size(1))
        self._file = File(
            name="app",
            include=[str(folder / include)],
            idle=NOW,
            multiline_wait=NOW,
            rotate_wait=NOW,
            poll=Duration(0.01),
            watch="poll",
        )
        self._runner = Runner(
            {"app": self._file}, [], {"list": self._sink}, wanted=[], state=state, drain=0.0, clock_ns=lambda: 1
        )
        self._running: asyncio.Task[int] | None = None

    @property
    def delivered(self) -> list[bytes]:
        return [record.line for record in self._sink.got]

    async def until(self, data: bytes) -> None:
        """Follow until all of this is delivered, and its delivery noted."""
        self._running = self._running or asyncio.ensure_future(self._runner.run())
        async with asyncio.timeout(10):
            while Counter(data.splitlines()) - Counter(self.delivered) or self._in_flight():  # noqa: ASYNC110  # state
                await asyncio.sleep(0)

    async def begun(self) -> None:
        """Follow until a file was seen."""
        self._running = asyncio.ensure_future(self._runner.run())
        while not self._runner.partitions.of("app"):  # noqa: ASYNC110  # plain state
            await asyncio.sleep(0)

    async def kill(self) -> list[bytes]:
        """What a kill leaves on disk takes the place of the state. Returns what was delivered."""
        left = self.state.with_name("killed")
        shutil.copytree(self.state, left)
        assert self._running
        self._running.cancel()
        await asyncio.wait([self._running])
        shutil.rmtree(self.state)
        left.rename(self.state)
        return self.delivered

    async def once(self) -> list[bytes]:
        assert await self._runner.run(once=True) == 0
        return self.delivered

    def _in_flight(self) -> bool:
        return any(delivery.held_events for delivery in self._runner.deliveries)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of the logs; nothing is saved but what is saved before a delivery."""
    monkeypatch.setattr(engine, "CHECKPOINT_SECONDS", 3600.0)
    (tmp_path / "logs").mkdir()
    return tmp_path / "logs"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new file is held for a moment only."""
    monkeypatch.setattr(file_source, "SETTLE_SECONDS", 0.01)


def append(log: Path, data: bytes) -> None:
    with log.open("ab") as file:
        file.write(data)


def nothing(log: Path) -> bytes:
    return b""


def grown(log: Path) -> bytes:
    append(log, NEW)
    return NEW


def renamed(log: Path) -> bytes:
    append(log, b"last\n")
    log.rename(log.with_name("app.log.1"))
    append(log, NEW)
    return b"last\n" + NEW


def copied_and_cut(log: Path) -> bytes:
    append(log, b"last\n")
    shutil.copy(log, log.with_name("app.log.1"))
    os.truncate(log, 0)
    append(log, NEW)
    return b"last\n" + NEW


def packed(suffix: str, pack: Callable[[bytes], bytes]) -> Callable[[Path], bytes]:
    def packed(log: Path) -> bytes:
        append(log, b"last\n")
        log.with_name(f"app.log.1.{suffix}").write_bytes(pack(log.read_bytes()))
        log.unlink()
        append(log, NEW)
        return b"last\n" + NEW

    return packed


def written_anew(log: Path) -> bytes:
    with log.open("r+b") as file:  # the same inode, as when the file system gives it to another file
        file.truncate()
        file.write(NEW)
    return NEW


def deleted(log: Path) -> bytes:
    log.unlink()
    return b""


CHANGES = {
    "nothing": nothing,
    "grown": grown,
    "renamed": renamed,
    "copied and cut": copied_and_cut,
    "gzip": packed("gz", gzip.compress),
    "bzip2": packed("bz2", bz2.compress),
    "zstd": packed("zst", lambda data: bytes(cramjam.zstd.compress(data))),
    "written anew": written_anew,
    "deleted": deleted,
}
BEGINS = {
    "empty": (b"", b""),
    "one byte": (b"r", b"eady\n"),
    "a short line": (SHORT, b""),
    "empty, then a short line": (b"", SHORT),
}
"""What is there when the file is first seen, and what is added before all the rest."""
PATTERNS = pytest.mark.parametrize("include", ["app.log", "app.log*"])


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@PATTERNS
@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("begin", BEGINS.values(), ids=BEGINS)
async def test_a_file_that_grew_after_it_was_first_seen(
    folder: Path, begin: tuple[bytes, bytes], include: str, change: Callable[[Path], bytes]
) -> None:
    log, state = folder / "app.log", folder.parent / "state"
    before, written = Run(folder, state, include), begin[0]
    append(log, begin[0])
    await before.begun()
    for data in (begin[1], MORE):
        append(log, data)
        written += data
        await before.until(written[: written.rfind(b"\n") + 1])
    delivered = await before.kill()
    written += change(log)
    after = await Run(folder, state, include).once()
    assert sorted(delivered + after) == sorted(written.splitlines())


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@PATTERNS
@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("content", [b"x", b"no end", SHORT * 10], ids=["1 byte", "no line break", "60"])
async def test_a_file_that_stayed_short(
    folder: Path, content: bytes, include: str, change: Callable[[Path], bytes]
) -> None:
    log, state = folder / "app.log", folder.parent / "state"
    append(log, content)
    before = Run(folder, state, include)
    await before.until(content)
    delivered = await before.kill()
    assert delivered == content.splitlines()
    added = change(log)
    after = await Run(folder, state, include).once()
    assert sorted(delivered + after) == sorted(content.splitlines() + added.splitlines())


@pytest.mark.parametrize("change", [renamed, copied_and_cut, written_anew])
async def test_files_whose_first_line_is_the_same_are_told_apart_by_what_soon_follows(
    folder: Path, change: Callable[[Path], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    log, state = folder / "app.log", folder.parent / "state"
    monkeypatch.setitem(globals(), "NEW", BANNER + NEW)
    before = Run(folder, state)
    append(log, BANNER)
    await before.begun()
    append(log, MORE)
    await before.until(BANNER + MORE)
    delivered = await before.kill()
    written = BANNER + MORE + change(log)
    after = await Run(folder, state).once()
    assert sorted(delivered + after) == sorted(written.splitlines())


async def test_a_short_file_ships_soon(folder: Path) -> None:
    run = Run(folder, folder.parent / "state")
    await run.until(b"")
    began = asyncio.get_running_loop().time()
    append(folder / "app.log", b"x\n")
    await run.until(b"x\n")
    took = asyncio.get_running_loop().time() - began
    await run.kill()
    assert 0.1 < took < 0.6
