"""`tailrace why` with the real Loki: after a kill it says of each line where it landed, or that it did not yet."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tailrace.config.case import time_ns
from tailrace.pipeline.record import rfc3339

from ..services.loki import Entry, Loki
from .shipper import Shipper, new_app

LINES = 3000
CONFIG = """
sources:
  app: { use: file, include: ["logs/*.log"] }
stages:
  - { use: parse }
  - { use: redact }
  - { use: drop, match: '{level="debug"}' }
sinks:
  loki: { use: loki, url: "@URL@", labels: { app: "@APP@", file: "{file}" }, metadata: [id] }
  archive: { use: jsonl, path: "archive/{date}.jsonl.zst" }
exporter: { listen: "127.0.0.1:@PORT@" }
"""


@pytest.fixture
def app() -> str:
    return new_app()


def write(folder: Path, first: int, count: int) -> None:
    """Lines of the last moments with a time each, one of them for nobody; beside them some without any time."""
    logs = folder / "logs"
    logs.mkdir(exist_ok=True)
    now = time.time_ns() // 10**6 * 10**6
    with (logs / "timed.log").open("a") as file:
        for number in range(first, first + count):
            level = "debug" if number == 7 else "info"
            line = {"timestamp": rfc3339(now + number * 1000), "level": level, "id": f"r{number}"}
            if number % 100 == 0:
                line["message"] = "password=hunter2"
            file.write(json.dumps(line) + "\n")
    with (logs / "plain.log").open("a") as file:
        file.write("".join(f"plain line {number} password=hunter2\n" for number in range(first, first + count, 100)))


def why(folder: Path, *arguments: str, code: int = 0) -> Any:
    command = [sys.executable, "-m", "tailrace.cli", "why", "tailrace.yaml", *arguments, "--json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=60)
    assert done.returncode == code, done.stderr
    assert b"hunter2" not in done.stdout
    return json.loads(done.stdout)


def sinks(told: Any) -> dict[str, Any]:
    return {sink["sink"]: sink for sink in told["sinks"]}


def at(loki: Loki, spot: Any) -> list[Entry]:
    """What Loki has in the stream at the very time."""
    found = loki.query(spot["stream"], start := time_ns(spot["time"]), start + 1)
    return [entry for entry in found if rfc3339(entry.time_ns) == spot["time"]]


def test_after_a_kill_why_says_where_every_line_landed(loki: Loki, app: str, tmp_path: Path) -> None:
    with Shipper(tmp_path, CONFIG.replace("@URL@", loki.url).replace("@APP@", app)) as shipper:
        write(tmp_path, 0, LINES)
        shipper.start()
        shipper.until(lambda: shipper.value("tailrace_events_out_total", kind="sink", component="loki") > 0)
        shipper.kill()
        last = why(tmp_path, f"logs/timed.log:{LINES}")
        assert last["state"] in ("settled", "in flight", "not read")
        assert shipper.once().code == 0
    for number in (1, LINES // 2, LINES):
        told = why(tmp_path, f"logs/timed.log:{number}")
        landed = sinks(told)
        assert {sink: one["status"] for sink, one in landed.items()} == {"loki": "delivered", "archive": "delivered"}
        spot = landed["loki"]["spot"]
        (entry,) = at(loki, spot)
        assert (entry.line, entry.metadata) == (landed["loki"]["line"], {"id": f"r{number - 1}"})
        assert why(tmp_path, "--id", told["id"])["sinks"] == told["sinks"]
    assert why(tmp_path, "logs/timed.log:8")["verdict"] == 'dropped by the stage drop: drop {level="debug"} (match)'
    assert shipper.once().code == 0  # what is done with is no longer in the notes of what is on its way
    # When a line without a time was read is no longer written down: it is looked for by what it says.
    told = why(tmp_path, "logs/plain.log:3")
    landed = sinks(told)
    assert {sink: one["status"] for sink, one in landed.items()} == {"loki": "delivered", "archive": "delivered"}
    assert "times are guesses" in told["notes"][0]
    spot = landed["loki"]["spot"]
    assert [entry.line for entry in at(loki, spot)] == ["plain line 200 password=[REDACTED:key-name]"]


def test_what_loki_does_not_have_is_missing_and_a_loki_that_is_away_is_said_to_be(
    loki: Loki, app: str, tmp_path: Path
) -> None:
    config = CONFIG.replace("@APP@", app)
    with Shipper(tmp_path, config.replace("@URL@", loki.url)) as shipper:
        write(tmp_path, 0, 10)
        assert shipper.once().code == 0
    config = (tmp_path / "tailrace.yaml").read_text()
    (tmp_path / "tailrace.yaml").write_text(config.replace(app, f"{app}-other"))
    told = why(tmp_path, "logs/timed.log:1", code=1)
    assert sinks(told)["loki"]["status"] == "missing"
    assert told["verdict"] == "delivered to archive; taken by loki, but not there"
    (tmp_path / "tailrace.yaml").write_text(config.replace(loki.url, "http://127.0.0.1:1"))
    told = why(tmp_path, "logs/timed.log:1")
    assert (sinks(told)["loki"]["status"], sinks(told)["loki"]["spot"]["found"]) == ("taken", "unreachable")
