"""`tailrace sessions`: which sessions there were, how long, how many calls, tokens and errors."""

from __future__ import annotations

from ._filters import Asked, with_filters

COLUMNS = ("created_at", "seconds", "session_key", "stage", "status", "events", "llm_calls", "total_tokens", "errors")
ITS_OWN = frozenset(("session_key", "thread_ts", "channel_id"))
"""Fields that a session has; it is asked for others by its records."""


@with_filters
def sessions(asked: Asked) -> None:
    """List the last sessions, 10 unless --limit says otherwise: from the index alone, without opening a log.

    Filters that are about records (such as --error-type) choose the sessions that have such a record.

    Example: tailrace sessions --path logs --from 1d
    """
    from ..query.find import each
    from ..query.sessions import sessions as listed

    wanted = asked.wanted()
    index, files = asked.index()
    keys = None
    if wanted.contains or wanted.has_error is not None or not wanted.exact.keys() <= ITS_OWN:
        keys = {record.text("session_key") for record in each(index, files, wanted)}
    rows = listed(files, wanted, keys, asked.limit or 10)
    asked.show([row | {"total_tokens": row["prompt_tokens"] + row["completion_tokens"]} for row in rows], COLUMNS)
