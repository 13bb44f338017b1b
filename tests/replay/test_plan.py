"""What Loki would do with a replay, told by its own rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from tailrace.replay.block import Outline
from tailrace.replay.plan import Limits, Plan, foretell, is_own, pairs, parse_limits
from tailrace.replay.receipt import Read, Stream

SECOND = 1_000_000_000
HOUR = 3600 * SECOND
NOW = 1_800_000_000 * SECOND

CONFIG = """
target: all
querier:
  query_ingesters_within: 3h0m0s
ingester:
  lifecycler:
    ring:
      kvstore: {store: inmemory}
  chunk_idle_period: 30m0s
  max_chunk_age: 2h0m0s
  query_store_max_look_back_period: 0s
compactor:
  retention_enabled: true
limits_config:
  ingestion_rate_mb: 4
  max_label_names_per_series: 15
  reject_old_samples: true
  reject_old_samples_max_age: 1w
  creation_grace_period: 10m
  max_line_size: 256KB
  per_stream_rate_limit: 3MB
  retention_period: 31d
frontend: {}
"""


def test_limits_are_read_from_what_loki_says() -> None:
    limits = parse_limits(CONFIG, "reject_old_samples_max_age: 2w\nmax_line_size: 1MB\n")
    assert limits == Limits(
        told=True,
        max_age=14 * 86_400.0,
        max_line=1 << 20,
        retention=31 * 86_400.0,
        rate=4 << 20,
        stream_rate=3 << 20,
    )
    assert limits.window_ns == HOUR
    assert limits.shown == 161 * 60


def test_where_loki_says_nothing_its_defaults_count() -> None:
    assert parse_limits("", "") == parse_limits("<html>a: [</html>", "- x") == Limits()


@pytest.mark.parametrize(
    ("config", "shown"),
    [
        pytest.param(CONFIG.replace("period: 0s", "period: -1ns"), None, id="ingesters look at everything"),
        pytest.param(CONFIG.replace("within: 3h0m0s", "within: 0s"), None, id="ingesters are always asked"),
        pytest.param(CONFIG.replace("within: 3h0m0s", "within: 1h"), 3600, id="asked for an hour"),
        pytest.param(CONFIG.replace("age: 2h0m0s", "age: 1h0m0s"), 101 * 60, id="younger chunks"),
    ],
)
def test_how_old_an_entry_shows_before_it_is_flushed(config: str, shown: float | None) -> None:
    assert parse_limits(config).shown == shown


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


def test_more_streams_than_the_tenant_may_have_are_told() -> None:
    assert foretold([outline([NOW])], max_streams=1).too_many_streams == 1


def test_a_reason_that_does_not_count_is_left_out() -> None:
    plan = foretold([outline([NOW - 2 * HOUR])], newest=(NOW,))
    assert plan.advice
    plan.leave("too far behind", 0)
    assert (plan.refused, plan.refused_records, plan.advice) == ({}, 0, [])


def test_labels_are_read_as_loki_writes_them() -> None:
    assert pairs('{a="x\\"y, z=\\"1\\"", b="é"}') == [("a", 'x"y, z="1"'), ("b", "é")]


@pytest.mark.parametrize(
    ("series", "own"),
    [
        ({"a": "x"}, True),
        ({"a": "x", "service_name": "a", "__stream_shard__": "1"}, True),
        ({"a": "x", "b": "y"}, False),
        ({"a": "z"}, False),
    ],
)
def test_a_stream_with_more_labels_is_another_one(series: dict[str, str], own: bool) -> None:
    assert is_own({"a": "x"}, series) is own


def test_a_plan_is_json() -> None:
    plan = foretold([outline([NOW])])
    assert msgspec.json.decode(msgspec.json.encode(plan), type=Plan) == plan
