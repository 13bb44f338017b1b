"""Source `stdin`: reads what is piped in; the run ends with it."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from typing import Literal

from ..batch import Chunk, Position
from ..component import Source
from ..framing import StartPattern, framer
from ..options import Size

READ_BYTES = 1 << 18


class Stdin(Source):
    """Reads standard input to its end. A pipe cannot be read again: what a crash interrupts is lost with it."""

    multiline: Literal["off", "traceback", "container"] | StartPattern = "off"
    """`traceback` joins stack traces and their header line into one event; `container` does so inside the lines that
    Kubernetes and Docker write, and joins lines that these cut; `{ start: REGEX }` joins up to the next line that
    matches."""
    max_event: Size = Size(1 << 20)
    """An event longer than this is handled by `on_long`."""
    on_long: Literal["split", "truncate"] = "split"
    """`split` ships a too long event in pieces, `truncate` its first piece only (the rest is counted)."""

    _gone: set[str] = set()

    def writes(self) -> Iterable[str]:
        """The source's name."""
        return ("source",)

    async def chunks(self, resume: Mapping[str, Position], *, once: bool) -> AsyncGenerator[Chunk, None]:
        """Whole events as they come; the position only counts, a pipe has no place to resume at."""
        framing = framer(self.multiline, self.max_event, self.on_long)
        rest, offset, skip = b"", 0, 0
        labels = {"source": self.name}
        read = await _reader()
        # Each run reads another stream: its own partition, so that the offsets of the last run mean nothing here.
        partition = f"stdin-{uuid.uuid4().hex[:8]}"
        self._gone = set(resume)
        while True:
            data = await read()
            rest += data
            framed = framing.split(rest, offset, final=not data, skip=skip)
            if framed.taken:
                rest, offset, skip = rest[framed.taken :], offset + framed.taken, framed.skip
                yield Chunk(
                    partition=partition,
                    position={"offset": offset},
                    lines=framed.lines,
                    offsets=framed.offsets,
                    labels=labels,
                    size=framed.taken,
                    long=framed.long,
                    cut=framed.cut,
                )
            if not data:
                return

    def forgotten(self) -> Iterable[str]:
        """The pipes of earlier runs."""
        gone, self._gone = self._gone, set()
        return gone


async def _reader() -> Callable[[], Awaitable[bytes]]:
    """Read without blocking the loop where stdin can wait (a pipe, a terminal); a file never does."""
    fd = sys.stdin.fileno()
    if stat.S_ISREG(os.fstat(fd).st_mode):

        async def read_file() -> bytes:
            return os.read(fd, READ_BYTES)

        return read_file
    stream = asyncio.StreamReader(limit=READ_BYTES)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stream), sys.stdin)

    async def read_pipe() -> bytes:
        return await stream.read(READ_BYTES)

    return read_pipe
