"""Medians of results as a Markdown table: `python -m tailrace.benchmarks.table RESULTS.jsonl …`."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from .result import Result, read

REFERENCES = ("otelcol-nogzip", "otelcol")
"""What the others are compared with, the first that took part: the OpenTelemetry Collector, which anybody can build."""
LIMIT = "probe"
"""The limit to aim at."""
HEADER = (
    "| scenario | shipper | MB/CPU-s | lowest to highest | of collector | of probe | records/CPU-s | MB/s wall "
    "| start s | peak RSS MiB | MB read | MB sent | runs |\n"
    "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|\n"
)
Groups = dict[tuple[str, str], dict[str, list[Result]]]


def table(results: Sequence[Result]) -> str:
    """One row for each scenario, mix and shipper that ran, the fastest of a scenario first, the failed ones last."""
    groups = grouped(results)
    return HEADER + "".join(row for place in sorted(groups) for row in _rows(place, groups[place]))


def grouped(results: Sequence[Result]) -> Groups:
    """The runs by scenario and mix, then by shipper, the fastest first. What could not run at all is left out."""
    groups: Groups = {}
    for result in results:
        if result.status != "cannot":
            groups.setdefault((result.scenario, result.mix), {}).setdefault(result.rival, []).append(result)
    return {
        place: dict(sorted(shippers.items(), key=lambda item: -(median(item[1], "mb_per_cpu_s") or 0)))
        for place, shippers in groups.items()
    }


def _rows(place: tuple[str, str], shippers: dict[str, list[Result]]) -> Iterator[str]:
    reference = next((shippers[name] for name in REFERENCES if name in shippers), [])
    for name, runs in shippers.items():
        speeds = values(runs, "mb_per_cpu_s")
        sent = median(runs, "wire_mb")
        cells = [
            f"{place[0]} {place[1]}",
            name,
            _number(median(runs, "mb_per_cpu_s"), ".1f"),
            f"{min(speeds):.1f} to {max(speeds):.1f}" if speeds else "",
            _number(ratio(runs, reference), ".2f"),
            _number(ratio(runs, shippers.get(LIMIT, [])), ".2f"),
            _number(median(runs, "rec_per_cpu_s"), ",.0f"),
            _number(median(runs, "mb_per_s"), ".1f"),
            _number(median(runs, "start_s"), ".2f"),
            _number(median(runs, "peak_rss_mb"), ".0f"),
            _number(median(runs, "input_mb"), ".0f"),
            _number(sent if sent is not None else median(runs, "out_mb"), ".0f"),
            remark(runs),
        ]
        yield f"| {' | '.join(cells)} |\n"


def values(runs: Sequence[Result], name: str) -> list[float]:
    """A figure of each run that has it. One that lost records, or sent too many, has none: it is failed, not fast."""
    return [value for run in runs if run.counts and (value := getattr(run, name)) is not None]


def median(runs: Sequence[Result], name: str) -> float | None:
    """The middle value of a figure, or None when no run has it."""
    found = values(runs, name)
    return statistics.median(found) if found else None


def ratio(runs: Sequence[Result], others: Sequence[Result]) -> float | None:
    """How much faster per CPU second the ones are than the others; None where there are none to compare with."""
    one, other = median(runs, "mb_per_cpu_s"), median(others, "mb_per_cpu_s")
    return one / other if one and other else None


def remark(runs: Sequence[Result]) -> str:
    """How many runs there were, and what was wrong with some."""
    wrong = []
    for status in sorted({run.status for run in runs} - {"ok"}):
        run = next(run for run in runs if run.status == status)
        detail = f"{sum(run.leaks.values())} left" if status == "leaks" else f"{run.got:,} of {run.want:,}"
        wrong.append(f"{status if run.counts else f'FAILED, {status}'}: {detail}")
    return f"{len(runs)} ({'; '.join(wrong)})" if wrong else str(len(runs))


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


if __name__ == "__main__":
    print(table(read([Path(name) for name in sys.argv[1:]])), end="")
