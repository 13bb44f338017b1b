"""`make memory`: what tailrace takes while Loki is away and logs go on, and if every line is there afterwards."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from ..tests.live.shipper import Shipper
from ..tests.services._server import NotInstalled
from ..tests.services.loki import Loki
from .machine import hardware

SHARDS = 4
"""Log files, each a stream of its own."""
LINE_BYTES = 500
STEP_NS = 1000
"""Between the times of two lines."""
TICK_SECONDS = 0.05
SETTLE_SECONDS = 5.0
MOST_GROWTH = 50_000_000
"""Bytes over the resident memory of an idle tailrace."""
WINDOW = 200_000
"""Lines asked for with one query."""
STALLED_SECONDS = 120
MB = 1_000_000

CONFIG = """
sources:
  app: { use: file, include: ["logs/*.log"] }
stages:
  - { use: parse, format: json }
  - { use: redact }
sinks:
  loki: { use: loki, url: "@URL@", labels: { app: memory, shard: "{shard}" } }
exporter: { listen: "127.0.0.1:@PORT@" }
state: state
"""

_FILLER = b"planner called tool search with 12 results in 318 ms; "


def time_of(number: int, began_ns: int) -> int:
    """Unix ns of a line, with a last digit, so that none is left to tailrace."""
    return began_ns + number * STEP_NS + 1


def line(number: int, began_ns: int) -> bytes:
    """A JSON line of `LINE_BYTES` with its break, with a number and a time of its own."""
    head = b'{"id":"%012d","timestamp":%d,"level":"info","shard":"s%d","message":"' % (
        number,
        time_of(number, began_ns),
        number % SHARDS,
    )
    room = LINE_BYTES - len(head) - 3
    return head + (_FILLER * (room // len(_FILLER) + 1))[:room] + b'"}\n'


def faults(found: bytearray) -> str:
    """What is wrong with how often each number was found; empty when each was found just once."""
    missing, repeated = found.count(0), len(found) - found.count(0) - found.count(1)
    return f"{missing:,} missing, {repeated:,} more than once" if missing or repeated else ""


def write(logs: Path, seconds: float, per_second: int, began_ns: int, meanwhile: Iterator[None]) -> int:
    """Write lines for so long, each with a call of its own as loggers do. Returns how many."""
    files = [os.open(logs / f"s{shard}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640) for shard in range(SHARDS)]
    count, start = 0, time.monotonic()
    try:
        while (past := time.monotonic() - start) < seconds:
            for number in range(count, int(past * per_second)):
                os.write(files[number % SHARDS], line(number, began_ns))
                count = number + 1
            next(meanwhile)
            time.sleep(TICK_SECONDS)
    finally:
        for file in files:
            os.close(file)
    return count


def watched(shipper: Shipper) -> Iterator[None]:
    """Looks at its memory whenever it is asked to go on. Raises RuntimeError when the run has ended."""
    told = time.monotonic()
    while True:
        if not shipper.running():
            raise RuntimeError(f"tailrace ended; it said:\n{shipper.stderr}")
        if time.monotonic() - told >= 60:
            told += 60
            say(f"memory so far at most {shipper.peak_rss / MB:.1f} MB")
        yield


def catch_up(shipper: Shipper, count: int) -> None:
    """Wait until all is shipped. Raises RuntimeError when nothing was for two minutes."""
    look, done, moved = watched(shipper), -1.0, time.monotonic()
    while done < count:
        next(look)
        now = shipper.value("tailrace_events_out_total", kind="sink", component="loki")
        if now != done:
            done, moved = now, time.monotonic()
        if time.monotonic() - moved > STALLED_SECONDS:
            raise RuntimeError(f"only {done:,.0f} of {count:,} lines were shipped; it said:\n{shipper.stderr}")
        time.sleep(0.2)


def found_in(loki: Loki, count: int, began_ns: int) -> bytearray:
    """How often a log query finds each number (at most 255 times), at the line's own time."""
    found = bytearray(count)
    # Only the number comes back: the whole lines would be gigabytes of JSON.
    query = '{app="memory"} | line_format `{{ __line__ | substr 7 19 }}`'
    for first in range(0, count, WINDOW):
        start, end = (began_ns + number * STEP_NS for number in (first, min(first + WINDOW, count)))
        for entry in loki.query(query, start, end, page=WINDOW * 2):
            number = int(entry.line)
            if entry.time_ns != time_of(number, began_ns):
                raise ValueError(f"line {number} is at {entry.time_ns} in Loki")
            found[number] = min(found[number] + 1, 255)
    return found


def say(words: str) -> None:
    """Progress, on stderr."""
    print(time.strftime("%H:%M:%S"), words, file=sys.stderr, flush=True)


def measure(folder: Path, minutes: float, rate: float) -> int:
    """Print the figures. Returns the exit code: 0, or 1 if memory grew too much or a line is lost or repeated."""
    began_ns = time.time_ns() // STEP_NS * STEP_NS
    logs = folder / "logs"
    logs.mkdir()
    (folder / "loki").mkdir()
    with ExitStack() as running:
        loki = running.enter_context(Loki(folder / "loki"))
        shipper = running.enter_context(Shipper(folder, CONFIG.replace("@URL@", loki.url)))
        look = watched(shipper.start())
        shipper.until(lambda: shipper.value("tailrace_sink_up", sink="loki"))
        time.sleep(SETTLE_SECONDS)
        shipper.peak_rss = 0
        next(look)
        idle = shipper.peak_rss
        say(f"idle at {idle / MB:.1f} MB; stopping Loki and writing {rate:g} MB/s for {minutes:g} minutes")
        loki.stop()
        count = write(logs, minutes * 60, int(rate * MB / LINE_BYTES), began_ns, look)
        during = shipper.peak_rss
        say(f"starting Loki with {count:,} lines to ship")
        loki.start()
        start = time.monotonic()
        catch_up(shipper, count)
        caught_up = time.monotonic() - start
        peak = shipper.peak_rss
        residual = shipper.value("tailrace_books_residual_events")
        code = shipper.stop().code
        say(f"shipped in {caught_up:.0f} s; asking Loki for each line")
        found = found_in(loki, count, began_ns)
    print(f"- {time.strftime('%Y-%m-%d', time.gmtime())}; {hardware()}")
    print(f"- written while Loki was away: {count * LINE_BYTES / MB:,.0f} MB, {count:,} lines, in {minutes:g} minutes")
    print(f"- idle: {idle / MB:.1f} MB resident")
    print(f"- peak while Loki was away: {during / MB:.1f} MB; over all: {peak / MB:.1f} MB")
    print(f"- growth: {(peak - idle) / MB:.1f} MB (at most {MOST_GROWTH / MB:g})")
    print(f"- time to catch up: {caught_up:.1f} s, {count * LINE_BYTES / MB / caught_up:.0f} MB/s")
    print(f"- found in Loki exactly once: {found.count(1):,} of {count:,}; residual of the books: {residual:g}")
    wrong = [faults(found)]
    if peak - idle > MOST_GROWTH:
        wrong.append("memory grew too much")
    if residual or code:
        wrong.append(f"residual {residual:g}, exit code {code}")
    print("- " + ("; ".join(filter(None, wrong)) or "all is well"))
    return 1 if any(wrong) else 0


def main() -> int:
    """Read the options and measure."""
    parser = argparse.ArgumentParser(prog="make memory", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long Loki is away")
    parser.add_argument("--rate", type=float, default=10.0, help="MB of logs per second")
    parser.add_argument("--folder", type=Path, help="where the logs go for the time: 6 GB by default, and Loki's data")
    chosen = parser.parse_args()
    # Without compiled modules Python compiles them at the start, and what that took stays resident.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    try:
        with tempfile.TemporaryDirectory(prefix="tailrace-memory-", dir=chosen.folder) as folder:
            return measure(Path(folder), chosen.minutes, chosen.rate)
    except NotInstalled as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
