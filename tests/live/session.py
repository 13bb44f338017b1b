"""A session in a log that becomes one trace, and the config that ships it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Protocol

from .shipper import Shipper


class Named(Protocol):
    """A span, as any of the servers gives it back."""

    @property
    def id(self) -> str: ...
    @property
    def parent(self) -> str: ...
    @property
    def name(self) -> str: ...


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


def tree(spans: Iterable[Named]) -> set[tuple[str, str]]:
    """Each span's name, and that of the one above."""
    spans = list(spans)
    names = {span.id: span.name for span in spans} | {"": ""}
    return {(span.name, names[span.parent]) for span in spans}


TREE = {
    ("session", ""),
    ("stage Refine", "session"),
    ("chat m1", "stage Refine"),
    ("execute_tool search", "stage Refine"),
}
