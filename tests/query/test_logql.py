from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.pipeline.match import Match, MatchError
from tailrace.query.logql import Aggregate, Binary, Grouping, Logs, OnlyLoki, Range, Scalar, parse

MINUTE = 60 * 10**9


def test_a_selector_with_line_filters_is_what_match_understands() -> None:
    text = '{level="error", app!="x"} |= "timeout" !~ "a.b"'
    assert parse(text) == Logs(Match(text).expression)


def test_what_only_match_understands_is_taken_too() -> None:
    text = '{level="error"} | status >= 500 or {status="failed"}'
    assert parse(text) == Logs(Match(text).expression)


def test_steps_stand_in_their_order() -> None:
    logs = parse('{a="b"} | json | x > 5 | line_format "{{.y}}" |= "z"')
    assert isinstance(logs, Logs)
    assert [type(step).__name__ for step in logs.steps] == ["Json", "Amount", "LineFormat", "Filter"]
    assert logs.stream == ("a",)


def test_a_metric_is_read_from_the_inside() -> None:
    metric = parse('topk(3, sum by (m) (rate({a="b"} |= "x" [5m] offset 1h))) * 100')
    logs = parse('{a="b"} |= "x"')
    assert isinstance(logs, Logs)
    inner = Range("rate", logs, 5 * MINUTE, 60 * MINUTE)
    expected = Aggregate("topk", Aggregate("sum", inner, Grouping(("m",))), count=3)
    assert metric == Binary("*", expected, Scalar(100.0))


def test_operators_bind_as_in_loki() -> None:
    assert parse("1 + 2 * 3 ^ 2") == Binary("+", Scalar(1), Binary("*", Scalar(2), Binary("^", Scalar(3), Scalar(2))))
    assert parse("7 -3") == Binary("-", Scalar(7), Scalar(3))


def test_unwrap_has_a_conversion_and_filters_behind_it() -> None:
    metric = parse('quantile_over_time(0.95, {a="b"} | json | unwrap duration(took) | __error__="" [1h]) by (m)')
    assert isinstance(metric, Range)
    assert metric.unwrap is not None
    assert (metric.unwrap.name, metric.unwrap.convert, len(metric.unwrap.after)) == ("took", "duration", 1)
    assert (metric.parameter, metric.grouping) == (0.95, Grouping(("m",)))


@pytest.mark.parametrize(
    ("text", "message", "column"),
    [
        ("", "a label matcher", 1),
        ("hello", "a metric such as", 1),
        ('{a="b"} | jsn', "did you mean json?", 11),
        ('{a="b"} | x', "one of = != =~", 12),
        ('{a="b"} | x > ', "a number, a duration", 15),
        ('{a="b"} | x > 5parsecs', "a number, a duration such as", 15),
        ('{a="b"} | json x="a["', "a path such as", 16),
        ('{a="b"} | regexp "x"', "a group with a name", 18),
        ('{a="b"} | pattern "x"', "a part with a name", 19),
        ('{a="b"} | pattern "<x><y>"', "some text between", 19),
        ('{a="b"} | logfmt --loose', "--strict or --keep-empty", 18),
        ('{a="b"} | label_format x=y, x=z', "each label only once", 29),
        ('{a="b"} | line_format "{{.x | uper}}"', "did you mean upper?", 31),
        ('count_over_time({a="b"})', "a range of time such as [5m]", 24),
        ('count_over_time({a="b"}[5])', "a duration such as 5m", 25),
        ('sum_over_time({a="b"}[5m])', "write | unwrap", 1),
        ('count_over_time({a="b"} | unwrap x [5m])', "leave out unwrap", 1),
        ('topk(0, rate({a="b"}[5m]))', "how many", 6),
        ('sum({a="b"})', "a metric such as", 5),
        ('sum(rat({a="b"}[5m]))', "a metric such as", 5),
        ('rate({a="b"}[5m]) by (x)', "no grouping here", 19),
        ('{a="b"} or {c="d"} | json', "parentheses around what", 20),
    ],
)
def test_what_is_wrong_is_refused_with_its_column_and_what_would_do(text: str, message: str, column: int) -> None:
    with pytest.raises(MatchError) as refused:
        parse(text)
    assert message in str(refused.value)
    assert refused.value.column == column


@pytest.mark.parametrize(
    "text",
    [
        'absent_over_time({a="b"}[5m])',
        '{a="b"} |= ip("10.0.0.0/8")',
        'sum(rate({a="b"}[5m])) / on(x) sum(rate({a="b"}[5m]))',
        '{a="b"} | line_format "{{ fromJson .x }}"',
    ],
)
def test_what_only_loki_can_is_told_apart(text: str) -> None:
    with pytest.raises(OnlyLoki):
        parse(text)


WORDS = [
    "{",
    "}",
    'a="b"',
    "|",
    "json",
    "|=",
    '"x"',
    "sum",
    "(",
    ")",
    "rate",
    "[5m]",
    "by",
    ">",
    "5",
    "or",
    "unwrap",
    ",",
]


@given(st.lists(st.sampled_from(WORDS)).map(" ".join) | st.text())
def test_any_text_is_read_or_refused_with_a_column_inside(text: str) -> None:
    column = 1
    try:
        parse(text)
    except MatchError as error:
        column = error.column
    assert 1 <= column <= len(text) + 1
