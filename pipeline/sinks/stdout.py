"""Sink `stdout`: prints records, one a line, for a look or for the next program."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterable, Sequence
from typing import ClassVar

from ..batch import Batch, LineForm
from ..component import Gone, Sink


class Stdout(Sink):
    """Prints each record's line, or all its fields as JSON."""

    line: LineForm = "raw"
    """`raw` prints the line that ships (a multi-line event as several lines), `json` all fields as one JSON object."""

    concurrency: ClassVar[int] = 1

    def shared(self, apart: Iterable[frozenset[str]]) -> Iterable[tuple[str, str]]:
        """Lines of one process would land inside those of another."""
        yield "", "only one process can print: take `workers` out, or let an archive (`use: jsonl`) take the records"

    def reads(self) -> Iterable[str]:
        """Those of `match`; a JSON line is printed without looking at its fields."""
        return self.match.fields if self.match else ()

    def cuts(self) -> bool:
        """Not where it copies them."""
        return self.line != "raw" or self.match is not None

    async def send(self, batches: Sequence[Batch]) -> None:
        """Write and flush. Raises Gone when the reader went away."""
        pieces = [batch.joined(self.line) for batch in batches]
        try:
            await asyncio.to_thread(_write, b"\n".join([*pieces, b""]))
        except BrokenPipeError:
            # What Python still holds for it would fail once more, and be told, at the exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise Gone("stdout was closed") from None


def _write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
