"""One run as a timeline: session log, LLM calls, tool calls and tracebacks of one trace, session or thread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..pipeline.record import rfc3339
from .find import Wanted, find
from .index import Index, Indexed
from .records import Found, is_error

_DETAILS = ("action", "tool_name", "function", "call_label", "model", "status", "summary", "reason")
_TEXTS = ("error_message", "error", "user_text", "text", "output_preview", "message")
_TEXT_CHARS = 160


def timeline(index: Index, files: Sequence[Indexed], trace: str, wanted: Wanted) -> list[dict[str, Any]]:
    """A row for each record of the run, oldest first. `trace`: a trace_id, session_key or thread_ts.

    What has the trace id belongs to it, and while it lasts so does what its session logs without any trace id.
    Of a session or thread it is all. `wanted` narrows it down. Raises OSError for what cannot be read.
    """
    found = _by(index, files, wanted, "trace_id", trace)
    if found:
        first, last = found[0].time_ns, found[-1].time_ns
        others = [
            record
            for key in dict.fromkeys(filter(None, (record.text("session_key") for record in found)))
            for record in _by(index, files, wanted, "session_key", key)
            if first <= record.time_ns <= last and not record.text("trace_id")
        ]
        found += others
    else:
        for field in ("session_key", "thread_ts"):
            found += _by(index, files, wanted, field, trace)
        # A session key is channel:thread, and some records name only one of the two.
        for key in dict.fromkeys(record.text("session_key") for record in found if record.text("thread_ts") == trace):
            found += _by(index, files, wanted, "session_key", key) if key else []
        for thread in {record.text("thread_ts") for record in found} - {"", trace}:
            found += [
                record
                for record in _by(index, files, wanted, "thread_ts", thread)
                if record.text("session_key") in ("", trace)
            ]
    unique = {record[:3]: record for record in found if record.kind != "index"}
    ordered = [unique[place] for place in sorted(unique)]
    return [_row(record, ordered[0].time_ns) for record in ordered]


def _by(index: Index, files: Sequence[Indexed], wanted: Wanted, field: str, value: str) -> list[Found]:
    if wanted.exact.get(field, value) != value:
        return []
    own = Wanted(
        {**wanted.exact, field: value},
        wanted.contains,
        wanted.start_ns,
        wanted.end_ns,
        wanted.has_error,
        wanted.kinds,
    )
    return find(index, files, own)


def _row(record: Found, start_ns: int) -> dict[str, Any]:
    own = record.text
    wrong = is_error(record.fields)
    text = next(filter(None, map(own, _TEXTS)), "")
    return {
        "timestamp": rfc3339(record.time_ns),
        "after_s": round((record.time_ns - start_ns) / 1e9, 3),
        "kind": "error" if wrong and record.kind in ("log", "event") else record.kind,
        "what": own("event") or own("event_type") or own("error_type") or own("logger") or None,
        "stage": own("stage") or None,
        "elapsed_s": record.fields.get("elapsed_s"),
        "tokens": record.number("prompt_tokens") + record.number("completion_tokens") or None,
        "failed": wrong,
        "detail": " ".join([*(f"{name}={own(name)}" for name in _DETAILS if own(name)), text[:_TEXT_CHARS]]).strip(),
        "log_path": record.path,
        "record": record.fields,
    }
