"""`tailrace query` beside what one would type instead: `python -m tailrace.benchmarks.query`.

The JSON corpus stands in an archive of ten files as the sink `jsonl` writes them (zstd, a frame for each write), with
one rare line in each. A rare text is looked for by `zstd -dc | rg` and by tailrace, and one field of filtered records
is counted by `zstd -dc | jq` and by tailrace. Each is run twice and the faster run counts; the answers must be equal.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import cramjam
import msgspec

from .generate import ensure

FILES = 10
FRAME = 1 << 20
"""Bytes of lines in one write."""
RARE = "needle-7f3a9c"
RUNS = 2
JQ = 'select(.level == "error" and .duration_ms > 100) | .stage'
LOGQL = 'sum by (stage) (count_over_time({level="error"} | json | duration_ms > 100 [10000d]))'


class Timed(msgspec.Struct):
    """The faster run of a command."""

    seconds: float
    answer: bytes


def write(source: Path, folder: Path) -> None:
    """The archive: files of the same corpus, told apart by the rare line."""
    text = source.read_bytes()
    frames, start = [], 0
    while start < len(text):
        end = text.find(b"\n", min(start + FRAME, len(text) - 1)) + 1 or len(text)
        frames.append(bytes(cramjam.zstd.compress(text[start:end], level=3)))
        start = end
    for number in range(FILES):
        line = b'{"timestamp":"2026-11-01T12:00:00Z","level":"info","message":"%s %d"}\n' % (RARE.encode(), number)
        place = len(frames) * number // FILES
        parts = [*frames[:place], bytes(cramjam.zstd.compress(line, level=3)), *frames[place:]]
        (folder / f"2026-11-{number + 1:02}.jsonl.zst").write_bytes(b"".join(parts))


def timed(command: str, folder: Path) -> Timed:
    """Run it with a warm cache. Raises CalledProcessError."""
    found = []
    for _ in range(RUNS):
        began = time.perf_counter()
        done = subprocess.run(["bash", "-c", command], cwd=folder, stdout=subprocess.PIPE, check=True)
        found.append(Timed(time.perf_counter() - began, done.stdout))
    return min(found, key=lambda one: one.seconds)


def counted(answer: bytes) -> Counter[str]:
    """What tailrace counted, by stage."""
    lines = [msgspec.json.decode(line) for line in answer.splitlines()]
    return Counter({line["labels"].get("stage", "null"): line["value"] for line in lines})


def main() -> int:
    """Exit code 1 when two answers differ or a bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m tailrace.benchmarks.query", description=__doc__)
    parser.add_argument("--mb", type=float, default=2000, help="of JSON lines, in 10⁶ bytes (%(default)s)")
    chosen = parser.parse_args()
    source, corpus = ensure("json", chosen.mb / FILES)
    tailrace = f"{Path(sys.executable).parent / 'tailrace'} query"
    with tempfile.TemporaryDirectory(prefix="bench-query-") as name:
        folder = Path(name)
        write(source, folder)
        rg = timed(f"zstd -dcq *.zst | rg -F {RARE}", folder)
        rare = timed(f"{tailrace} '{{}} |= \"{RARE}\"' . --raw", folder)
        jq = timed(f"zstd -dcq *.zst | jq -r '{JQ}'", folder)
        aggregate = timed(f"{tailrace} '{LOGQL}' .", folder)
    slower, faster = rare.seconds / rg.seconds, jq.seconds / aggregate.seconds
    print(
        f"{os.cpu_count()} cores, {corpus.bytes * FILES / 1e6:.0f} MB of JSON lines in {FILES} files of zstd\n\n"
        "| | seconds | tailrace, seconds | ratio | bar |\n|---|--:|--:|--:|--:|\n"
        f"| rare text: `zstd -dc \\| rg` | {rg.seconds:.2f} | {rare.seconds:.2f} | {slower:.2f} times as long | 2 |\n"
        f"| filtered count: `zstd -dc \\| jq` | {jq.seconds:.2f} | {aggregate.seconds:.2f}"
        f" | {faster:.1f} times as fast | 5 |"
    )
    same = rare.answer == rg.answer and counted(aggregate.answer) == Counter(jq.answer.decode().splitlines())
    if not same:
        print("the answers differ", file=sys.stderr)
    return 0 if same and slower <= 2 and faster >= 5 else 1


if __name__ == "__main__":
    sys.exit(main())
