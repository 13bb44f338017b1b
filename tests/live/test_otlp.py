"""Records become traces that Jaeger finds and logs that Loki takes; and from a number in PromQL to a traceback."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest

from ..services.jaeger import Jaeger, Span
from ..services.loki import Entry, Loki
from ..services.prometheus import Prometheus
from .shipper import Shipper, new_app

CONFIG = """
sources:
  app: { use: file, include: ["logs/*.jsonl"] }
stages:
  - { use: parse, format: json }
  - { use: redact }
  - { use: enrich, trace_id: [trace_id, traceparent] }
  - { use: classify }
  - use: derive_metrics
    metrics:
      - name: failures_total
        type: counter
        match: '{error_type!=""}'
        labels: { type: "{error_type}" }
        exemplar: trace_id
sinks:
  traces: { use: otlp, url: "@URL@", protocol: @PROTOCOL@, signals: [traces], service: "{app}" }
@MORE@
exporter: { listen: "127.0.0.1:@PORT@" }
"""
TRACEBACK = 'Traceback (most recent call last):\n  File "/srv/app/a.py", line 1, in f\n    g()\nKeyError: "stage"'


def config(url: str, protocol: str = "http", more: str = "") -> str:
    return CONFIG.replace("@URL@", url).replace("@PROTOCOL@", protocol).replace("@MORE@", more)


def story(trace: str, app: str) -> list[dict[str, Any]]:
    """A session with a stage, in which an LLM and a tool are called and something fails."""
    now = time.time() - 60
    common = {"app": app, "trace_id": trace, "session_key": f"C1:{now - 30:.6f}"}
    events: list[dict[str, Any]] = [
        {"event_type": "LLMCall", "stage": "Refine", "model": "m1", "prompt_tokens": 7, "duration_ms": 900},
        {"event": "ToolCall", "stage": "Refine", "tool_name": "search", "duration_ms": 40},
        {"event": "failed", "stage": "Refine", "level": "error", "message": "no plan", "exc": TRACEBACK},
        {"event": "graph_turn_end", "stage": "Refine", "elapsed_s": 20},
        {"event": "session_finalized", "status": "ok"},
    ]
    return [
        {
            "timestamp": datetime.fromtimestamp(now + place, UTC).isoformat(),
            "level": "info",
            **common,
            **more,
        }
        for place, more in enumerate(events)
    ]


def write(shipper: Shipper, rows: list[dict[str, Any]], name: str = "app") -> None:
    (shipper.folder / "logs").mkdir(exist_ok=True)
    with (shipper.folder / "logs" / f"{name}.jsonl").open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def tree(spans: list[Span]) -> set[tuple[str, str]]:
    """Each span's name, and that of the one above."""
    names = {span.id: span.name for span in spans} | {"": ""}
    return {(span.name, names[span.parent]) for span in spans}


TREE = {
    ("session", ""),
    ("stage Refine", "session"),
    ("chat m1", "stage Refine"),
    ("execute_tool search", "stage Refine"),
}


@pytest.fixture(params=["http", "grpc"])
def receiver(request: pytest.FixtureRequest, jaeger: Jaeger) -> tuple[str, str]:
    """The URL and the protocol."""
    return (jaeger.otlp_http if request.param == "http" else jaeger.otlp_grpc), request.param


def test_jaeger_finds_the_trace_by_its_id(jaeger: Jaeger, receiver: tuple[str, str], tmp_path: Path) -> None:
    trace, app = uuid.uuid4().hex, new_app()
    with Shipper(tmp_path, config(*receiver)) as shipper:
        write(shipper, story(trace, app))
        assert shipper.once().code == 0
        spans = jaeger.wait(trace, len(TREE))
        assert (len(spans), tree(spans)) == (len(TREE), TREE)
        assert {span.service for span in spans} == {app}
        call = next(span for span in spans if span.name == "chat m1")
        assert (call.duration_us, call.tags["gen_ai.usage.input_tokens"]) == (900_000, 7)
        rmtree(tmp_path / "state")  # all that it knows: everything is sent again
        assert shipper.once().code == 0
        assert jaeger.trace(trace) == spans  # Jaeger takes equal spans for one, and others with their ids for more


def test_what_comes_while_the_receiver_is_down_arrives(receiver: tuple[str, str], tmp_path: Path) -> None:
    protocol = receiver[1]
    traces, app = [uuid.uuid4().hex for _ in range(20)], new_app()
    with Jaeger(tmp_path / "jaeger") as own:
        url = own.otlp_http if protocol == "http" else own.otlp_grpc
        with Shipper(tmp_path / "run", config(url, protocol)) as shipper:
            write(shipper, story(traces[0], app))
            shipper.start()
            own.wait(traces[0], len(TREE))
            own.stop(kill=True)
            for trace in traces[1:10]:
                write(shipper, story(trace, app))
            shipper.until(lambda: shipper.value("tailrace_sink_up", sink="traces") == 0)
            shipper.kill()
            for trace in traces[10:]:
                write(shipper, story(trace, app))
            own.start()
            shipper.start()
            for trace in traces[1:]:
                spans = own.wait(trace, len(TREE))
                assert (len(spans), tree(spans)) == (len(TREE), TREE)
            shipper.until(lambda: shipper.value("tailrace_in_flight_events") == 0)
            assert shipper.value("tailrace_books_residual_events") == 0
            assert shipper.stop().code == 0


def test_a_receiver_that_takes_no_logs_is_told_at_the_start(
    jaeger: Jaeger, receiver: tuple[str, str], tmp_path: Path
) -> None:
    with Shipper(tmp_path, config(*receiver).replace("signals: [traces]", "signals: [traces, logs]")) as shipper:
        ended = shipper.once()
    assert ended.code == 78
    assert "signals: [traces]" in ended.stderr


def test_loki_takes_the_logs_over_otlp(jaeger: Jaeger, loki: Loki, tmp_path: Path) -> None:
    trace, app = uuid.uuid4().hex, new_app()
    logs = f'  logs: {{ use: otlp, url: "{loki.url}/otlp", signals: [logs], service: "{{app}}" }}'
    rows = story(trace, app)
    with Shipper(tmp_path, config(jaeger.otlp_http, more=logs)) as shipper:
        write(shipper, rows)
        assert shipper.once().code == 0
    entries = loki.query(f'{{service_name="{app}"}} | trace_id="{trace}"')
    assert [json.loads(entry.line) for entry in entries] == rows
    spans = {span.id: span for span in jaeger.wait(trace, len(TREE))}
    assert {entry.metadata["span_id"] for entry in entries} == set(spans)
    by_uid = {span.tags["log.record.uid"]: span.name for span in spans.values()}
    linked = [by_uid[entry.metadata["log_record_uid"]] for entry in entries if "log_record_uid" in entry.metadata]
    assert linked == ["chat m1", "execute_tool search", "stage Refine", "session"]


@pytest.fixture
def observed(jaeger: Jaeger, loki: Loki, tmp_path: Path) -> Iterator[tuple[Shipper, str]]:
    """A run that ships to all of them, and its application."""
    app = new_app()
    options = f'url: "{loki.url}", labels: {{ app: "{{app}}" }}, metadata: [trace_id, error_type]'
    more = f"  loki: {{ use: loki, {options} }}"
    with Shipper(tmp_path, config(jaeger.otlp_http, more=more)) as shipper:
        write(shipper, story(uuid.uuid4().hex, app))
        shipper.start()
        shipper.until(lambda: shipper.value("tailrace_events_out_total", component="loki") == 5)
        yield shipper, app
        assert shipper.stop().code == 0


def test_a_number_in_promql_leads_to_the_traceback(
    prometheus: Prometheus, jaeger: Jaeger, loki: Loki, observed: tuple[Shipper, str]
) -> None:
    shipper, app = observed
    target = f"127.0.0.1:{shipper.port}"
    prometheus.scrape(target)
    failures = f'failures_total{{instance="{target}",type="KeyError"}}'
    prometheus.wait(f"{failures} == 1")
    (exemplar,) = prometheus.exemplars(failures)
    trace = exemplar.labels["trace_id"]
    assert tree(jaeger.wait(trace, len(TREE))) == TREE
    lines: list[Entry] = loki.query(f'{{app="{app}"}} | trace_id="{trace}"')
    assert len(lines) == 5
    (failed,) = loki.query(f'{{app="{app}"}} | trace_id="{trace}" | error_type="KeyError"')
    assert json.loads(failed.line)["exc"] == TRACEBACK
