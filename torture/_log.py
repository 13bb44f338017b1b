"""One log that is written and rotated, by rules that lose nothing themselves."""

from __future__ import annotations

import asyncio
import gzip
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal

import cramjam

from ._lines import BANNER, Kind, count, lines

PACK: dict[str, Callable[[bytes], bytes]] = {
    "gz": lambda data: gzip.compress(data, 1),
    "zst": lambda data: bytes(cramjam.zstd.compress(data, level=1)),
}
PIECE = 32 << 10
"""Bytes of a copy or a compressed file that appear at once."""
PATIENCE = 3.0
"""Seconds to wait for all of a file to be shipped before it is written anew; else it is left alone."""


class Log:
    """A writer that appends to `path`, and its rotation. Nothing is taken away that was not shipped or copied before.

    Generations are named as a rotation tool does: `app.log.1` and up, or `app.log-20261103-0001` and on; with `link`
    the path is a symbolic link that is switched to the next of these.
    """

    def __init__(
        self,
        path: Path,
        *,
        kind: Kind,
        names: Literal["numbers", "dates"],
        link: bool,
        banner: bool,
        numbers: Iterator[int],
        began_ms: int,
        random: random.Random,
        shipped: Callable[[Path, bool], bool],
        done: Counter[str],
    ) -> None:
        self.path = path
        self.written: Counter[int] = Counter()
        """How often each number was written."""
        self.size = 0
        """Bytes written in all."""
        self.echo: list[bytes] = []
        """Lines of another log, to be written here too: the same line at the same time is still another one."""
        self.others: list[Log] = []
        self._kind = kind
        self._names = names
        self._link = link
        self._banner = banner
        self._numbers = numbers
        self._began_ms = began_ms
        self._random = random
        self._shipped = shipped
        self._done = done
        self._generation = 0
        self._reopen = False
        self._still = asyncio.Lock()
        self._fd = -1

    async def write(self, until: float, burst: int) -> None:
        """Append up to `burst` lines at once, again and again, until this monotonic time."""
        chance = self._random
        if self._link:
            self._switch_link()
        self._open()
        while time.monotonic() < until:
            if self._reopen:
                self._open()
            parts = self._lines(chance.randrange(1, burst))
            place = chance.randrange(len(parts)) if chance.random() < 0.1 else 0
            if place:  # in the middle of an event, or of a line; whatever happens to the file meanwhile
                async with self._still:
                    self._append(b"".join(parts[:place]))
                await asyncio.sleep(chance.uniform(0, 0.3))
                parts = parts[place:]
            async with self._still:
                data = b"".join(parts)
                if chance.random() < 0.05:
                    place = chance.randrange(len(data))
                    self._append(data[:place])
                    await asyncio.sleep(chance.uniform(0, 0.2))
                    data = data[place:]
                self._append(data)
            await asyncio.sleep(chance.uniform(0.001, 0.02))
        os.close(self._fd)
        self._fd = -1

    async def rotate(self, until: float) -> None:
        """Do something to the files now and then, from when tailrace knows them until this monotonic time."""
        kinds = {self._rename: 4, self._rename_twice: 2, self._copy_and_cut: 3, self._write_anew: 1}
        if self._link:
            kinds = {self._switch: 5}
        kinds |= {self._pack: 4, self._delete: 2}
        while not self._shipped(self.path, False):  # generations from before its first start are none of its business
            if time.monotonic() > until:
                return
            await asyncio.sleep(0.05)
        while True:
            await asyncio.sleep(self._random.uniform(0.05, 0.9))
            if time.monotonic() > until:
                return
            (kind,) = self._random.choices([*kinds], [*kinds.values()])
            if what := await kind():
                self._done[what] += 1

    # ---- writing

    def _lines(self, amount: int) -> list[bytes]:
        first = next(self._numbers)
        for _ in range(amount + 3):  # an event of several lines takes some more
            next(self._numbers)
        parts = lines(self._kind, first, amount, self._began_ms)
        if self._kind != "traceback" and self._random.random() < 0.3:
            place = self._random.randrange(len(parts))
            parts.insert(place, parts[place])
            for other in self.others[:1]:
                other.echo.append(parts[place])
        parts, self.echo = self.echo + parts, []
        self.written += count(parts)
        return parts

    def _append(self, data: bytes) -> None:
        self.size += len(data)
        while data:
            data = data[os.write(self._fd, data) :]

    def _open(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._reopen = False
        if self._banner and not os.fstat(self._fd).st_size:
            self._append(BANNER)

    # ---- rotation; each returns what was done, or nothing if it could not be

    async def _rename(self) -> str:
        if not self._move_away():
            return ""
        if self._random.random() < 0.5:
            self.path.touch()
        self._reopen = True  # before its next line; what it is in the middle of goes on in the old file
        return "rename"

    async def _rename_twice(self) -> str:
        if not await self._rename():
            return ""
        for _ in range(200):
            if not self._reopen and self.path.exists():
                break
            await asyncio.sleep(0.005)
        return "rename, twice in a row" if await self._rename() else "rename"

    async def _copy_and_cut(self) -> str:
        async with self._still:  # a copy loses what is written between the two: the writer waits
            if not self._writes_to(self.path):
                return ""
            data, copy = self.path.read_bytes(), self._next_name()
            await self._appear(copy, data, self._random.uniform(0, 0.3))
            os.truncate(self.path, 0)
        return "copy and cut"

    async def _write_anew(self) -> str:
        async with self._still:
            end = time.monotonic() + PATIENCE
            while not self._writes_to(self.path) or not self._shipped(self.path, True):
                if time.monotonic() > end:
                    return ""
                await asyncio.sleep(0.05)
            os.truncate(self.path, 0)
            self._append(BANNER if self._banner else b"")
        return "cut and written anew"

    async def _switch(self) -> str:
        self._switch_link()
        self._reopen = True
        return "symbolic link switched"

    async def _pack(self) -> str:
        old = [one for one in self._generations() if one.suffix[1:] not in PACK and not self._writes_to(one)]
        if not old:
            return ""
        path, packing = self._random.choice(old), self._random.choice([*PACK])
        data = await asyncio.to_thread(path.read_bytes)
        packed = await asyncio.to_thread(PACK[packing], data)
        written_at = path.stat().st_mtime_ns
        new = path.with_name(f"{path.name}.{packing}")
        await self._appear(new, packed, self._random.uniform(0, 0.5))
        os.utime(new, ns=(written_at, written_at))  # as gzip and zstd do
        await asyncio.sleep(self._random.choice([0, 0, 0.1]))
        path.unlink()
        return f"rotated file packed ({packing})"

    async def _delete(self) -> str:
        for path in self._generations():
            if not self._writes_to(path) and self._shipped(path, True):
                path.unlink()
                return "shipped file deleted"
        return ""

    def _move_away(self) -> bool:
        try:
            target = self._next_name()
            self.path.rename(target)
        except FileNotFoundError:
            return False
        return True

    def _switch_link(self) -> None:
        target = self._next_name()
        target.touch()
        fresh = self.path.with_name(f".{self.path.name}")
        fresh.symlink_to(target)
        fresh.replace(self.path)

    def _next_name(self) -> Path:
        """A free name for the next older generation, the others moved on to make room."""
        self._generation += 1
        if self._names == "dates" or self._link:
            return self.path.with_name(f"{self.path.name}-20261103-{self._generation:04}")
        old = {int(one.name.removeprefix(f"{self.path.name}.").split(".")[0]): one for one in self._generations()}
        for number in sorted(old, reverse=True):
            old[number].rename(str(old[number]).replace(f"{self.path.name}.{number}", f"{self.path.name}.{number + 1}"))
        return self.path.with_name(f"{self.path.name}.1")

    def _generations(self) -> list[Path]:
        """The files beside the one that the path leads to."""
        current = self.path.resolve()
        return sorted(one for one in self.path.parent.resolve().glob(f"{self.path.name}[.-]*") if one != current)

    def _writes_to(self, path: Path) -> bool:
        with suppress(OSError):
            return self._fd >= 0 and os.path.samestat(path.stat(), os.fstat(self._fd))
        return False

    async def _appear(self, path: Path, data: bytes, seconds: float) -> None:
        """Write a file in pieces, over this time, as `cp` and `gzip` do."""
        places = range(0, len(data), PIECE)
        with path.open("wb", buffering=0) as file:
            for place in places:
                file.write(data[place : place + PIECE])
                await asyncio.sleep(seconds / len(places))
