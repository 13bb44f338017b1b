"""`tailrace llm`: calls of language models, one by one or summed up."""

from __future__ import annotations

from typing import Annotated

import typer

from ._filters import Asked, with_filters

COLUMNS = (
    *("timestamp", "session_key", "stage", "call_label", "model", "status", "prompt_tokens", "completion_tokens"),
    *("event_type", "error"),
)


@with_filters
def llm(
    asked: Asked,
    summary: Annotated[bool, typer.Option("--summary", help="Counts and sums of tokens by group.")] = False,
    group_by: Annotated[str, typer.Option(help="The fields that make a group.")] = "call_label,model,status",
) -> None:
    """List the last LLM calls, 100 unless --limit says otherwise, oldest first; or sum up all of them.

    Example: tailrace llm --summary --group-by model --from 7d
    """
    from ..query.find import each, find
    from ..query.llm import summary as summed

    index, files = asked.index()
    wanted = asked.wanted("llm")
    if not summary:
        asked.show([record.shown for record in find(index, files, wanted, asked.limit or 100)], COLUMNS)
        return
    groups = [field for part in group_by.split(",") if (field := part.strip())]
    calls = each(index, files, wanted) if asked.limit is None else find(index, files, wanted, asked.limit)
    rows = summed(calls, groups)
    asked.show(rows, (*groups, *("count", "errors", "prompt_tokens", "completion_tokens", "total_tokens", "last")))
