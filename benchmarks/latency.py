"""How long a line takes from the program that writes it until it is accepted: `python -m tailrace.benchmarks.latency`.

Lines with the time in them are appended to a file at 1, 1,000 and 20,000 a second while a shipper follows it (config of
S5: JSON parsed, level as label); the counting sink notes how old each is when it arrives.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from .measure import Bench, Running, started
from .shipper import FOLLOWERS, Shipper, present

SCENARIO = "s5"
RATES = (1, 1_000, 20_000)
MARK = "sent="
TICK = 0.002
"""Seconds between two writes, at most so many lines at once as fall into it."""
PATIENCE = 15.0
"""Seconds that the last lines may take."""


class Delay(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What one shipper did at one rate. Times in ms."""

    rival: str
    rate: int
    """Lines a second."""
    lines: int
    missing: int
    """Lines that had not arrived, or came twice (negative)."""
    p50: float | None = None
    p99: float | None = None
    max: float | None = None


def line(number: int, now_ns: int) -> bytes:
    """A JSON line of about 200 bytes with the time in its message."""
    seconds, nanoseconds = divmod(now_ns, 10**9)
    stamp = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{nanoseconds // 1000:06d}Z"
    return (
        f'{{"timestamp": "{stamp}", "level": "info", "logger": "app.jobs.scheduler", '
        f'"message": "queue depth sampled {MARK}{now_ns} number={number}", "stage": "plan", '
        f'"trace_id": "{number:032x}"}}\n'
    ).encode()


def append(path: Path, rate: int, seconds: float) -> int:
    """Append lines at a steady rate, each with the time of its write. Returns how many."""
    total, done = max(1, round(rate * seconds)), 0
    with path.open("ab", buffering=0) as file:
        began = time.monotonic()
        while done < total:
            due = min(total, int((time.monotonic() - began) * rate) + 1)
            if due > done:
                now = time.time_ns()
                file.write(b"".join([line(number, now) for number in range(done, due)]))
                done = due
            time.sleep(max(TICK, began + done / rate - time.monotonic()) if done < total else 0)
    return total


def watch(name: str, shipper: Shipper, rate: int, seconds: float, bench: Bench) -> Delay:
    """Let a shipper follow a file, and append to it. Raises RuntimeError when it does not read what is there."""
    with tempfile.TemporaryDirectory(prefix="bench-latency-") as folder:
        path = Path(folder, "app.log")
        path.write_bytes(line(0, 0).replace(MARK.encode(), b""))  # unmarked: says when the shipper is at work
        with started(name, shipper, SCENARIO, path, bench, ["-mark", MARK]) as run:
            wait_for(run, 1, PATIENCE)
            lines = append(path, rate, seconds)
            wait_for(run, lines + 1, PATIENCE, strict=False)
            delays = [delay / 1e6 for delay in run.sink.delays()]
    result = Delay(rival=name, rate=rate, lines=lines, missing=lines - len(delays))
    if len(delays) > 1:
        hundredths = statistics.quantiles(delays, n=100, method="inclusive")
        result.p50, result.p99, result.max = (round(d, 1) for d in (hundredths[49], hundredths[98], max(delays)))
    return result


def wait_for(run: Running, records: int, seconds: float, *, strict: bool = True) -> None:
    """Until so many records are at the sink. Raises RuntimeError if they do not come, unless that is a result too."""
    deadline = time.monotonic() + seconds
    while run.sink.stats().entries < records:
        if time.monotonic() > deadline:
            if strict:
                raise RuntimeError(f"{run.folder.name}: nothing arrived in {seconds:g} s; it said:\n{run.said()}")
            return
        time.sleep(0.1)


def table(delays: Sequence[Delay]) -> str:
    """One row for each rate and shipper, in Markdown."""
    rows = ["| lines/s | shipper | p50 ms | p99 ms | max ms | lines |\n|--:|---|--:|--:|--:|--:|\n"]
    for found in sorted(delays, key=lambda delay: (delay.rate, delay.p99 is None, delay.p99)):
        times = ["" if found.missing or t is None else f"{t:,.0f}" for t in (found.p50, found.p99, found.max)]
        lines = f"{found.lines:,}" + (f" (FAILED: {found.missing:,} missing)" if found.missing else "")
        rows.append(f"| {found.rate:,} | {found.rival} | {' | '.join(times)} | {lines} |\n")
    return "".join(rows)


def read(path: Path) -> list[Delay]:
    """The results in a file of JSON lines. Raises msgspec.DecodeError."""
    return msgspec.json.Decoder(Delay).decode_lines(path.read_bytes())


def main() -> int:
    """Exit code 0; 1 when tailrace lost a line."""
    parser = argparse.ArgumentParser(prog="python -m tailrace.benchmarks.latency", description=__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="3 seconds at each rate instead of 10 (20 at 1 line/s)")
    add("--shippers", metavar="A,B", default=",".join(FOLLOWERS), help="those of these that are here: %(default)s")
    add("--out", type=Path, metavar="FILE", help="append the results to this file, as JSON lines")
    chosen = parser.parse_args()
    bench, delays = Bench.of_this_machine(), []
    for rate in RATES:
        for name, shipper in present(chosen.shippers.split(",")).items():
            seconds = 3 if chosen.quick else 20 if rate == 1 else 10
            found = watch(name, shipper, rate, seconds, bench)
            delays.append(found)
            print(f"{name} at {rate:,} lines/s: p99 {found.p99} ms, {found.missing} missing", file=sys.stderr)
            if chosen.out:
                with chosen.out.open("ab") as file:
                    file.write(msgspec.json.encode(found) + b"\n")
    print(table(delays), end="")
    return 1 if any(delay.missing for delay in delays if delay.rival == "tailrace") else 0


if __name__ == "__main__":
    sys.exit(main())
