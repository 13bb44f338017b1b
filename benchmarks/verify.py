"""Whether the lines that arrived are those that should have: `run.py --verify`, on small corpora, as it is slow."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

UNCHANGED = ("s1", "s3", "s4", "s5")
"""Scenarios whose lines arrive as they were read."""
REDACTIONS = [
    (re.compile(rb"AKIA[0-9A-Z]{16}"), b"[REDACTED:aws]"),
    (re.compile(rb"(?i:bearer)\s+[A-Za-z0-9._~+/=-]{20,}"), b"[REDACTED:bearer]"),
    (re.compile(rb"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}"), b"[REDACTED:email]"),
    (re.compile(rb"\b(?:4\d{3}|5[1-5]\d{2})[- ]?\d{4}[- ]?\d{4}[- ]?\d{4}\b"), b"[REDACTED:card]"),
]
"""What S2 asks for, in the words of every config."""


def wrong_lines(scenario: str, source: Path, dump: Path, output: Path, kinds: dict[str, int]) -> int | None:
    """How many lines are missing, and how many should not be there; None where there is nothing to compare with."""
    if scenario == "s4":
        arrived = output.read_bytes().splitlines()
        if arrived and arrived[0].startswith(b'{"resourceLogs"'):
            return None  # the collector has no raw output: its records are only counted
    elif scenario in (*UNCHANGED, "s2"):
        arrived = list(_unescaped(dump) if any("/json" in kind for kind in kinds) else _lines(dump))
    else:
        return None
    wanted = source.read_bytes().splitlines()
    if scenario == "s2":
        wanted = [redacted(line) for line in wanted]
    difference = Counter(wanted)
    difference.subtract(arrived)
    return sum(map(abs, difference.values()))


def redacted(line: bytes) -> bytes:
    """The line as S2 should ship it."""
    for pattern, marker in REDACTIONS:
        line = pattern.sub(marker, line)
    return line


def _lines(dump: Path) -> Iterator[bytes]:
    yield from dump.read_bytes().splitlines()


def _unescaped(dump: Path) -> Iterator[bytes]:
    """The lines in what was pushed as JSON, where an event of several lines is one string."""
    for text in dump.read_bytes().splitlines():
        yield from json.loads(b'"' + text + b'"').encode().split(b"\n")
