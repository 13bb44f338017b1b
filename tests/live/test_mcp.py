"""`tailrace mcp` before the real Loki and Prometheus: from a number to its trace, and what it refuses to ask."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from tailrace.config.mcp import OF_PROMETHEUS, Limits, McpConfig, ServerOptions
from tailrace.query.mcp.answers import Answers

from ..examples import triage_sample as sample
from ..services.loki import Loki
from ..services.prometheus import Prometheus
from .shipper import Shipper, new_app

TOKEN = "ghp_" + "a1B2" * 9


class World(NamedTuple):
    """The runbook's sample, shipped and scraped; and lines in Loki that nobody redacted."""

    answers: Answers
    prometheus: str
    app: str


def url_of(server: Any) -> str:
    return f"http://127.0.0.1:{server.ports[0]}"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, loki: Loki, prometheus: Prometheus) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("mcp")
    app, now = new_app(), time.time_ns()
    lines = [f"plain {TOKEN}", json.dumps({"level": "error", "password": "hunter2", "text": "\x1b[31mred"})]
    loki.push({"app": app}, *((now - 60 * 10**9 + n, line) for n, line in enumerate(lines)))
    with Shipper(folder, sample.config().replace("9464", "@PORT@")) as shipper:
        (folder / "agent.log").write_text(sample.log())
        shipper.start()
        shipper.until(lambda: shipper.value("turn_errors_total", stage="Refine") == 1)
        prometheus.scrape(f"127.0.0.1:{shipper.port}")
        prometheus.wait("turn_errors_total > 0")
        config = McpConfig(
            folders=[folder / "archive"],
            loki=ServerOptions(url=url_of(loki)),
            prometheus=ServerOptions(url=url_of(prometheus)),
            audit=folder / "audit.jsonl",
            limits=Limits(calls=1000),
        )
        answers = Answers(config)
        yield World(answers, url_of(prometheus), app)
        answers.close()
        assert shipper.stop().code == 0


def found(world: World, tool: str, **arguments: Any) -> list[dict[str, Any]]:
    answer = world.answers.answer(tool, arguments, "test")
    assert answer.structured is not None, answer.reason
    assert isinstance(answer.structured["rows"], list)
    return answer.structured["rows"]


@pytest.mark.parametrize(
    ("tool", "arguments"), [call for call in sample.calls() if call[0] in OF_PROMETHEUS], ids=lambda v: str(v)[:40]
)
def test_a_call_of_the_skill_finds_the_number_and_its_trace(world: World, tool: str, arguments: dict[str, Any]) -> None:
    (row,) = found(world, tool, **arguments)
    if tool == "exemplars":
        assert row["exemplar"] == {"trace_id": sample.TRACE}
        assert row["timestamp"].startswith("2026-03-04T23:36:32")
    else:
        assert (row["labels"], row["points"][0][1]) == ({"stage": "Refine"}, 1)


def test_the_shell_commands_of_the_runbook_find_the_number_and_its_trace(world: World) -> None:
    told = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", sample.shell()],
        env=os.environ | {"PROMETHEUS": world.prometheus, "no_proxy": "127.0.0.1"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert '"stage":"Refine"' in told
    assert f'"trace_id":"{sample.TRACE}"' in told


def test_promql_over_a_range_gives_points(world: World) -> None:
    rows = found(world, "promql", query="max(turn_errors_total)", **{"from": "5m", "step": "1m"})
    assert [point[1] for row in rows for point in row["points"]][-1:] == [1]


def test_what_loki_holds_in_clear_is_redacted_and_readable(world: World) -> None:
    rows = found(world, "logql", query=f'{{app="{world.app}"}}')
    assert [row["record"] for row in rows] == [
        {"message": "plain [REDACTED:github-token]"},
        {"level": "error", "password": "[REDACTED:key-name]", "text": "red"},
    ]
    assert len(found(world, "logql", query=f'{{app="{world.app}"}}', limit=1)) == 1


def test_loki_counts(world: World) -> None:
    (row,) = found(world, "logql", query=f'sum(count_over_time({{app="{world.app}"}}[10m]))')
    assert row["points"][0][1] == 2


@pytest.mark.parametrize(
    ("tool", "query", "words"),
    [
        ("logql", '{app="@"} | regexp "ghp_(?P<a>.)"', "not for Loki"),
        ("logql", '{app="@"} | line_format "{{ substr 0 12 __line__ }}"', "not for agents"),
        ("logql", '{app="@"}&limit=5000', "expected"),
        ("logql", 'count_over_time({app="@"}[99w])', "wider than"),
        ("promql", "sum(", "Prometheus refuses it"),
        ("promql", 'up"}&time=0', "Prometheus refuses it"),
        ("promql", "up[99w]", "wider than"),
        ("exemplars", "up offset 99w", "wider than"),
    ],
)
def test_what_is_refused_is_told_why(world: World, tool: str, query: str, words: str) -> None:
    answer = world.answers.answer(tool, {"query": query.replace("@", world.app)}, "test")
    assert answer.structured is None
    assert words in answer.reason
