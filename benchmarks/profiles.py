"""Where tailrace's time goes in each scenario: `python -m tailrace.benchmarks.profiles --page docs/profiles.md`.

py-spy looks at every thread 500 times a second while one corpus is read to its end. It costs speed: only shares count.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec

from .generate import ensure
from .measure import SCENARIOS, Bench, started
from .report import placed
from .shipper import find, known

IDLE = ("_worker (concurrent/futures/thread.py)", "wait (threading.py)")
"""A thread that waits for work."""
LINES = 12
"""Functions to name for each scenario."""
MB = 100

_FRAME = re.compile(r"(?P<name>.+) \((?P<file>.+?)(?::\d+)?\)")


def shares(raw: str) -> Counter[str]:
    """Samples by the innermost function of tailrace (`file function`), of the output of `py-spy record -f raw`.

    What it calls in libraries and in C counts to it; what no function of tailrace called is `start-up and the rest`.
    """
    found: Counter[str] = Counter()
    for line in raw.splitlines():
        stack, _, number = line.rpartition(" ")
        frames = [frame for frame in map(_FRAME.fullmatch, stack.split(";")) if frame]
        if not frames or f"{frames[-1]['name']} ({frames[-1]['file']})" in IDLE:
            continue
        own = next((frame for frame in reversed(frames) if _place(frame["file"])), None)
        function = own["name"].partition(".<locals>")[0] if own else ""
        importing = any(frame["file"].startswith("<frozen importlib") for frame in frames)
        found["start-up and the rest" if own is None or importing else f"`{_place(own['file'])}` {function}"] += int(
            number
        )
    return found


def table(found: Counter[str], lines: int = LINES) -> str:
    """The functions with the most samples, as Markdown."""
    total = sum(found.values()) or 1
    rows = [f"| {name} | {100 * number / total:.1f} |" for name, number in found.most_common(lines)]
    rest = 100 * (total - sum(number for _, number in found.most_common(lines))) / total
    return "\n".join(["| function | % |", "|---|--:|", *rows, f"| all others | {rest:.1f} |"])


def spy() -> str | None:
    """Where py-spy is: beside this Python, or in PATH."""
    return shutil.which("py-spy", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))


def profile(scenario: str, mb: float, bench: Bench) -> Counter[str]:
    """Run tailrace under py-spy. Raises RuntimeError when it does not end well."""
    path, _ = ensure(SCENARIOS[scenario], mb)
    shipper = known()["tailrace"]
    watch = [
        spy() or "py-spy",
        "record",
        "--full-filenames",
        "--rate",
        "500",
        "--format",
        "raw",
        "--output",
        "@STATE@/raw",
        "--",
    ]
    run = [find(shipper.cmd[0]) or shipper.cmd[0], *shipper.cmd[1:], "--once"]
    with started("tailrace", msgspec.structs.replace(shipper, cmd=[*watch, *run]), scenario, path, bench) as running:
        if running.process.wait(bench.limit):
            raise RuntimeError(running.said())
        return shares((running.folder / "raw").read_text())


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0; 2 when py-spy is not here."""
    parser = argparse.ArgumentParser(prog="python -m tailrace.benchmarks.profiles", description=__doc__)
    parser.add_argument("--scenarios", default=",".join(SCENARIOS), metavar="S1,S2", help="default: %(default)s")
    parser.add_argument("--mb", type=float, default=MB, help="size of each corpus in 10⁶ bytes (default: %(default)s)")
    parser.add_argument("--page", type=Path, help="write the tables into this file, between its marks")
    chosen = parser.parse_args(arguments)
    if spy() is None:
        print("py-spy is not here: pip install py-spy", file=sys.stderr)
        return 2
    bench, parts = Bench.of_this_machine(), []
    for scenario in chosen.scenarios.split(","):
        parts.append(f"### {scenario.upper()}\n\n{table(profile(scenario, chosen.mb, bench))}")
        print(parts[-1], flush=True)
    if chosen.page:
        chosen.page.write_text(placed(chosen.page.read_text(), "\n\n".join(parts)))
    return 0


def _place(file: str) -> str:
    """A file of tailrace by its path in the tree, empty for all others."""
    found = re.search(r"(?:^|/)((?:cli|config|pipeline|stages)/(?:[a-z_]+/)*[a-z_]+\.py)$", file)
    return found[1] if found and "site-packages" not in file else ""


if __name__ == "__main__":
    sys.exit(main())
