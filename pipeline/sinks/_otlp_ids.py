"""Ids of traces and spans: all follow from the record, so that a repeat has the same ones."""

from __future__ import annotations

import hashlib
import re
from typing import Any, NamedTuple

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?", re.DOTALL)
_TRACE = re.compile(r"[0-9a-f]{32}")
_SPAN = re.compile(r"[0-9a-f]{16}")
NO_TRACE, NO_SPAN = bytes(16), bytes(8)
"""Not valid as ids (W3C Trace Context)."""


class Trace(NamedTuple):
    """A trace's id, and the span in it that a `traceparent` names; empty where there is none."""

    id: bytes
    parent: bytes = b""


NO: Trace = Trace(b"")


def trace_of(value: Any) -> Trace:
    """Of 32 hex digits (dashes allowed), a W3C `traceparent`, or the hash of any other id, as `enrich` makes it."""
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        return NO
    text = str(value)
    plain = text.strip().lower()
    if found := _TRACEPARENT.fullmatch(plain):
        trace, span = bytes.fromhex(found[1]), bytes.fromhex(found[2])
        return NO if trace == NO_TRACE else Trace(trace, b"" if span == NO_SPAN else span)
    if _TRACE.fullmatch(plain := plain.replace("-", "")):
        trace = bytes.fromhex(plain)
        return NO if trace == NO_TRACE else Trace(trace)
    return Trace(_hash(16, text))


def span_of(value: Any) -> bytes:
    """Of 16 hex digits; empty where it is no span's id."""
    if not isinstance(value, str) or not _SPAN.fullmatch(plain := value.strip().lower()):
        return b""
    span = bytes.fromhex(plain)
    return b"" if span == NO_SPAN else span


def root_of(trace: bytes) -> bytes:
    """The id of the span of the session, the first of its trace."""
    return _hash(8, trace.hex(), "session")


def stage_of(trace: bytes, stage: Any, turn: Any) -> bytes:
    """The id of the span of a stage, in one turn where turns are counted."""
    return _hash(8, trace.hex(), "stage", str(stage), "" if turn is None else str(turn))


def record_of(source: str, partition: str, offset: int, line: bytes) -> str:
    """What tells a record from all others, 32 hex digits: its place, and what a stage that splits made of it."""
    return _hash(16, source, partition, str(offset), line.hex()).hex()


def span_of_record(uid: str) -> bytes:
    """The id of the span that is made of a record."""
    return _hash(8, "span", uid)


def _hash(size: int, *parts: str) -> bytes:
    """The first bytes of SHA-256 (zero, which is no id, is as good as impossible)."""
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).digest()[:size]
