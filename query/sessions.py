"""The sessions of an app, put together from what the index says of each file: no log is opened for them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from ..pipeline.record import rfc3339
from .find import Wanted
from .index import Indexed, Session

_TEXTS = ("thread_ts", "channel_id", "user_id", "planned_date", "stage", "status")


def sessions(
    files: Iterable[Indexed], wanted: Wanted, keys: Collection[str] | None = None, limit: int | None = None
) -> list[dict[str, Any]]:
    """The sessions, that which began first in front; of more than `limit` the last ones.

    Of `wanted` the time range (some of the session lies in it) and the fields that sessions have themselves count; what
    else is asked for the caller has looked for: `keys` are those that have it.
    """
    merged: dict[str, Session] = {}
    paths: dict[str, list[Path]] = {}
    for one in sorted(files, key=lambda one: one.entry.last_ns):
        for session in one.entry.sessions:
            if keys is not None and session.key not in keys:
                continue
            paths.setdefault(session.key, []).append(one.path)
            before = merged.get(session.key)
            merged[session.key] = session if before is None else _both(before, session)
    asked = {field: value for field, value in wanted.exact.items() if field in ("session_key", *_TEXTS[:2])}
    found = [
        session
        for session in merged.values()
        if (wanted.start_ns is None or session.last_ns >= wanted.start_ns)
        and (wanted.end_ns is None or session.first_ns <= wanted.end_ns)
        and all((session.key if field == "session_key" else getattr(session, field)) == asked[field] for field in asked)
    ]
    found.sort(key=lambda session: (session.first_ns, session.key))
    return [_row(session, [*map(str, paths[session.key])]) for session in found[-limit if limit else 0 :]]


def _both(one: Session, other: Session) -> Session:
    """What two files say of a session; the second one has the later records."""
    both = Session(one.key, min(one.first_ns, other.first_ns), max(one.last_ns, other.last_ns))
    for name in ("events", "llm_calls", "errors", "prompt_tokens", "completion_tokens"):
        setattr(both, name, getattr(one, name) + getattr(other, name))
    for name in (*_TEXTS, "log_path"):
        setattr(both, name, getattr(other, name) or getattr(one, name))
    return both


def _row(session: Session, paths: list[str]) -> dict[str, Any]:
    texts = {name: getattr(session, name) or None for name in _TEXTS}
    return {
        "session_key": session.key,
        **texts,
        "created_at": rfc3339(session.first_ns),
        "last_seen": rfc3339(session.last_ns),
        "seconds": round((session.last_ns - session.first_ns) / 1e9, 3),
        "events": session.events,
        "llm_calls": session.llm_calls,
        "errors": session.errors,
        "prompt_tokens": session.prompt_tokens,
        "completion_tokens": session.completion_tokens,
        "log_path": session.log_path or paths[0],
        "paths": paths,
    }
