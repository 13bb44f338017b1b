"""What Loki would do with a replay, told by its own rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from tailrace.replay.block import Outline
from tailrace.replay.limits import Limits
from tailrace.replay.plan import Plan, foretell
from tailrace.replay.receipt import Read, Stream
from tailrace.replay.retention import Rule

SECOND = 1_000_000_000
HOUR = 3600 * SECOND
NOW = 1_800_000_000 * SECOND


def outline(times: Sequence[int], **more: Any) -> Outline:
    count = len(times)
    known = {"keys": [0] * count, "sizes": [100] * count, "metadata": [0] * count, "pairs": [0] * count} | more
    return Outline(times, **known)


def foretold(
    blocks: Sequence[Outline], *, newest: Sequence[int | None] = (None, None), labels: str = '{app="a"}', **limits: Any
) -> Plan:
    streams = [Stream(labels, 1, 100, 0, 0, "", newest_ns=at) for at in newest]
    plan = Plan("n", "loki", "replay", NOW, 10, 1000, 0, 0, Read(), streams)
    plan.limits = Limits(**{"told": True, "look_back": -1.0} | limits)
    foretell(plan, blocks, ["trace_id"])
    return plan


WEEK = 7 * 24 * HOUR


def test_what_is_over_a_limit_on_age_is_refused_to_the_nanosecond() -> None:
    times = [NOW - WEEK - 1, NOW - WEEK, NOW + 600 * SECOND, NOW + 600 * SECOND + 1]
    assert foretold([outline(times)]).refused == {"too old": 1, "too new": 1}
    assert foretold([outline(times)], reject_old=False).refused == {"too new": 1}
    assert foretold([outline(times[:1]), outline(times[1:])]).refused_records == 2


def test_what_is_behind_the_newest_of_its_stream_is_refused() -> None:
    times = [NOW - 2 * HOUR, NOW - HOUR - 1, NOW - HOUR, NOW - 5]
    found = foretold([outline(times), outline(times, keys=[1, 1, 1, 1])], newest=(NOW, None))
    assert found.refused == {"too far behind": 2}
    assert found.there


def test_an_entry_is_refused_once_for_the_first_reason() -> None:
    times = [NOW - WEEK - 1, NOW - 3 * HOUR, NOW - 3 * HOUR, NOW - 3 * HOUR, NOW]
    found = foretold(
        [outline(times, sizes=[300_000, 300_000, 1, 1, 262_144], metadata=[0, 70_000, 70_000, 0, 0])],
        newest=(NOW, None),
    )
    assert found.refused == {"too old": 1, "line too long": 1, "too much metadata": 1, "too far behind": 1}


def test_long_lines_that_loki_truncates_are_taken() -> None:
    assert foretold([outline([NOW], sizes=[300_000])], truncates=True).refused == {}


def test_a_stream_with_too_many_labels_is_refused_whole() -> None:
    labels = "{" + ", ".join(f'l{number}="x"' for number in range(16)) + "}"
    assert foretold([outline([NOW, NOW])], newest=(None,), labels=labels).refused == {"too many labels": 2}


def test_deleted_and_invisible_is_counted_of_what_is_taken() -> None:
    times = [NOW - WEEK - 1, NOW - 50 * HOUR, NOW - 30 * HOUR, NOW - 10]
    found = foretold([outline(times, sizes=[1, 300_000, 1, 1])], retention=24 * 3600.0, look_back=3600.0)
    assert (found.refused_records, found.deleted, found.invisible) == (2, 1, 1)
    assert len(found.advice) == 4


def test_what_is_deleted_is_told_by_the_rule_that_does_it() -> None:
    times = [NOW - 50 * HOUR, NOW - 30 * HOUR, NOW - 30 * HOUR, NOW - 20 * HOUR]
    rules = [Rule('{app="a"}', 40 * 3600.0), Rule('{app="b"}', 10 * 3600.0)]
    found = foretold([outline(times)], retention=24 * 3600.0, retention_rules=rules)
    assert (found.deleted, found.deleted_by) == (1, {'{app="a"}': 1})
    found = foretold([outline(times)], retention=24 * 3600.0, retention_rules=rules[1:])
    assert (found.deleted, found.deleted_by) == (3, {"retention_period": 3})
    assert foretold([outline(times)], retention_rules=[Rule('{app="a"}', 0.0)]).deleted == 0


def test_more_streams_than_the_tenant_may_have_are_told() -> None:
    assert foretold([outline([NOW])], max_streams=1).too_many_streams == 1


def test_a_reason_that_does_not_count_is_left_out() -> None:
    plan = foretold([outline([NOW - 2 * HOUR])], newest=(NOW,))
    assert plan.advice
    plan.leave("too far behind", 0)
    assert (plan.refused, plan.refused_records, plan.advice) == ({}, 0, [])


def test_a_plan_is_json() -> None:
    plan = foretold([outline([NOW])])
    assert msgspec.json.decode(msgspec.json.encode(plan), type=Plan) == plan
