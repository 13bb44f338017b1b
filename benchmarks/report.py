"""Writes the figures of docs/performance.md and its picture: `python -m tailrace.benchmarks.report RESULTS.jsonl`.

Beside RESULTS.jsonl, RESULTS.latency.jsonl and RESULTS.memory.jsonl are taken where they are there.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from . import latency, memory
from .machine import about
from .result import Result, read
from .shipper import HERE, known
from .table import grouped, table

PAGE = HERE.parent / "docs" / "performance.md"
PICTURE = "performance.svg"
BEGIN = "<!-- written by `make bench`: begin -->\n"
END = "<!-- written by `make bench`: end -->\n"


def figures(
    results: Sequence[Result], delays: Sequence[latency.Delay], sizes: Sequence[memory.Memory], picture: str
) -> str:
    """All figures in Markdown."""
    parts = [about(known(), results)]
    if picture:
        parts.append(f"![Speed of each shipper in each scenario]({picture})\n")
    parts.append("### Speed\n\n" + table(results))
    if stages := stage_table(results):
        parts.append(
            "### S6 by stage\n\nMilliseconds for one MB of input, of the round that was disturbed least: each stage by "
            "tailrace's own metrics (by the clock), all by CPU time. The rest is reading, framing, both sinks, the "
            "exporter, and starting up.\n\n" + stages
        )
    if delays:
        parts.append("### Latency\n\nFrom the write of a line to its arrival at the sink.\n\n" + latency.table(delays))
    if sizes:
        parts.append("### Memory\n\nResident, in MiB.\n\n" + memory.table(sizes))
    return "\n".join(parts)


def stage_table(results: Sequence[Result]) -> str:
    """What each stage of S6 costs, one row for each corpus; empty when S6 was not run."""
    rows = []
    names: list[str] = []
    for (scenario, mix), shippers in grouped(results).items():
        runs = [run for run in shippers.get("tailrace", []) if scenario == "s6" and run.counts and run.stage_s]
        if not runs:
            continue
        run = min(runs, key=lambda run: run.wall_s / run.input_mb)  # disturbed least
        costs = [1000 * seconds / run.input_mb for seconds in run.stage_s.values()]
        whole = 1000 * run.cpu_s / run.input_mb
        names = list(run.stage_s)
        # Stages are timed by the clock: where others had the core too, their sum says nothing about CPU time.
        rest = f"{whole - sum(costs):.1f}" if sum(costs) < whole else "disturbed"
        rows.append(f"| {mix} | {' | '.join([*(f'{cost:.1f}' for cost in costs), rest, f'{whole:.1f}'])} |\n")
    if not rows:
        return ""
    return f"| corpus | {' | '.join([*names, 'the rest', 'all'])} |\n|---|{'--:|' * (len(names) + 2)}\n{''.join(rows)}"


def placed(page: str, text: str) -> str:
    """The page with the text between its marks. Raises ValueError when it has none."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page lacks the marks {BEGIN.strip()} and {END.strip()}")
    return f"{before}{begin}\n{text}\n{end}{after}"


def main() -> int:
    """Exit code 0; 2 for wrong arguments."""
    parser = argparse.ArgumentParser(prog="python -m tailrace.benchmarks.report", description=__doc__)
    parser.add_argument("results", type=Path, metavar="RESULTS.jsonl")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page to write into (default: docs/performance.md)")
    chosen = parser.parse_args()
    results = read([chosen.results])
    by_latency, by_memory = (chosen.results.with_suffix(f".{what}.jsonl") for what in ("latency", "memory"))
    picture = PICTURE
    try:
        from .picture import draw

        draw(results, chosen.page.with_name(PICTURE))
    except ImportError as error:
        print(f"no picture: {error} (pip install --group bench)", file=sys.stderr)
        picture = PICTURE if chosen.page.with_name(PICTURE).exists() else ""
    text = figures(
        results,
        latency.read(by_latency) if by_latency.exists() else [],
        memory.read(by_memory) if by_memory.exists() else [],
        picture,
    )
    try:
        chosen.page.write_text(placed(chosen.page.read_text(), text))
    except (OSError, ValueError) as error:
        parser.error(f"{chosen.page}: {error}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
