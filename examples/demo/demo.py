"""Plays the sample logs of an LLM agent app, ships them with `tailrace run`, and shows where they went.

Set TAILRACE_LOKI_URL (such as http://localhost:3100) to ship them to Loki too.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
RUN = HERE / "run"
LOGS = RUN / "logs"
METRICS = "http://127.0.0.1:9464/metrics"
TAILRACE = [sys.executable, "-m", "tailrace.cli"]
STAMP = re.compile(r"2026-03-0[45]([T ])(\d\d):(\d\d):(\d\d)")
EVENT = re.compile(r"^(?:\{|\d{4}-).*\n(?:(?!\{|\d{4}-).*\n)*", re.MULTILINE)
BURSTS = 8


def main() -> int:
    """Play, ship, show. Returns the exit code."""
    shutil.rmtree(RUN, ignore_errors=True)
    LOGS.mkdir(parents=True)
    config = write_config()
    samples = {path.name: redated(path.read_text()) for path in sorted((HERE / "logs").iterdir())}
    lines = sum(text.count("\n") for text in samples.values())
    say(f"playing {lines} lines of {len(samples)} sample files into {LOGS.relative_to(ROOT)}, tailrace following")
    shipper = subprocess.Popen([*TAILRACE, "run", str(config)], cwd=ROOT)
    try:
        wait_for_exporter(shipper)
        play(samples)
        wait_until_delivered(shipper)
        metrics = read_metrics()
    finally:
        if shipper.poll() is None:
            shipper.send_signal(signal.SIGTERM)
        code = shipper.wait()
    if code:
        say(f"tailrace ended with {code}")
        return code
    show(metrics)
    return 0


def write_config() -> Path:
    """The demo's config, with Loki where it is reachable."""
    text = (HERE / "tailrace.yaml").read_text()
    if url := os.environ.get("TAILRACE_LOKI_URL"):
        text = text.replace(
            "\nexporter:", "\n" + (HERE / "loki.yaml").read_text().replace("@URL@", url) + "\nexporter:", 1
        )
    path = RUN / "tailrace.yaml"
    path.write_text(text)
    return path


def redated(text: str) -> str:
    """The same log as if it had been written in the last hour: a Loki with its default limits refuses old lines."""
    first = datetime(2026, 3, 4, 23, 36, tzinfo=UTC)
    shift = datetime.now(UTC) - timedelta(minutes=58) - first

    def moved(stamp: re.Match[str]) -> str:
        day = stamp[0][:10]
        then = datetime.fromisoformat(f"{day}T{stamp[2]}:{stamp[3]}:{stamp[4]}+00:00")
        return (then + shift).strftime(f"%Y-%m-%d{stamp[1]}%H:%M:%S")

    return STAMP.sub(moved, text)


def play(samples: dict[str, str]) -> None:
    """Append to all files in bursts; in the middle the app's log is rotated away."""
    parts = {name: EVENT.findall(text) for name, text in samples.items()}
    for burst in range(BURSTS):
        if burst == BURSTS // 2:
            (LOGS / "app.log").rename(LOGS / "app.log.1")
        for name, events in parts.items():
            start, end = (len(events) * n // BURSTS for n in (burst, burst + 1))
            with (LOGS / name).open("a") as file:
                file.writelines(events[start:end])
        progress = "#" * (burst + 1) + "." * (BURSTS - burst - 1)
        print(f"\r  [{progress}]", end="\n" if burst == BURSTS - 1 else "", flush=True)
        time.sleep(0.25)


def wait_for_exporter(shipper: subprocess.Popen[bytes]) -> None:
    """Until tailrace answers."""
    for _ in range(200):
        if shipper.poll() is not None:
            sys.exit(shipper.returncode)
        try:
            read_metrics()
        except OSError:
            time.sleep(0.05)
        else:
            return
    sys.exit("tailrace did not start")


def read_metrics() -> str:
    """The exporter's page."""
    with urllib.request.urlopen(METRICS, timeout=5) as answer:
        return str(answer.read().decode())


def total(metrics: str, name: str, labels: str = "") -> float:
    """The sum of a metric over its series."""
    found = re.findall(rf"^{name}\{{[^}}]*{labels}[^}}]*\}} (\S+)$", metrics, re.MULTILINE)
    return sum(map(float, found))


def wait_until_delivered(shipper: subprocess.Popen[bytes]) -> None:
    """Until nothing is behind or in flight any more."""
    for _ in range(300):
        metrics = read_metrics()
        if not total(metrics, "tailrace_lag_bytes") and not total(metrics, "tailrace_in_flight_events"):
            return
        if shipper.poll() is not None:
            return
        time.sleep(0.1)


def show(metrics: str) -> None:
    """What came of it."""
    say("delivered")
    for sink in ("archive", "errors", "loki"):
        if count := total(metrics, "tailrace_events_out_total", f'component="{sink}"'):
            print(f"  {count:6.0f} events to {sink}")
    print(f"  {total(metrics, 'tailrace_redactions_total'):6.0f} secrets hidden")
    print(f"  {total(metrics, 'tailrace_books_residual_events'):6.0f} events unaccounted for")
    say("derived metrics (some)")
    for line in metrics.splitlines():
        if line.startswith(("errors_total", "llm_calls_total")):
            print(f"  {line}")
    say("where to look")
    for path in sorted((RUN / "archive").rglob("*.jsonl*")):
        print(f"  {path.relative_to(ROOT)}  {path.stat().st_size} bytes")
    if url := os.environ.get("TAILRACE_LOKI_URL"):
        print(f'  Loki at {url}: {{app="fateforger"}}')
    archive = (RUN / "archive").relative_to(ROOT)
    question = '{error_type="TimeoutError"} or {level="error"} |= "Traceback"'
    say(f"tailrace query '{question}' {archive} --limit 2")
    sys.stdout.flush()
    subprocess.run([*TAILRACE, "query", question, str(archive), "--limit", "2"], cwd=ROOT, check=True)


def say(text: str) -> None:
    """A heading."""
    print(f"\n== {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
