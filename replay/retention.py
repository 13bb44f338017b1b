"""Which retention Loki has for a stream: `retention_period`, unless a rule of `retention_stream` matches its labels."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from ..pipeline.options import Duration

_MATCHER = re.compile(r'\s*(\w+)\s*(=~|!~|!=|=)\s*("(?:[^"\\]|\\.)*"|`[^`]*`)\s*(?:,|$)')
ALL = "retention_period"
"""What the rule for all other streams is called."""


class Rule(msgspec.Struct):
    """How long streams with such labels are kept."""

    selector: str
    period: float
    """Seconds; 0: for ever."""
    priority: int = 0


def rules(told: object) -> list[Rule]:
    """From `retention_stream` as Loki tells it; what is no rule is left out."""
    listed = [one for one in told if isinstance(one, dict)] if isinstance(told, list) else []
    return [
        Rule(one["selector"], seconds_of(one.get("period"), 0.0), int(one.get("priority") or 0))
        for one in listed
        if isinstance(one.get("selector"), str)
    ]


def rule_for(labels: Mapping[str, str], rules: Sequence[Rule], period: float) -> Rule:
    """The one that decides on a stream: of those that match the highest priority, of these the shortest period."""
    own = [rule for rule in rules if _matches(labels, rule.selector)]
    return min(own, key=lambda rule: (-rule.priority, rule.period), default=Rule(ALL, period))


def _matches(labels: Mapping[str, str], selector: str) -> bool:
    """As Loki does: an absent label is an empty one, a regular expression matches the whole value."""
    return all(_holds(labels.get(name, ""), op, value) for name, op, value in _matchers(selector))


def _matchers(selector: str) -> Iterable[tuple[str, str, str]]:
    for name, op, text in _MATCHER.findall(selector.strip().removeprefix("{").removesuffix("}")):
        yield name, op, text[1:-1] if text[0] == "`" else json.loads(text)


def _holds(value: str, op: str, wanted: str) -> bool:
    found = bool(re.fullmatch(wanted, value)) if op.endswith("~") else value == wanted
    return found != op.startswith("!")


def seconds_of(value: object, default: float) -> float:
    """A time span as Go writes it, such as 2h0m0s, 1w or -1ns."""
    text = str(value)
    if text.startswith("-"):
        return -1.0
    try:
        return float(Duration.decode(text))
    except ValueError:
        return 0.0 if re.fullmatch(r"0[a-z]*", text) else default
