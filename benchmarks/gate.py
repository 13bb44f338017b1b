"""`make bench-quick`: fails when tailrace has become slow. Its speed as a ratio to another shipper of this machine,
measured in turns on the same core, means the same on every machine."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence

from .generate import ensure
from .measure import SCENARIOS, Bench, measure
from .result import Result
from .run import prepare
from .shipper import present
from .table import values

FLOORS = {
    "syslog-ng": {"s1": 1.6, "s2": 1.1, "s3": 0.9, "s4": 0.8},
    "rsyslog": {"s4": 0.8},
}
"""What tailrace must reach at least: its MB/CPU-s over the other's, start-up included, about a third below what was
last measured. The first of these shippers that is here is taken. Raise them when tailrace has become faster."""
MB = 60
ROUNDS = 3


def best(runs: Sequence[Result]) -> float:
    """The fastest run: what else the machine does only ever makes one slower. 0 unless every record arrived."""
    return max(values(runs, "mb_per_cpu_s"), default=0.0) if all(run.counts for run in runs) else 0.0


def verdict(scenario: str, ours: Sequence[Result], theirs: Sequence[Result], floor: float) -> tuple[bool, str]:
    """Whether it is fast enough, and a line that says so."""
    one, other = best(ours), best(theirs)
    if not other:
        return False, f"{scenario}: {theirs[0].rival} did not deliver everything: nothing to compare with"
    if not one:
        return False, f"{scenario}: tailrace did not deliver everything: {', '.join(run.status for run in ours)}"
    good = one / other >= floor
    words = "ok" if good else "TOO SLOW"
    return good, f"{scenario}: {one:.0f} to {other:.0f} MB/CPU-s, ratio {one / other:.2f}, floor {floor:.2f}: {words}"


def main() -> int:
    """Exit code 0; 1 when tailrace is below a floor or lost a record; 2 when there is nobody to compare with."""
    parser = argparse.ArgumentParser(prog="make bench-quick", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="runs of each (default: %(default)s)")
    chosen = parser.parse_args()
    shippers = present(["tailrace", *FLOORS])
    rival = next((name for name in FLOORS if name in shippers), None)
    if rival is None:
        print(f"neither {' nor '.join(FLOORS)} is here: benchmarks/rivals/debian.sh gets both", file=sys.stderr)
        return 2
    shippers = {name: shippers[name] for name in ("tailrace", rival)}
    prepare(shippers)
    bench, good = Bench.of_this_machine(), True
    for scenario, floor in FLOORS[rival].items():
        path, corpus = ensure(SCENARIOS[scenario], MB)
        runs: dict[str, list[Result]] = {name: [] for name in shippers}
        for _ in range(chosen.rounds):
            for name, shipper in shippers.items():
                runs[name].append(measure(name, shipper, scenario, path, corpus, bench))
        passed, words = verdict(scenario, runs["tailrace"], runs[rival], floor)
        good &= passed
        print(f"tailrace to {rival}, {words}", flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (RuntimeError, subprocess.CalledProcessError) as error:
        sys.exit(str(error))
