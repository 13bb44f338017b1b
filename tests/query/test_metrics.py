# ruff: noqa: E501  # a query and its answer are read as one line

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.query.logql import Logs, Range, parse
from tailrace.query.metrics import Keyed, MetricError, Moments, Series, evaluate, in_order, quantile, ranges
from tailrace.query.row import Row

NS = 10**9
SAMPLES = [(1, "a", "1"), (2, "a", "3"), (2, "b", "5"), (11, "a", "7"), (12, "b", "x")]


def source(metric: Range, keyed: Keyed, start_ns: int, end_ns: int) -> Iterator[list[Row]]:
    rows = [
        Row(b"12345", {"m": model, "v": value}, {}, at * NS, open=False)
        for at, model, value in SAMPLES
        if start_ns <= at * NS < end_ns
    ]
    yield [row for row in rows if all(step(row) for step in metric.logs.steps)]


def answer(text: str, moments: Moments) -> dict[str, list[tuple[int, float]]]:
    query = parse(text)
    assert not isinstance(query, Logs)
    found = evaluate(query, moments, source)
    return {one.labels.get("m", ""): [(at // NS, value) for at, value in one.points] for one in found}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sum by (m) (count_over_time({}[10s]))", {"a": [(10, 2), (20, 1)], "b": [(10, 1), (20, 1)]}),
        ("sum(count_over_time({}[20s]))", {"": [(10, 3), (20, 5), (30, 2)]}),
        ("sum(count_over_time({}[10s] offset 10s))", {"": [(20, 3), (30, 2)]}),
        ("sum(rate({}[10s]))", {"": [(10, 0.3), (20, 0.2)]}),
        ("sum(bytes_over_time({}[10s]))", {"": [(10, 15), (20, 10)]}),
        ('sum_over_time({} | v!="x" | unwrap v [10s]) > 4', {"b": [(10, 5)], "a": [(20, 7)]}),
        ('avg_over_time({} | v!="x" | unwrap v [10s]) by (m)', {"a": [(10, 2), (20, 7)], "b": [(10, 5)]}),
        ('max_over_time({} | v!="x" | unwrap v [20s]) by (m)', {"a": [(10, 3), (20, 7), (30, 7)], "b": [(10, 5), (20, 5)]}),
        ('first_over_time({} | v!="x" | unwrap v [20s]) by (m)', {"a": [(10, 1), (20, 1), (30, 7)], "b": [(10, 5), (20, 5)]}),
        ("topk(1, sum by (m) (count_over_time({}[10s])))", {"a": [(10, 2), (20, 1)]}),
        ("sum by (m) (count_over_time({}[10s])) * 2 - 1", {"a": [(10, 3), (20, 1)], "b": [(10, 1), (20, 1)]}),
        ("sum(count_over_time({}[10s])) / sum(count_over_time({}[20s]))", {"": [(10, 1), (20, 0.4)]}),
        ("sum by (m) (count_over_time({}[10s])) unless sum by (m) (count_over_time({}[10s])) > 1", {"a": [(20, 1)], "b": [(10, 1), (20, 1)]}),
        ("1 / 0", {"": [(10, math.inf), (20, math.inf), (30, math.inf)]}),
    ],
)  # fmt: skip
def test_a_metric_has_its_values_at_each_moment(text: str, expected: dict[str, list[tuple[int, float]]]) -> None:
    assert answer(text, Moments(10 * NS, 10 * NS, 3)) == expected


def test_without_a_grouping_each_set_of_labels_is_a_series_of_its_own() -> None:
    query = parse("count_over_time({}[30s])")
    assert not isinstance(query, Logs)
    found = evaluate(query, Moments.one(20 * NS), source)
    assert [series.labels for series in found] == [{"m": model, "v": value} for _, model, value in sorted(SAMPLES, key=lambda s: s[1:])]  # fmt: skip


def test_what_cannot_be_read_as_a_number_is_said_and_not_counted() -> None:
    with pytest.raises(MetricError, match="SampleExtractionErr: 'x' cannot be read"):
        answer("sum(sum_over_time({} | unwrap v [20s]))", Moments.one(20 * NS))


def test_moments_are_moved_outwards_to_whole_steps() -> None:
    assert Moments.between(95 * NS, 121 * NS, 10 * NS) == Moments(90 * NS, 10 * NS, 5)
    assert Moments.between(90 * NS, 120 * NS, 10 * NS).end_ns == 120 * NS


@given(st.integers(0, 100), st.integers(1, 30), st.integers(1, 30), st.integers(0, 50))
def test_a_time_is_in_the_ranges_that_begin_before_it_and_end_with_it_or_later(
    time: int, span: int, step: int, start: int
) -> None:
    moments = Moments(start, step, 20)
    first, end = moments.holding(time, span)
    ends = [start + k * step for k in range(20)]
    assert [k for k, at in enumerate(ends) if at - span < time <= at] == list(range(first, max(end, first)))


def test_quantiles_lie_between_values() -> None:
    assert [quantile(q, [4, 1, 3, 2]) for q in (0, 0.5, 1, -1, 2)] == [1, 2.5, 4, -math.inf, math.inf]


def test_series_stand_with_the_largest_first() -> None:
    series = [Series({"a": name}, [(0, value)]) for name, value in (("x", 1.0), ("n", math.nan), ("y", 2.0))]
    assert [one.labels["a"] for one in in_order(series)] == ["y", "x", "n"]


def test_all_ranges_of_a_metric_are_found() -> None:
    query = parse("sum(rate({}[1m])) / sum(rate({}[2m])) * 3")
    assert not isinstance(query, Logs)
    assert [one.range_ns // NS for one in ranges(query)] == [60, 120]
