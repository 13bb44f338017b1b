"""What has arrived: at the counting sink, or in the output file of S4."""

from __future__ import annotations

import subprocess
import time
import urllib.request
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from .process import has_ended


class Arrived(NamedTuple):
    """How far a shipper is."""

    amount: int
    """Records at the sink, or bytes in the file."""
    first: float | None
    """Unix time of the first arrival, where it is known exactly."""
    last: float
    """Unix time of the last arrival."""


class Stats(msgspec.Struct):
    """What the counting sink has counted."""

    requests: int
    wire_bytes: int
    entries: int
    errors: int
    first_ns: int
    last_ns: int
    leaks: dict[str, int]
    labels: dict[str, int]
    kinds: dict[str, int]


class Arrivals(Protocol):
    """Where the records of a scenario go."""

    def look(self) -> Arrived:
        """How much is there now."""
        ...

    def complete(self, arrived: Arrived) -> bool:
        """True when nothing more can come."""
        ...


class AtSink:
    """Records that were pushed to the counting sink."""

    def __init__(self, port: int, wanted: int) -> None:
        self._url = f"http://127.0.0.1:{port}"
        self._wanted = wanted
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def wait_ready(self, sink: subprocess.Popen[bytes], seconds: float = 15) -> None:
        """Wait until the sink answers. Raises RuntimeError when it does not."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                self._opener.open(f"{self._url}/ready", timeout=1).close()
                return
            except OSError:
                if has_ended(sink) or time.monotonic() > deadline:
                    raise RuntimeError(f"the counting sink does not answer at {self._url}") from None
                time.sleep(0.02)

    def stats(self) -> Stats:
        """All that the sink has counted."""
        with self._opener.open(f"{self._url}/stats", timeout=10) as answer:
            return msgspec.json.decode(answer.read(), type=Stats)

    def look(self) -> Arrived:
        """Records at the sink, with its own times."""
        stats = self.stats()
        if not stats.entries:
            return Arrived(0, None, time.time())
        return Arrived(stats.entries, stats.first_ns / 1e9, stats.last_ns / 1e9)

    def complete(self, arrived: Arrived) -> bool:
        """Every record is here."""
        return arrived.amount >= self._wanted


class InFile:
    """Bytes that were written to a file; not every shipper writes them as they were read, so their number is open."""

    QUIET = 2.5
    """Seconds without growth after which it is taken for finished."""

    def __init__(self, path: Path, likely: int) -> None:
        self._path = path
        self._likely = likely
        self._size = 0
        self._grew = 0.0

    def look(self) -> Arrived:
        """Bytes in the file; the time is that of the look which found them."""
        size = self._path.stat().st_size if self._path.exists() else 0
        if size != self._size:
            self._size, self._grew = size, time.time()
        return Arrived(size, None, self._grew)

    def complete(self, arrived: Arrived) -> bool:
        """As large as the input, or no longer growing."""
        return arrived.amount == self._likely or (arrived.amount > 0 and time.time() - self._grew > self.QUIET)


def occurrences(path: Path, mark: bytes) -> int:
    """How often the mark stands in a file."""
    found, tail = 0, b""
    with path.open("rb") as file:
        while piece := file.read(1 << 22):
            piece = tail + piece
            found += piece.count(mark)
            tail = piece[len(piece) - len(mark) + 1 :]
    return found
