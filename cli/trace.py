"""`tailrace trace`: one run as a timeline."""

from __future__ import annotations

from typing import Annotated

import typer

from ._filters import Asked, with_filters

COLUMNS = ("timestamp", "after_s", "kind", "what", "stage", "elapsed_s", "tokens", "detail")


@with_filters
def trace(
    asked: Asked, trace: Annotated[str, typer.Argument(metavar="ID", help="A trace_id, session_key or thread_ts.")]
) -> None:
    """Show one run as a timeline across all files: session log, LLM calls, tool calls, tracebacks.

    Example: tailrace trace C0AA6HC1RJL:1772664120.310119
    """
    from ..query.trace import timeline

    index, files = asked.index()
    rows = timeline(index, files, trace, asked.wanted())
    if not rows:
        asked.say(f"nothing has {trace!r} as its trace_id, session_key or thread_ts")
        raise typer.Exit(1)
    asked.show(rows[-asked.limit if asked.limit else 0 :], COLUMNS)
