"""Medians of results as a Markdown table: `python -m tailrace.benchmarks.table RESULTS.jsonl …`."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

from .result import Result, read

LIMIT = "probe"
"""What the others are compared with."""
HEADER = (
    "| scenario | shipper | MB/CPU-s | of probe | records/CPU-s | MB/s wall | start s | peak RSS MiB | MB sent | runs |"
    "\n"
    "|---|---|--:|--:|--:|--:|--:|--:|--:|---|\n"
)


def table(results: list[Result]) -> str:
    """One row for each scenario, mix and shipper that ran, the fastest of a scenario first."""
    groups: dict[tuple[str, str], dict[str, list[Result]]] = {}
    for result in results:
        if result.status != "cannot":
            groups.setdefault((result.scenario, result.mix), {}).setdefault(result.rival, []).append(result)
    return HEADER + "".join(row for place in sorted(groups) for row in _rows(place, groups[place]))


def _rows(place: tuple[str, str], shippers: dict[str, list[Result]]) -> Iterator[str]:
    limit = median(shippers.get(LIMIT, []), "mb_per_cpu_s")
    for name, runs in sorted(shippers.items(), key=lambda item: -(median(item[1], "mb_per_cpu_s") or 0)):
        speed = median(runs, "mb_per_cpu_s")
        sent = median(runs, "wire_mb")
        cells = [
            f"{place[0]} {place[1]}",
            name,
            _number(speed, ".1f"),
            f"{speed / limit:.0%}" if speed and limit else "",
            _number(median(runs, "rec_per_cpu_s"), ",.0f"),
            _number(median(runs, "mb_per_s"), ".1f"),
            _number(median(runs, "start_s"), ".2f"),
            _number(median(runs, "peak_rss_mb"), ".0f"),
            _number(sent if sent is not None else median(runs, "out_mb"), ".0f"),
            _runs(runs),
        ]
        yield f"| {' | '.join(cells)} |\n"


def median(runs: list[Result], name: str) -> float | None:
    """The middle value of a figure, or None when no run has it."""
    values = [value for run in runs if (value := getattr(run, name)) is not None]
    return statistics.median(values) if values else None


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _runs(runs: list[Result]) -> str:
    """How many there were, and what was wrong with some."""
    wrong = sorted({run.status for run in runs} - {"ok"})
    return f"{len(runs)} ({', '.join(wrong)})" if wrong else str(len(runs))


if __name__ == "__main__":
    print(table(read([Path(name) for name in sys.argv[1:]])), end="")
