"""LLM calls counted by group: how many, which tokens, when first and last."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..pipeline.record import rfc3339
from .records import Found, is_error

DEFAULT_GROUPS = ("call_label", "model", "status")


def summary(calls: Iterable[Found], group_by: Sequence[str] = DEFAULT_GROUPS) -> list[dict[str, Any]]:
    """A row for each combination of these fields' values, the smallest count first."""
    groups: dict[tuple[str, ...], dict[str, Any]] = {}
    for call in calls:
        key = tuple(call.text(field) for field in group_by)
        row = groups.get(key)
        if row is None:
            row = groups[key] = {
                **{field: value or None for field, value in zip(group_by, key, strict=True)},
                **dict.fromkeys(("count", "errors", "prompt_tokens", "completion_tokens", "total_tokens"), 0),
                "first": call.time_ns,
                "last": call.time_ns,
            }
        prompt, completion = call.number("prompt_tokens"), call.number("completion_tokens")
        row["count"] += 1
        row["errors"] += is_error(call.fields)
        row["prompt_tokens"] += prompt
        row["completion_tokens"] += completion
        row["total_tokens"] += prompt + completion
        row["first"], row["last"] = min(row["first"], call.time_ns), max(row["last"], call.time_ns)
    ordered = sorted(groups.items(), key=lambda group: (group[1]["count"], group[0]))
    return [
        {name: rfc3339(value) if name in ("first", "last") else value for name, value in row.items()}
        for _, row in ordered
    ]
