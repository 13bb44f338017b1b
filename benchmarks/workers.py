"""What a second process brings: `python -m tailrace.benchmarks.workers`.

The same eight logs (JSON parsed, redacted, level and file as labels: S2 with a stream for each file) are shipped to the
counting sink with `workers: 1` and `workers: 2`, nothing pinned to a core: the sink takes its part of the cores too.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import count
from pathlib import Path

import msgspec

from ..pipeline.sources._folder import owner_of
from ..tests.services._server import free_ports
from .arrivals import AtSink
from .generate import Corpus, ensure
from .process import Meter, has_ended, running, stop
from .shipper import Shipper, fill, find, known, programs

SCENARIO = "s2"
FILES = 8
WORKERS = (1, 2)
PATIENCE = 300.0
"""Seconds that a run may take."""


class Rate(msgspec.Struct, kw_only=True):
    """What one run did."""

    workers: int
    mb: float
    wall_s: float
    cpu_s: float
    """Of all processes of tailrace."""
    sink_cpu_s: float
    rss_mb: float
    """Peak, of all processes together."""
    missing: int
    """Lines that had not arrived, or came twice (negative)."""


def names(folder: Path, files: int, workers: int) -> list[Path]:
    """Names for so many logs, of which each of the workers reads as many as the others."""
    room = dict.fromkeys(range(workers), files // workers)
    found: list[Path] = []
    for number in count():
        path = folder / f"service{number}.log"
        if room[owner_of(str(path), workers)]:
            room[owner_of(str(path), workers)] -= 1
            found.append(path)
        if len(found) == files:
            return found
    raise AssertionError("there are names without end")


def config(template: str, workers: int) -> str:
    """A config of the benchmark for several processes, with a stream for each file."""
    text = template.replace("labels: { ", 'labels: { file: "{file}", ')
    if text == template:
        raise ValueError("the config has no labels to add one to")
    return f"workers: {workers}\n{text}"


def measure(shipper: Shipper, workers: int, folder: Path, corpus: Corpus) -> Rate:
    """Ship the logs of a folder once. Raises RuntimeError when the sink does not start, or the run ends too early."""
    template = shipper.config_file("tailrace", SCENARIO)
    assert template
    state = folder / f"state-{workers}"
    shutil.rmtree(state, ignore_errors=True)
    state.mkdir()
    (port,) = free_ports(1)
    values = {"IN": folder / "*.log", "PORT": port, "STATE": state, "CFG": state / "tailrace.yaml", **shipper.vars}
    (state / "tailrace.yaml").write_text(fill([config(template.read_text(), workers)], values)[0])
    command = fill(shipper.cmd, values)
    command[0] = find(command[0]) or command[0]
    wanted = corpus.lines * FILES
    with running([str(programs() / "bench-sink"), "-address", f"127.0.0.1:{port}"], core=None) as sink_process:
        sink = AtSink(port)
        sink.wait_ready(sink_process)
        log = state / "log"
        with log.open("wb") as output, running(command, core=None, output=output, cwd=state) as process:
            began = time.time()
            while (stats := sink.stats()).entries < wanted and time.time() - began < PATIENCE:
                if has_ended(process):
                    raise RuntimeError(f"it ended too early and said: {log.read_text()[-1200:]}")
                time.sleep(0.05)
            meter = Meter(process.pid)
            rate = Rate(
                workers=workers,
                mb=corpus.bytes * FILES / 1e6,
                wall_s=round(stats.last_ns / 1e9 - began, 2),
                cpu_s=round(meter.cpu(), 2),
                sink_cpu_s=round(Meter(sink_process.pid).cpu(), 2),
                rss_mb=meter.peak_mb(),
                missing=wanted - stats.entries,
            )
            stop(process)
    return rate


def table(rates: Sequence[Rate]) -> str:
    """One row for each number of workers, the median run of each by its time, in Markdown."""
    rows = [
        "| workers | MB/s | MB per CPU-second | CPU s | of the sink | memory MB | lines |\n"
        "|--:|--:|--:|--:|--:|--:|---|\n"
    ]
    for workers in sorted({rate.workers for rate in rates}):
        own = sorted((rate for rate in rates if rate.workers == workers), key=lambda rate: rate.wall_s)
        middle = statistics.median_low([rate.wall_s for rate in own])
        rate = next(rate for rate in own if rate.wall_s == middle)
        missing = sum(abs(rate.missing) for rate in own)
        rows.append(
            f"| {workers} | {rate.mb / rate.wall_s:.0f} | {rate.mb / rate.cpu_s:.0f} | {rate.cpu_s:.1f}"
            f" | {rate.sink_cpu_s:.1f} | {rate.rss_mb:.0f} | {f'FAILED: {missing:,} missing' if missing else 'all'} |\n"
        )
    return "".join(rows)


def main() -> int:
    """Exit code 0; 1 when a line was lost or came twice."""
    parser = argparse.ArgumentParser(prog="python -m tailrace.benchmarks.workers", description=__doc__)
    add = parser.add_argument
    add("--mb", type=float, default=25, help="of each of the eight logs, in 10⁶ bytes (%(default)s)")
    add("--runs", type=int, default=3, help="of each number of workers, in turn; the median counts (%(default)s)")
    chosen = parser.parse_args()
    source, corpus = ensure("json", chosen.mb)
    rates: list[Rate] = []
    with tempfile.TemporaryDirectory(prefix="bench-workers-") as name:
        for path in names(Path(name), FILES, max(WORKERS)):
            shutil.copy(source, path)
        for workers in [*WORKERS] * chosen.runs:
            rates.append(measure(known()["tailrace"], workers, Path(name), corpus))
            print(rates[-1], file=sys.stderr)
    print(f"{os.cpu_count()} cores, {rates[0].mb:.0f} MB in {FILES} files\n\n{table(rates)}", end="")
    return 1 if any(rate.missing for rate in rates) else 0


if __name__ == "__main__":
    sys.exit(main())
