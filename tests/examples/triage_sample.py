"""The sample of the runbook, shipped into an archive, and the calls that the skill shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..docs._pages import ROOT, blocks

RUNBOOK = ROOT / "docs/runbooks/triage.md"
SKILL = ROOT / "examples/mcp/SKILL.md"
TRACE = "0af7651916cd43dd8448eb211c80319c"


def config() -> str:
    """The pipeline of the runbook."""
    return next(block.body for block in blocks(RUNBOOK) if block.saved_as == "tailrace.yaml")


def log() -> str:
    """What the app of the runbook logs."""
    return next(block.body for block in blocks(RUNBOOK) if block.saved_as == "agent.log")


def shell() -> str:
    """What the runbook asks Prometheus from a shell."""
    return "".join(block.body for block in blocks(RUNBOOK) if block.kind == "sh")


def calls(path: Path = SKILL) -> list[tuple[str, dict[str, Any]]]:
    """The calls that are shown: a tool and its arguments."""
    lines = [line.strip() for line in path.read_text().splitlines() if line.strip().startswith('{"tool"')]
    return [(call["tool"], call["arguments"]) for call in map(json.loads, lines)]
