"""Which rule decides on a stream, as in Loki."""

from __future__ import annotations

import pytest

from tailrace.replay.retention import ALL, Rule, rule_for, rules, seconds_of

WEB = {"app": "web", "level": "info"}
DAY = 86_400.0


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        ('{app="web"}', True),
        ('{app="web", level="error"}', False),
        ('{ app = "web" , level != "error" }', True),
        ('{app=~"we"}', False),
        ('{app=~"we.|api"}', True),
        ("{app=~`w.b`}", True),
        ('{app!~"we.*"}', False),
        ('{zone=""}', True),
        ('{zone!=""}', False),
        ('{app="w\\"b"}', False),
        ("{}", True),
    ],
)
def test_a_selector_matches_as_in_loki(selector: str, matches: bool) -> None:
    assert (rule_for(WEB, [Rule(selector, DAY)], 9 * DAY).selector == selector) is matches


def test_the_highest_priority_decides_then_the_shortest_period() -> None:
    some = [Rule('{app="web"}', DAY, 1), Rule('{level="info"}', 5 * DAY, 2), Rule('{app=~".+"}', 3 * DAY, 2)]
    assert rule_for(WEB, some, 9 * DAY) == some[2]
    assert rule_for({"app": "api"}, some[:2], 9 * DAY) == Rule(ALL, 9 * DAY)


def test_what_is_no_rule_is_left_out() -> None:
    told = [{"period": "1d", "priority": 1, "selector": '{a="b"}'}, {"period": "2d"}, "x"]
    assert rules(told) == [Rule('{a="b"}', DAY, 1)]
    assert rules(None) == []


@pytest.mark.parametrize(("text", "seconds"), [("2h0m0s", 7200), ("1w", 7 * DAY), ("-1ns", -1), ("0s", 0), (None, 5)])
def test_times_are_read_as_go_writes_them(text: str | None, seconds: float) -> None:
    assert seconds_of(text, 5) == seconds
