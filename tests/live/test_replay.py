"""Old logs into the real Loki: foretold exactly, every line once through three kills, a second time adds nothing."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cramjam
import pytest

from ..services.loki import Loki
from ..services.prometheus import Prometheus
from .numbered import each_once
from .shipper import new_app

SECOND = 1_000_000_000
HOUR, DAY = 3600 * SECOND, 86_400 * SECOND
LEVELS = ("debug", "info", "warning", "error")

CONFIG = """
sources:
  app: {{ use: file, include: ["logs/app.log*"] }}
stages:
  - {{ use: parse, format: json }}
  - use: derive_metrics
    metrics:
      - {{ name: app_lines_total, type: counter, labels: {{ level: "{{level}}" }} }}
      - {{ name: app_duration_seconds, type: histogram, value: duration_ms, scale: 0.001, buckets: [0.1, 1] }}
sinks:
  loki: {{ use: loki, url: "{url}", labels: {{ app: {app}, level: "{{level}}" }}, metadata: [trace_id] }}
  archive: {{ use: jsonl, path: "archive/{{date}}.jsonl" }}
"""


@pytest.fixture(scope="module")
def default_limits(loki: Loki, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loki]:
    """Loki with its default limits on age."""
    flags = ("-validation.reject-old-samples=true", "-validation.create-grace-period=10m")
    with Loki(tmp_path_factory.mktemp("limited"), *flags) as server:
        yield server


def line(number: int, time_ns: int, **more: object) -> bytes:
    """With its number, and a time in ms, as most programs write it: equal ones are told apart."""
    at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time_ns // SECOND))
    fields = {
        "timestamp": f"{at}.{time_ns % SECOND // 1_000_000:03d}Z",
        "level": LEVELS[number % 4],
        "id": number,
        "message": "request completed",
        "duration_ms": number % 900,
        "trace_id": f"{number:032x}",
        **more,
    }
    return json.dumps(fields).encode()


def write(folder: Path, lines: Sequence[bytes], files: int) -> None:
    """As a log that was rotated so often, the older generations compressed in every way."""
    folder.mkdir(parents=True, exist_ok=True)
    pack: list[tuple[str, Callable[[bytes], bytes]]] = [
        (".gz", lambda data: gzip.compress(data, 1)),
        (".zst", lambda data: bytes(cramjam.zstd.compress(data))),
        (".bz2", bz2.compress),
    ]
    size = -(-len(lines) // files)
    for file in range(files):
        data = b"".join(one + b"\n" for one in lines[file * size : (file + 1) * size])
        age = files - 1 - file
        if age < 2:
            (folder / ("app.log" + (f".{age}" if age else ""))).write_bytes(data)
        else:
            ending, compress = pack[age % 3]
            (folder / f"app.log.{age}{ending}").write_bytes(compress(data))


class Replay:
    """`tailrace replay` in a folder."""

    def __init__(self, folder: Path, loki: Loki, app: str) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "tailrace.yaml").write_text(CONFIG.format(url=loki.url, app=app))

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tailrace.cli", "replay", "tailrace.yaml", "--json", *options]
        with (self.folder / "stderr").open("ab") as said:
            return subprocess.Popen(command, cwd=self.folder, stdout=subprocess.PIPE, stderr=said, env=os.environ)

    def run(self, *options: str) -> tuple[int, dict[str, Any]]:
        """Exit code and what it printed."""
        process = self.start(*options)
        out, _ = process.communicate(timeout=60)
        return process.returncode, json.loads(out) if out.strip() else {}


def numbers_in(loki: Loki, selector: str) -> list[int]:
    return [json.loads(entry.line)["id"] for entry in loki.query(selector, page=50_000)]


# ---- the plan ----------------------------------------------------------------------------------------------------


def test_a_plan_foretells_exactly_what_loki_refuses_as_too_old(default_limits: Loki, tmp_path: Path) -> None:
    app, now = new_app(), time.time_ns()
    times = [now - 30 * DAY + place * 30 * DAY // 4000 for place in range(4000)]
    write(tmp_path / "logs", [line(number, at) for number, at in enumerate(times)], 12)
    replay = Replay(tmp_path, default_limits, app)
    code, plan = replay.run("--plan")
    assert code == 3
    assert plan["refused"].keys() == {"too old"}
    assert plan["records"] == 4000
    code, receipt = replay.run()
    assert (code, receipt) == (3, {})  # nothing is sent unasked
    code, receipt = replay.run("--partial")
    assert code == 0
    # One that is 7 days old just now may grow too old before it is sent: every 11 minutes comes one.
    assert 0 <= receipt["refused"] - plan["refused_records"] <= 1
    assert receipt["reasons"] == {"too old": receipt["refused"]}
    found = numbers_in(default_limits, f'{{app="{app}", replay="{plan["name"]}"}}')
    assert sorted(found) == list(range(receipt["refused"], 4000))


def test_a_plan_for_the_streams_of_live_logs_foretells_what_is_too_far_behind(
    default_limits: Loki, tmp_path: Path
) -> None:
    app, now = new_app(), time.time_ns()
    for level, hours in (("info", 0), ("error", 3)):
        default_limits.push({"app": app, "level": level}, (now - hours * HOUR, "live"))
    times = [now - 10 * HOUR + place * 6 * HOUR // 5000 for place in range(5000)]
    times += [now - 10 * HOUR + place * 10 * HOUR // 3001 for place in range(3000)]
    long = [number % 1000 == 7 for number in range(8000)]
    lines = [line(n, at, pad="x" * 270_000 * long[n]) for n, at in enumerate(times)]
    write(tmp_path / "logs", lines, 6)
    replay = Replay(tmp_path, default_limits, app)
    config = tmp_path / "tailrace.yaml"
    config.write_text(config.read_text().replace("metadata: [trace_id]", "metadata: [trace_id], max_line: null"))
    code, plan = replay.run("--label", "", "--plan")
    assert code == 3
    assert plan["refused"]["line too long"] == 8
    assert plan["refused"]["too far behind"] > 2000
    code, receipt = replay.run("--label", "", "--partial")
    assert code == 0
    # Of a long line that is too far behind as well Loki says either.
    assert receipt["refused"] == plan["refused_records"]
    assert receipt["reasons"].keys() == plan["refused"].keys()
    found = numbers_in(default_limits, f'{{app="{app}"}} != "live"')
    assert len(found) == len(set(found)) == 8000 - plan["refused_records"]


def test_a_replay_into_its_own_streams_is_taken_whole(loki: Loki, tmp_path: Path) -> None:
    app, now = new_app(), time.time_ns()
    loki.push({"app": app, "level": "info"}, (now, "live"))
    write(tmp_path / "logs", [line(number, now - 9 * HOUR + number * SECOND) for number in range(2000)], 3)
    replay = Replay(tmp_path, loki, app)
    code, plan = replay.run("--plan")
    assert (code, plan.get("refused_records", 0), plan["label"]) == (0, 0, "replay")
    code, receipt = replay.run("--dry-run")
    assert code == 0
    assert numbers_in(loki, f'{{app="{app}"}} != "live"') == []
    code, receipt = replay.run("--verify")
    assert code == 0
    assert receipt["verified"]["found"] == receipt["delivered"] == 2000
    assert sorted(numbers_in(loki, f'{{app="{app}", replay="{plan["name"]}"}}')) == list(range(2000))
    for stream in receipt["streams"]:
        found = b"".join(entry.line.encode() + b"\n" for entry in loki.query(stream["labels"]))
        assert stream["sha256"] == hashlib.sha256(found).hexdigest()


def test_a_replay_that_was_begun_elsewhere_asks_for_each_record_first(loki: Loki, tmp_path: Path) -> None:
    app, now = new_app(), time.time_ns()
    lines = [line(number, now - 9 * HOUR + number * 4 * SECOND) for number in range(4000)]
    write(tmp_path / "logs", lines[:2500], 3)
    replay = Replay(tmp_path, loki, app)
    assert replay.run("--name", "mine")[0] == 0
    (tmp_path / "state").rename(tmp_path / "state.old")
    write(tmp_path / "logs", lines, 4)
    code, receipt = replay.run("--name", "mine", "--verify")
    assert (code, receipt["verified"]["missing"], receipt["refused"]) == (0, 0, 0)
    found = numbers_in(loki, f'{{app="{app}", replay="mine"}}')
    assert sorted(found) == list(range(4000))


# ---- the run -----------------------------------------------------------------------------------------------------


def test_every_line_is_there_once_after_three_kills_and_a_second_replay(loki: Loki, tmp_path: Path) -> None:
    """30 days in 50 files; live logs have the same labels."""
    app, now, count = new_app(), time.time_ns(), 100_000
    first = (now - 31 * DAY) // SECOND * SECOND
    # Ten lines have the same time, as far as it is written.
    lines = [line(number, first + number // 10 * 10 * 30 * DAY // count) for number in range(count)]
    write(tmp_path / "logs", lines, 50)
    for level in LEVELS:
        loki.push({"app": app, "level": level}, *[(now - place * SECOND, "live") for place in range(20)])
    replay = Replay(tmp_path, loki, app)
    kills = 0
    for records in (1, 20_000, 60_000):
        process = replay.start("--rate", "6MB")
        deadline = time.monotonic() + 20
        while process.poll() is None and in_flight(replay) < records and time.monotonic() < deadline:
            time.sleep(0.01)
        kills += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert kills == 3, (tmp_path / "stderr").read_text()
    code, receipt = replay.run("--verify")
    assert code == 0, (tmp_path / "stderr").read_text()
    assert receipt["verified"]["missing"] == 0
    assert receipt["delivered"] == count
    name = receipt["name"]
    each_once(numbers_in(loki, f'{{app="{app}", replay="{name}"}}'), count)
    assert len(loki.query(f'{{app="{app}", replay=""}}')) == 80
    assert replay.run()[0] == 0
    # Without what it remembers, it asks Loki for each record.
    (tmp_path / "state").rename(tmp_path / "state.old")
    code, again = replay.run()
    assert (code, again["name"]) == (0, name)
    each_once(numbers_in(loki, f'{{app="{app}", replay="{name}"}}'), count)
    counted = loki.get("/loki/api/v1/query", {"query": f'sum(count_over_time({{app="{app}", replay="{name}"}}[32d]))'})
    assert json.loads(counted)["data"]["result"][0]["value"][1] == str(count)


def in_flight(replay: Replay) -> int:
    """How many records were read for sending so far, by its journal."""
    journals = (replay.folder / "state").glob("replay/*/ship/flight.jsonl")
    lines = [one for path in journals for one in path.read_bytes().split(b"\n")[:-1]]
    return max((json.loads(one)[4] for one in lines if one.startswith(b'["read"')), default=0)


def test_verify_names_what_is_missing(loki: Loki, tmp_path: Path) -> None:
    """A replay that believes to have sent what this Loki does not have."""
    app, now = new_app(), time.time_ns()
    write(tmp_path / "logs", [line(number, now - 5 * HOUR + number * 2 * SECOND) for number in range(3000)], 2)
    replay = Replay(tmp_path, loki, app)
    code, receipt = replay.run("--verify")
    assert (code, receipt["verified"]["missing"]) == (0, 0)
    (sorted_file,) = tmp_path.glob("state/replay/*/sorted.rows")
    (manifest,) = tmp_path.glob("state/replay/*/manifest.json")
    assert sorted_file.exists()
    told = json.loads(manifest.read_bytes())
    told["name"] = "another"  # whose streams have nothing
    manifest.write_text(json.dumps(told))
    code, receipt = replay.run("--verify")
    assert (code, receipt["verified"]["missing"]) == (1, 3000)
    assert receipt["verified"]["missing_in"]


# ---- metrics and archives ----------------------------------------------------------------------------------------


def test_promtool_makes_blocks_of_the_metrics_of_old_records(
    loki: Loki, prometheus: Prometheus, tmp_path: Path
) -> None:
    app, begin = new_app(), (time.time_ns() - 3 * DAY) // (2 * HOUR) * 2 * HOUR
    lines = [line(number, begin + number * SECOND) for number in range(4000)]
    write(tmp_path / "logs", lines[::-1], 3)  # in whatever order
    replay = Replay(tmp_path, loki, app)
    code, _ = replay.run("--metrics", "old.om")
    assert code == 0
    data = tmp_path / "prometheus" / "data"
    data.mkdir(parents=True)
    command = [str(prometheus.program("promtool")), "tsdb", "create-blocks-from", "openmetrics"]
    done = subprocess.run([*command, str(tmp_path / "old.om"), str(data)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    with Prometheus(tmp_path / "prometheus", "--storage.tsdb.retention.time=10y") as own:
        at = (begin + 4100 * SECOND) // SECOND
        answer = own.get("/api/v1/query", {"query": "sum(app_lines_total)", "time": at})
        assert json.loads(answer)["data"]["result"][0]["value"][1] == "4000"
        query = "increase(app_duration_seconds_count[2h])"
        (rise,) = json.loads(own.get("/api/v1/query", {"query": query, "time": at}))["data"]["result"]
        assert 3900 < float(rise["value"][1]) < 4500
