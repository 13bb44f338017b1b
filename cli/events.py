"""`tailrace events`: the events of session logs."""

from __future__ import annotations

from ._filters import Asked, with_filters

COLUMNS = ("timestamp", "session_key", "stage", "event", "status", "elapsed_s", "error_type", "error")


@with_filters
def events(asked: Asked) -> None:
    """List the last events, 100 unless --limit says otherwise, oldest first.

    Example: tailrace events --session C0AA6HC1RJL:1772664120.310119 --stage Refine
    """
    from ..query.find import find

    index, files = asked.index()
    found = find(index, files, asked.wanted("event", "tool"), asked.limit or 100)
    asked.show([record.shown for record in found], COLUMNS)
