"""What many trials came to, as a table for people."""

from __future__ import annotations

from collections.abc import Sequence

from .trial import Outcome


def matrix(outcomes: Sequence[Outcome]) -> str:
    """A row for each thing that was done: how often, in how many trials, and what was lost or came twice in these."""
    rows = [_row(kind, outcomes, kind) for kind in sorted({kind for one in outcomes for kind in one.done})]
    rows.append(_row("all trials", outcomes, ""))
    loki = any(one.counted_too_many is not None for one in outcomes)
    head = ["what was done", "times", "trials", "lines"]
    head += ["lost in Loki", "twice"] if loki else []
    head += ["lost in archive", "twice"]
    if not loki:
        rows = [[*row[:4], *row[6:]] for row in rows]
    widths = [max(len(row[place]) for row in [head, *rows]) for place in range(len(head))]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in [head, *rows]]
    lines.insert(len(lines) - 1, "-" * len(lines[0]))
    lines.insert(1, "-" * len(lines[0]))
    return "\n".join(lines) + "\n\n" + _summary(outcomes)


def _row(name: str, outcomes: Sequence[Outcome], kind: str) -> list[str]:
    own = [one for one in outcomes if not kind or kind in one.done]
    times = sum(one.done.get(kind, 0) if kind else sum(one.done.values()) for one in own)
    sums = [
        sum(getattr(one, count) for one in own)
        for count in ("lines", "loki_lost", "loki_twice", "archive_lost", "archive_twice")
    ]
    return [name, *map(str, (times, len(own), *sums))]


def _summary(outcomes: Sequence[Outcome]) -> str:
    """The other counts, one a line."""
    bad = [one for one in outcomes if not one.exact]
    lines = [
        f"exact: {len(outcomes) - len(bad)} of {len(outcomes)} trials"
        + (f"; not: seed {', '.join(str(one.plan.seed) for one in bad)}" if bad else ""),
        f"books: {sum(one.residual for one in outcomes)} events unaccounted for"
        f" in {sum(one.looks for one in outcomes)} looks; dead letters: {sum(one.dead for one in outcomes)}",
    ]
    for what, reconcile in (("with `reconcile: true`", True), ("without", False)):
        counted = [
            one.counted_too_many
            for one in outcomes
            if one.counted_too_many is not None and one.plan.reconcile is reconcile
        ]
        if counted:
            exact = sum(not extra for extra in counted)
            lines.append(f"count_over_time, {what}: exact in {exact} of {len(counted)} trials, {sum(counted):+} in all")
    return "\n".join(lines)
