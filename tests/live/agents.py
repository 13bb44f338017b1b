"""A run that ships what an agent logs just now, to be looked at while it works."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .shipper import Shipper

AGENT = Path(__file__).parent.parent.parent / "examples" / "agent" / "agent.py"
CONFIG = """
sources:
  sessions: { use: file, include: ["logs/timeboxing_session_*.log"] }
  llm_io:   { use: file, include: ["logs/llm_io_*.jsonl", "logs/*.json"] }
  app:      { use: file, include: ["logs/app.log"], multiline: traceback }
stages:
  - { use: parse, format: auto }
  - { use: redact, pii: [email] }
  - { use: enrich, fields: { app: planner } }
  - { use: classify }
  - { use: drop, match: '{event="graph_turn_start"}' }
sinks:
  archive: { use: jsonl, path: "archive/{source}/{date}.jsonl" }
  errors:  { use: jsonl, path: "archive/errors/{date}.jsonl", match: '{level=~"error|critical"} or {error_type!=""}' }
  loki:    { use: loki, url: "@LOKI@", labels: { app: "{app}", source: "{source}" }, metadata: [trace_id] }
exporter: { listen: "127.0.0.1:@PORT@" }
"""


@contextmanager
def shipped(folder: Path, loki: str, *flags: str, pace: float = 0.01, more: str = "") -> Iterator[Shipper]:
    """One run, and an agent that goes on. `loki`: its URL; `pace`: seconds between two turns of the agent."""
    with Shipper(folder, CONFIG.replace("@LOKI@", loki) + more) as shipper:
        environment = os.environ | {"AGENT_LOGS": str(folder / "logs"), "AGENT_PACE": str(pace)}
        agent = subprocess.Popen(
            [sys.executable, str(AGENT)], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            shipper.start(*flags)
            shipper.until(lambda: answers(shipper))
            yield shipper
        finally:
            agent.terminate()
            agent.wait(20)


def answers(shipper: Shipper) -> bool:
    """Its exporter does."""
    with suppress(OSError):
        return shipper.get("/-/status").status == 200
    return False
