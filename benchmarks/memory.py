"""How much memory a shipper takes: `python -m tailrace.benchmarks.memory`.

With one idle file, at full speed, with 1,000 files, and while the place that it ships to is gone and the log goes on
(config of S5: JSON parsed, level as label). Resident memory of its whole process tree, in MiB.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import msgspec

from .corpora import MIXES, Author
from .generate import ensure
from .latency import wait_for
from .measure import Bench, measure, started
from .process import stop
from .shipper import FOLLOWERS, Shipper, present

SCENARIO = "s5"
FILES = 1_000
LINES_PER_FILE = 100
PATIENCE = 60.0
"""Seconds that the first lines may take."""


class Memory(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What one shipper takes, in MiB."""

    rival: str
    idle: float | None = None
    """One small file that was read, some seconds later."""
    full_speed: float | None = None
    """The most while it reads a large file."""
    many_files: float | None = None
    """1,000 files that were read, some seconds later."""
    stopped_at_once: float | None = None
    """The sink is gone, and a large file has been appended: after half of the time."""
    stopped_later: float | None = None
    """The same after all of it."""


def events(count: int) -> bytes:
    """JSON lines of the corpus."""
    return "".join(event.text for event in islice(MIXES["json"](Author("json", 7)), count)).encode()


def idle_and_stopped(result: Memory, shipper: Shipper, large: Path, settle: float, outage: float, bench: Bench) -> None:
    """One small file; then the sink stops, and the file grows by a large one."""
    with tempfile.TemporaryDirectory(prefix="bench-memory-") as folder:
        path = Path(folder, "app.log")
        path.write_bytes(events(LINES_PER_FILE))
        with started(result.rival, shipper, SCENARIO, path, bench) as run:
            wait_for(run, LINES_PER_FILE, PATIENCE)
            time.sleep(settle)
            result.idle = run.meter.resident_mb()
            stop(run.sink_process)
            with path.open("ab") as file:
                file.write(large.read_bytes())
            time.sleep(outage / 2)
            result.stopped_at_once = run.meter.resident_mb()
            time.sleep(outage / 2)
            result.stopped_later = run.meter.resident_mb()
            stop(run.process, grace=0)  # it would wait for the sink


def many(result: Memory, shipper: Shipper, settle: float, bench: Bench) -> None:
    """Many files in one folder."""
    lines = events(LINES_PER_FILE)
    with tempfile.TemporaryDirectory(prefix="bench-memory-") as folder:
        for number in range(FILES):
            Path(folder, f"app-{number}.log").write_bytes(f'{{"file": {number}}}\n'.encode() + lines)
        with started(result.rival, shipper, SCENARIO, f"{folder}/*.log", bench) as run:
            wait_for(run, FILES * (LINES_PER_FILE + 1), PATIENCE)
            time.sleep(settle)
            result.many_files = run.meter.resident_mb()


def table(results: Sequence[Memory]) -> str:
    """One row for each shipper, in Markdown."""
    rows = [
        f"| shipper | one idle file | full speed | {FILES:,} files | sink stopped | later |\n",
        "|---|--:|--:|--:|--:|--:|\n",
    ]
    for found in sorted(results, key=lambda one: one.idle or 0):
        sizes = (found.idle, found.full_speed, found.many_files, found.stopped_at_once, found.stopped_later)
        rows.append(f"| {found.rival} | {' | '.join('' if size is None else f'{size:.0f}' for size in sizes)} |\n")
    return "".join(rows)


def read(path: Path) -> list[Memory]:
    """The results in a file of JSON lines. Raises msgspec.DecodeError."""
    return msgspec.json.Decoder(Memory).decode_lines(path.read_bytes())


def main() -> int:
    """Exit code 0."""
    parser = argparse.ArgumentParser(prog="python -m tailrace.benchmarks.memory", description=__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="a smaller large file, and less waiting")
    add("--shippers", metavar="A,B", default=",".join(FOLLOWERS), help="those of these that are here: %(default)s")
    add("--out", type=Path, metavar="FILE", help="append the results to this file, as JSON lines")
    chosen = parser.parse_args()
    settle, outage = (1, 4) if chosen.quick else (4, 16)
    path, corpus = ensure("json", 20 if chosen.quick else 60)
    bench, results = Bench.of_this_machine(), []
    for name, shipper in present(chosen.shippers.split(",")).items():
        result = Memory(rival=name)
        idle_and_stopped(result, shipper, path, settle, outage, bench)
        if shipper.patterns:
            many(result, shipper, settle, bench)
        fast = measure(name, shipper, SCENARIO, path, corpus, bench)
        result.full_speed = fast.peak_rss_mb if fast.counts else None
        results.append(result)
        print(msgspec.json.encode(result).decode(), file=sys.stderr)
        if chosen.out:
            with chosen.out.open("ab") as file:
                file.write(msgspec.json.encode(result) + b"\n")
    print(table(results), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
