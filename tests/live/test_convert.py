"""What Promtail ships with its config, tailrace ships with the one that `tailrace convert` makes of it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from ..services._server import NotInstalled
from ..services.loki import Entry, Loki
from ..services.promtail import Promtail
from .shipper import new_app

CONFIG = """\
server: { http_listen_address: 127.0.0.1, http_listen_port: 0, grpc_listen_port: 0 }
positions: { filename: positions.yaml, sync_period: 100ms }
clients: [{ url: "@LOKI@/loki/api/v1/push", external_labels: { app: "@APP@" }, batchwait: 50ms }]
target_config: { sync_period: 1s }
scrape_configs:
  - job_name: web
    static_configs:
      - targets: [localhost]
        labels: { __path__: "@FOLDER@/{web,shop}-*.log", host: One }
    relabel_configs:
      - { source_labels: [host], regex: "(.*)", target_label: place, replacement: "in-$1" }
      - { source_labels: [host], action: lowercase, target_label: host }
    pipeline_stages:
      - match: { selector: '{host="one"} |= "healthz"', action: drop }
      - json: { expressions: { severity: level, ts: time, trace: trace_id, kind: } }
      - timestamp: { source: ts, format: RFC3339Nano }
      - labels: { severity: , kind: }
      - structured_metadata: { trace_id: trace }
      - static_labels: { team: blue }
      - drop: { source: kind, expression: "^noi" }
      - drop: { source: severity, value: trace }
      - labeldrop: [filename, kind]
  - job_name: text
    static_configs:
      - targets: [localhost]
        labels: { __path__: "@FOLDER@/text.log" }
    pipeline_stages:
      - multiline: { firstline: '^\\d{4}-', max_wait_time: 1s }
      - regex: { expression: '^(?P<at>\\S+ \\S+) \\[(?P<word>\\w+)\\] ' }
      - timestamp: { source: at, format: "2006-01-02 15:04:05.000", location: Europe/Amsterdam }
      - labels: { word: }
      - labeldrop: [filename]
"""
NOW = int(time.time()) // 60 * 60


def web_line(number: int) -> str:
    at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(NOW - 600 + number))
    kind = ("page", "noise", "call")[number % 3]
    path = "/healthz" if number % 7 == 0 else f"/item/{number}"
    level = ("INFO", "error", "trace")[number % 5 % 3]
    trace = f"{number:032x}"
    return f'{{"time":"{at}.{number:06d}Z","level":"{level}","kind":"{kind}","path":"{path}","trace_id":"{trace}"}}\n'


def text_lines(number: int) -> str:
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(NOW - 3000 + number))
    word = ("Info", "WARN")[number % 2]
    more = "  more\n  and more\n" if number % 4 == 0 else ""
    return f"{at}.{number:03d} [{word}] number {number}\n{more}"


class Place:
    """A folder with logs, a config of Promtail's, and what both shippers have sent of them."""

    def __init__(self, folder: Path, loki: Loki) -> None:
        self.folder = folder
        self.loki = loki
        self.app = new_app()
        folder.mkdir(exist_ok=True)

    def config(self, app: str) -> None:
        text = CONFIG.replace("@LOKI@", self.loki.url).replace("@APP@", app).replace("@FOLDER@", str(self.folder))
        (self.folder / "promtail.yml").write_text(text.replace("positions.yaml", str(self.folder / "positions.yaml")))

    def promtail(self, enough: Callable[[], bool]) -> None:
        with Promtail(self.folder):
            deadline = time.monotonic() + 20
            while not enough() and time.monotonic() < deadline:
                time.sleep(0.1)

    def tailrace(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tailrace.cli", *words]
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)

    def entries(self, app: str) -> list[Entry]:
        found = self.loki.query(f'{{app="{app}"}}')
        return sorted(
            (Entry({k: v for k, v in one.labels.items() if k != "app"}, *one[1:]) for one in found),
            key=lambda one: (one.time_ns, one.line),
        )


@pytest.fixture
def place(tmp_path: Path, loki: Loki) -> Place:
    try:
        Promtail.program("promtail")
    except NotInstalled as error:
        if os.environ.get("TAILRACE_LIVE") == "required":
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))
    return Place(tmp_path, loki)


def kept(numbers: Sequence[int]) -> int:
    """How many of these lines no stage drops."""
    return sum(number % 7 != 0 and number % 3 != 1 and number % 5 % 3 != 2 for number in numbers)


def write(path: Path, lines: Sequence[str]) -> None:
    with path.open("a") as file:
        file.writelines(lines)


def test_both_ship_the_same_entries(place: Place) -> None:
    write(place.folder / "web-1.log", [web_line(number) for number in range(300)])
    write(place.folder / "text.log", [text_lines(number) for number in range(100)])
    place.config(f"{place.app}-promtail")
    wanted = kept(range(300)) + 100
    place.promtail(lambda: len(place.entries(f"{place.app}-promtail")) >= wanted)
    place.config(f"{place.app}-tailrace")
    converted = place.tailrace("convert", "promtail.yml", "--out", "tailrace.yaml")
    assert converted.returncode == 0, converted.stderr
    files = sorted(path.name for path in place.folder.glob("tailrace*.yaml"))
    assert files == ["tailrace-text.yaml", "tailrace-web.yaml"]
    for file in files:
        assert place.tailrace("check", file, "--offline").returncode == 0
        run = place.tailrace("run", file, "--once")
        assert run.returncode == 0, run.stderr
    theirs, ours = place.entries(f"{place.app}-promtail"), place.entries(f"{place.app}-tailrace")
    assert len(theirs) == wanted
    assert ours == theirs


def test_tailrace_goes_on_where_promtail_stopped(place: Place) -> None:
    before, after = f"{place.app}-promtail", f"{place.app}-tailrace"  # apart, for Loki shows equal entries once
    files = [place.folder / "web-1.log", place.folder / "shop-2.log"]
    for number, file in enumerate(files):
        write(file, [web_line(1000 * number + line) for line in range(150)])
    first, second = [*range(150), *range(1000, 1150)], [*range(150, 300), *range(1150, 1300)]
    place.config(before)
    place.promtail(lambda: len(place.entries(before)) >= kept(first))
    for number, file in enumerate(files):
        write(file, [web_line(1000 * number + line) for line in range(150, 300)])
    place.config(after)
    taken = place.tailrace("convert", "promtail.yml", "--positions", "positions.yaml", "--out", "tailrace.yaml")
    assert taken.stderr.count(" goes on at ") == 2, taken.stderr
    run = place.tailrace("run", "tailrace-web.yaml", "--once")
    assert run.returncode == 0, run.stderr
    theirs, ours = ([one.line for one in place.entries(app)] for app in (before, after))
    assert (len(theirs), len(ours)) == (kept(first), kept(second))
    assert len({*theirs, *ours}) == kept([*first, *second])
