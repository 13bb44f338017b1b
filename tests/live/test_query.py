"""LogQL over the same records in Loki and in an archive: Loki, `tailrace query --loki` and files agree."""

# ruff: noqa: E501  # a query is read as one line

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import cramjam
import pytest
from typer.testing import CliRunner

from tailrace.cli.app import app

from ..services.loki import Loki
from .shipper import new_app

BASE = 1_762_167_600
"""2025-11-03T11:00:00Z. The records are of the hour after it."""
NS = 10**9
TO = (BASE + 3600) * NS
LABELS = ("app", "level", "session")


class World(NamedTuple):
    """The same records twice."""

    loki: Loki
    archive: Path
    app: str


def records(name: str) -> Iterator[dict[str, Any]]:
    dice = random.Random(7)
    for number in range(900):
        at = datetime.fromtimestamp(BASE + number * 4, UTC)
        level = dice.choices(["debug", "info", "warning", "error"], [2, 6, 2, 1])[0]
        record: dict[str, Any] = {
            "timestamp": f"{at:%Y-%m-%dT%H:%M:%S}.{dice.randrange(1000):03}Z",
            "app": name,
            "level": level,
            "session": f"s-{number % 7}",
            "message": dice.choice(
                ["call done", "call failed: timeout", "GET /a/b 200 12ms", 'naïve ✓ "quoted"', 'x=1 y=two z="3 4"']
            ),
        }
        if number % 3:
            record |= {
                "event": "llm_call",
                "model": dice.choice(["opus", "sonnet", "haiku-3.5"]),
                "duration_ms": dice.choice([dice.randrange(1, 9000), round(dice.random() * 5000, 2)]),
                "took": dice.choice(["12ms", "1.5s", "2m3s"]),
                "size": dice.choice(["512B", "5KB", "1.5MiB"]),
                "tokens": {"input": dice.randrange(4000), "output": dice.randrange(900)},
                "cached": dice.random() < 0.5,
                "tags": ["a", "b"],
            }
        if number % 11 == 0:
            record["duration_ms"] = "n/a"
        if number % 13 == 0:
            record["error-type"] = None if number % 2 else "KeyError"
        yield record


@pytest.fixture(scope="module")
def world(loki: Loki, tmp_path_factory: pytest.TempPathFactory) -> World:
    name = new_app()
    found = list(records(name))
    lines = [json.dumps(record, ensure_ascii=False) for record in found]
    folder = tmp_path_factory.mktemp("archive")
    for place, part in enumerate((lines[:500], lines[500:])):
        data = b"".join(bytes(cramjam.zstd.compress(f"{line}\n".encode())) for line in part)
        (folder / f"2025-11-03.{place}.jsonl.zst").write_bytes(data)
    for level in {record["level"] for record in found}:
        entries = [
            (
                round(datetime.fromisoformat(record["timestamp"]).timestamp() * 1000) * 10**6,
                line,
                {"session": record["session"]},
            )
            for record, line in zip(found, lines, strict=True)
            if record["level"] == level
        ]
        loki.push({"app": name, "level": level}, *entries)
    return World(loki, folder, name)


LOGS = [
    "{APP}",
    '{APP, level="error"}',
    '{APP, level=~"err.*|warning"}',
    '{APP, level!="info", level!~"de.*"}',
    '{APP} |= "timeout"',
    '{APP} |= "timeout" or "quoted"',
    '{APP} != "call" !~ "GET|naïve"',
    '{APP} |~ "(?i)GET /[a-z]/"',
    '{APP} |> "<_>call <_>: timeout<_>"',
    '{APP} !> "<_>call<_>"',
    '{APP} | session="s-3"',
    '{APP} | json | model="opus"',
    '{APP} | json | model!="opus"',
    '{APP, level="error"} | json | duration_ms > 5000 | line_format "{{.model}}"',
    "{APP} | json | duration_ms >= 100 and duration_ms < 900.5",
    '{APP} | json | model=~"opus|son.*", cached="true"',
    '{APP} | json | (model="opus" or level="error") and event="llm_call"',
    '{APP} | json | model="opus" or duration_ms > 8000 and cached="false"',
    "{APP} | json | took > 1s",
    "{APP} | json | size >= 5KB",
    "{APP} | json | tokens_input > 3000 | tokens_output < 100",
    '{APP} | json | error_type="KeyError"',
    '{APP} | json | __error__="" | duration_ms > 4000 | __error__=""',
    '{APP} | json | duration_ms > 4000 | __error__="LabelFilterErr"',
    '{APP} | json | level_extracted="error" | session_extracted=~"s-[12]"',
    '{APP} | json | line_format `{{.level | upper}} {{.model | default "-"}}: {{.message}}`',
    '{APP} | json | line_format `{{ if eq .model "opus" }}big{{ else }}{{ printf "%-10s|" .model }}{{ end }}`',
    '{APP} | json | line_format `{{ __line__ | len }} {{ replace "a" "o" .message | trunc 8 }} {{ .nothing }}`',
    "{APP} | json | line_format `{{ div .tokens_input 7 }} {{ addf .tokens_output 1.5 }} {{ round .duration_ms 1 }}`",
    '{APP} | json | label_format who=model, loud="{{.level | ToUpper}}" | who="opus" | loud="INFO" | line_format "{{.who}} {{.loud}} {{.model}}"',
    '{APP} | json m="model", n="tokens.input", t="tags[1]" | m!="" | line_format "{{.m}} {{.n}} {{.t}}"',
    '{APP} | json | line_format "{{.message}}" | logfmt | x="1" | line_format "{{.y}}/{{.z}}"',
    '{APP} | json | line_format "{{.message}}" | logfmt why="y" | why="two"',
    '{APP} | json | line_format "{{.message}}" | regexp "(?P<verb>[A-Z]+) (?P<path>\\\\S+) (?P<status>\\\\d+)" | status="200" | line_format "{{.verb}} {{.path}}"',
    '{APP} | json | line_format "{{.message}}" | pattern "<verb> <path> <status> <took>" | verb="GET" | line_format "{{.path}} {{.took}} {{.took_extracted}}"',
    '{APP} | json | line_format "{{.message}}" |= "call" != "done"',
    '{APP} | json | drop model | line_format "[{{.model}}] {{.event}}"',
    '{APP} | json | keep event, model | line_format "[{{.model}}] {{.event}} {{.message}}"',
    '{APP} | unpack | level="warning"',
    '{APP} | json | nothing="" | model=""',
    '{APP} | logfmt | level="error"',
]
METRICS = [
    "count_over_time({APP}[10m])",
    'sum(count_over_time({APP} |= "timeout" [5m]))',
    "sum by (level) (count_over_time({APP}[5m]))",
    'sum by (model) (rate({APP} | json | event="llm_call" [10m]))',
    'sum by (model, cached) (count_over_time({APP} | json | model!="" [1h]))',
    "sum(bytes_over_time({APP}[7m]))",
    'sum by (session) (bytes_rate({APP} | json | line_format "{{.message}}" [5m]))',
    "sum by (model) (sum_over_time({APP} | json | unwrap tokens_input [5m]))",
    "avg_over_time({APP} | json | unwrap tokens_output [5m]) by (model)",
    'max_over_time({APP} | json | unwrap duration_ms | __error__="" [10m]) by (level)',
    "min_over_time({APP} | json | unwrap duration_seconds(took) [10m]) by (model)",
    'quantile_over_time(0.95, {APP} | json | unwrap duration_ms | __error__="" [15m]) by (model)',
    "quantile_over_time(0.5, {APP} | json | unwrap duration(took) [15m]) by (level)",
    "stddev_over_time({APP} | json | unwrap tokens_input [20m]) by (model)",
    "first_over_time({APP} | json | unwrap tokens_input [10m]) by (session)",
    "last_over_time({APP} | json | unwrap tokens_input [10m]) by (session)",
    "sum by (model) (sum_over_time({APP} | json | unwrap bytes(size) [10m]))",
    # Of sums that are never equal: which of two equal ones is the second, Loki leaves to chance.
    'topk(2, sum by (model) (sum_over_time({APP} | json | model!="" | unwrap duration_ms | __error__="" [30m])))',
    "bottomk(1, sum by (level) (bytes_over_time({APP}[30m])))",
    "avg(count_over_time({APP}[10m]))",
    "max by (level) (count_over_time({APP}[10m]))",
    "count(sum by (session) (count_over_time({APP}[10m])))",
    "sum without (session) (count_over_time({APP}[10m]))",
    'sum(count_over_time({APP, level="error"}[10m])) / sum(count_over_time({APP}[10m])) * 100',
    "sum by (level) (count_over_time({APP}[10m])) > 40",
    "sum by (level) (count_over_time({APP}[10m] offset 10m))",
    "sum by (model) (rate({APP} | json | unwrap tokens_output [10m]))",
    "{PAIR}",
]
PAIR = "sum by (level) (count_over_time({APP}[10m])) unless sum by (level) (count_over_time({APP}[10m])) > 40"


def filled(query: str, world: World) -> str:
    return query.replace("{PAIR}", PAIR).replace("APP", f'app="{world.app}"')


def ask(*arguments: object) -> list[bytes]:
    result = CliRunner().invoke(app, ["query", *map(str, arguments)])
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    return result.stdout_bytes.splitlines()


@pytest.mark.parametrize("query", LOGS)
def test_the_same_records_come_from_loki_and_from_an_archive(world: World, query: str) -> None:
    query = filled(query, world)
    expected = [entry.line.encode() for entry in world.loki.query(query, BASE * NS, TO)]
    options = ["--from", BASE, "--to", BASE + 3600, "--raw"]
    assert sorted(ask(query, "--loki", world.loki.url, *options)) == sorted(expected)
    assert sorted(ask(query, world.archive, *options, "--labels", ",".join(LABELS))) == sorted(expected)
    loosely = ask(query, world.archive, *options)
    if "| logfmt | level" in query or "_extracted}}" in query:
        return  # see docs/how-to/query.md: without --labels a field can be read before it is parsed
    assert sorted(loosely) == sorted(expected)


def numbers(found: Any) -> dict[tuple[Any, ...], float]:
    return {(tuple(sorted(one["labels"].items())), one["timestamp"][:23]): float(one["value"]) for one in found}


def of_loki(world: World, query: str, **parameters: str | int) -> dict[tuple[Any, ...], float]:
    answer = world.loki.get(
        "/loki/api/v1/query_range" if "step" in parameters else "/loki/api/v1/query", {"query": query, **parameters}
    )
    found = {}
    for one in json.loads(answer)["data"]["result"]:
        for at, value in one.get("values") or [one["value"]]:
            stamp = f"{datetime.fromtimestamp(float(at), UTC):%Y-%m-%dT%H:%M:%S}.000"
            found[tuple(sorted(one["metric"].items())), stamp] = float(value)
    return found


def same(ours: dict[tuple[Any, ...], float], theirs: dict[tuple[Any, ...], float]) -> None:
    assert ours.keys() == theirs.keys()
    assert [key for key, value in ours.items() if not math.isclose(value, theirs[key], rel_tol=1e-9)] == []


@pytest.mark.parametrize("query", METRICS)
def test_the_same_numbers_come_from_loki_and_from_an_archive(world: World, query: str) -> None:
    query = filled(query, world)
    labels = ["--labels", ",".join(LABELS)]
    for options, expected in (
        (["--to", BASE + 3000], of_loki(world, query, time=(BASE + 3000) * NS)),
        (
            ["--from", BASE, "--to", BASE + 3600, "--step", "300s"],
            of_loki(world, query, start=BASE * NS, end=TO, step="300s"),
        ),
    ):
        assert expected
        same(numbers(map(json.loads, ask(query, "--loki", world.loki.url, *options))), expected)
        same(numbers(map(json.loads, ask(query, world.archive, *options, *labels))), expected)


@pytest.mark.parametrize("query", [LOGS[1], LOGS[11], LOGS[13], LOGS[29]])
def test_logcli_gives_the_same_lines(world: World, query: str) -> None:
    query = filled(query, world)
    command: list[str | Path] = [
        Loki.program("logcli"),
        "query",
        query,
        "--addr",
        world.loki.url,
        "--quiet",
        "--output=raw",
        "--limit=5000",
    ]
    times = [f"--from={datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}" for at in (BASE, BASE + 3600)]
    done = subprocess.run(
        [*command, times[0], times[1].replace("from", "to"), "--forward"], capture_output=True, check=True
    )
    ours = ask(query, world.archive, "--from", BASE, "--to", BASE + 3600, "--raw")
    assert sorted(line.strip() for line in ours) == sorted(line.strip() for line in done.stdout.splitlines())
    assert ours


def test_loki_is_asked_page_by_page(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tailrace.query.loki.PAGE", 70)
    query = filled("{APP}", world)
    options = ["--loki", world.loki.url, "--from", BASE, "--to", BASE + 3600, "--raw"]
    every = ask(query, *options)
    assert len(every) == 900
    assert ask(query, *options, "--limit", 100) == every[:100]
    assert ask(query, *options, "--last", 100) == every[-100:]


def test_what_loki_refuses_is_said(world: World) -> None:
    result = CliRunner().invoke(app, ["query", '{app=~".*"}', "--loki", world.loki.url])
    assert result.exit_code == 2
    assert "Loki refuses it" in result.stderr


def test_what_comes_into_loki_is_followed(world: World) -> None:
    name = new_app()
    now = time.time_ns()
    world.loki.push({"app": name}, (now, "first"))
    command = [sys.executable, "-m", "tailrace.cli", "query", f'{{app="{name}"}}', "--loki", world.loki.url, "--raw"]
    with subprocess.Popen([*command, "--follow", "--from", "1m", "--limit", "2"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"first\n"
        world.loki.push({"app": name}, (now + 1, "second"))
        assert process.stdout.read() == b"second\n"
    assert process.returncode == 0
