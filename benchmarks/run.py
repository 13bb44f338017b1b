"""Measures shippers on fixed scenarios and prints the medians: `python -m tailrace.benchmarks.run --help`.

Scenarios, each with the mix it reads; `s2:llm` reads another one:
  s1 json       file to Loki, raw lines, one static label
  s2 json       JSON parsed, level as label, four redactions, to Loki
  s3 traceback  lines joined to events, head line parsed, level as label, to Loki
  s4 json       file to file
  s5 json       s2 without the redactions
  s6 json       tailrace's full default chain: six stages, to Loki and an archive, with the exporter on
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

import msgspec

from .corpora import MIXES
from .generate import Corpus, ensure
from .machine import about
from .measure import SCENARIOS, Bench, environment, measure
from .result import Result
from .shipper import HERE, Shipper, fill, known, load
from .table import table

RESULTS = HERE / "results"
TASKS = "s1,s1:plain,s2,s2:llm,s3,s4,s5,s6,s6:plain,s6:traceback,s6:llm"


class Task(msgspec.Struct, frozen=True):
    """One scenario on one corpus."""

    scenario: str
    mix: str

    @classmethod
    def parse(cls, text: str) -> Task:
        """From `s2` or `s2:llm`. Raises ValueError."""
        scenario, _, mix = text.partition(":")
        if scenario not in SCENARIOS:
            raise ValueError(f"no scenario {scenario!r}; there are: {', '.join(SCENARIOS)}")
        if mix and mix not in MIXES:
            raise ValueError(f"no mix {mix!r}; there are: {', '.join(MIXES)}")
        return cls(scenario, mix or SCENARIOS[scenario])


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    cores = sorted(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(
        prog="python -m tailrace.benchmarks.run",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--shippers", "--rivals", metavar="A,B", help="which (default: all that are here)")
    add("--scenarios", default=TASKS, metavar="S1,S2:LLM", help="which (default: %(default)s)")
    add("--mb", type=float, default=200, help="size of each corpus in 10⁶ bytes (default: %(default)g)")
    add("--runs", type=int, default=3, help="of each shipper and scenario (default: %(default)s)")
    add("--extra", type=Path, action="append", default=[], metavar="FILE", help="JSON file with more shippers")
    add("--out", type=Path, metavar="FILE", help="append the results to this file (default: one in results/)")
    add("--core", type=int, default=cores[0], help="of the shipper (default: %(default)s)")
    add("--quick", action="store_true", help="60 MB, once: whether all works, and roughly how it stands")
    add("--sink-core", type=int, default=cores[-1], help="of the sink and this program (default: %(default)s)")
    add("--nice", type=int, default=0, help="priority of shipper and sink (default: %(default)s)")
    add("--stall", type=float, default=20, help="give up after so many seconds without progress (default: %(default)g)")
    add("--limit", type=float, default=300, help="give up after so many seconds (default: %(default)g)")
    add("--verify", action="store_true", help="compare every line that arrived: for checking only, it is slow")
    add("--keep", action="store_true", help="keep state, config, log and output of each run")
    return parser


def main() -> int:
    """Exit code 0; 1 when tailrace did not deliver everything; 2 for wrong arguments; 130 when interrupted."""
    parser = arguments()
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.mb, chosen.runs = 60, 1
    everyone = known()
    try:
        tasks = [Task.parse(text) for text in chosen.scenarios.split(",")]
        for path in chosen.extra:
            everyone |= load(path)
        shippers = choose(everyone, chosen.shippers.split(",") if chosen.shippers else None)
    except ValueError as error:
        parser.error(str(error))
    bench = Bench(
        core=chosen.core,
        sink_core=chosen.sink_core,
        nice=chosen.nice,
        stall=chosen.stall,
        limit=chosen.limit,
        verify=chosen.verify,
        keep=chosen.keep,
    )
    out = chosen.out or RESULTS / time.strftime("%Y-%m-%dT%H%M%S.jsonl")
    out.parent.mkdir(parents=True, exist_ok=True)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    results: list[Result] = []
    try:
        for task in tasks:
            for shipper in shippers.values():
                corpus_for(shipper, task, chosen.mb)
        prepare(shippers)
        os.sched_setaffinity(0, {chosen.sink_core})
        measure_all(shippers, tasks, chosen.mb, chosen.runs, bench, out, results)
    except KeyboardInterrupt:
        print(f"\ninterrupted; the results so far are in {out}", file=sys.stderr)
        return 130
    except (RuntimeError, subprocess.CalledProcessError) as error:
        print(error, file=sys.stderr)
        return 1
    report = f"{about(shippers, results)}\n{table(results)}"
    out.with_suffix(".md").write_text(report)
    print(report, end="")
    print(f"\n{out} holds every run, {out.with_suffix('.md').name} beside it this report", file=sys.stderr)
    return 1 if any(r.rival == "tailrace" and r.status not in {"ok", "cannot"} for r in results) else 0


def choose(everyone: dict[str, Shipper], names: list[str] | None) -> dict[str, Shipper]:
    """The named ones, else all that are here. Says which are absent; raises ValueError when a named one is."""
    for name in names or []:
        if name not in everyone:
            raise ValueError(f"no shipper {name!r}; there are: {', '.join(everyone)}")
    absent = {name: shipper.get for name, shipper in everyone.items() if shipper.program() is None}
    if names is None:
        for name, get in absent.items():
            print(f"absent: {name} ({get})", file=sys.stderr)
    elif missing := [f"{name} is absent: {absent[name]}" for name in names if name in absent]:
        raise ValueError("; ".join(missing))
    return {name: everyone[name] for name in names or everyone if name not in absent}


def prepare(shippers: dict[str, Shipper]) -> None:
    """Run what shippers want to be run before."""
    for shipper in shippers.values():
        if shipper.prepare:
            subprocess.run(fill(shipper.prepare, shipper.vars), check=True, env=environment(shipper, shipper.vars))


def corpus_for(shipper: Shipper, task: Task, mb: float) -> tuple[Path, Corpus]:
    """What a shipper reads for a task."""
    return ensure(task.mix, min(mb, shipper.mb.get(task.scenario, mb)))


def measure_all(
    shippers: dict[str, Shipper],
    tasks: list[Task],
    mb: float,
    runs: int,
    bench: Bench,
    out: Path,
    results: list[Result],
) -> None:
    """Add one result for each, interleaved, so that a noisy minute does not hit one shipper alone."""
    for task in tasks:
        for run in range(runs):
            for name, shipper in shippers.items():
                path, corpus = corpus_for(shipper, task, mb)
                result = measure(name, shipper, task.scenario, path, corpus, bench)
                results.append(result)
                with out.open("ab") as file:
                    file.write(msgspec.json.encode(result) + b"\n")
                if result.status != "cannot":
                    what = f"{task.scenario} {task.mix} {run + 1}/{runs} {name}"
                    said = f"; it said:\n{result.log_tail}" if result.log_tail else ""
                    print(
                        f"{what}: {result.status}, {result.mb_per_cpu_s or 0} MB/CPU-s{said}",
                        file=sys.stderr,
                        flush=True,
                    )


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
