"""Errors put together: tracebacks by their fingerprint, others by what they are called and where they happened."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..pipeline.record import rfc3339
from .records import Found, is_error

_SAMPLE_CHARS = 4000
_MOST_SESSIONS = 5


def errors(records: Iterable[Found]) -> list[dict[str, Any]]:
    """A row for each fault, that which was seen last at the end. The sample is the newest record of it."""
    groups: dict[tuple[str, ...], dict[str, Any]] = {}
    newest: dict[tuple[str, ...], Found] = {}
    for record in records:
        if not is_error(record.fields):
            continue
        fingerprint = record.text("error_fingerprint")
        what = record.text("event") or record.text("event_type")
        kind = record.text("error_type") or what
        key = (fingerprint,) if fingerprint else ("", kind, what)
        row = groups.setdefault(key, {"count": 0, "first": record.time_ns, "last": record.time_ns, "sessions": {}})
        row["count"] += 1
        row["first"] = min(row["first"], record.time_ns)
        if key not in newest or record[:3] >= newest[key][:3]:
            newest[key], row["last"] = record, record.time_ns
        if session := record.text("session_key"):
            row["sessions"][session] = None
    ordered = sorted(groups.items(), key=lambda group: (group[1]["last"], group[0]))
    return [_row(row, newest[key]) for key, row in ordered]


def _row(row: dict[str, Any], sample: Found) -> dict[str, Any]:
    own = sample.text
    return {
        "error_fingerprint": own("error_fingerprint") or None,
        "error_type": own("error_type") or own("event") or own("event_type") or None,
        "error_message": own("error_message") or own("error") or None,
        "error_family": own("error_family") or None,
        "error_frame": own("error_frame") or None,
        "count": row["count"],
        "first_seen": rfc3339(row["first"]),
        "last_seen": rfc3339(row["last"]),
        "event": own("event") or own("event_type") or None,
        "stage": own("stage") or None,
        "sessions": list(row["sessions"])[-_MOST_SESSIONS:],
        "log_path": sample.path,
        "sample": _text(sample)[:_SAMPLE_CHARS],
    }


def _text(record: Found) -> str:
    """The traceback, or what stands for it."""
    for field in ("exc", "exc_info", "exception", "traceback", "stack_trace", "message", "error"):
        if text := record.text(field):
            return text
    return ""
