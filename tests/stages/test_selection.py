"""Selection: what an expression selects, column by column."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailrace.pipeline.batch import Batch
from tailrace.pipeline.match import Match
from tailrace.stages._selection import Selection
from tailrace.testing import batch_of

EXPRESSIONS = (
    '{level="error"}',
    '{level!="error"}',
    '{level=""}',
    '{level!=""}',
    '{level=~"err.*|true|1"}',
    '{level!~"err.*"}',
    '{level!="", stage!=""}',
    '{level="error", stage="plan"}',
    '{level="error"} or {stage="plan"}',
    '{level=~"nothing"} or {stage=~"nothing"}',
    'not {level="error"}',
    '{level!=""} unless {stage="plan"}',
    '{level!=""} | ms > 1',
    "{} | ms >= 0",
    '{} |= "x"',
    '{stage="plan"} |~ "x|y" != "yy"',
    '{user.name="ann"}',
    '{user.name!=""} or {user.name=""}',
    '{source="test"}',
    '{source="own", level!=""}',
)
values: st.SearchStrategy[Any] = st.sampled_from(
    [None, "", "error", "plan", "info", 0, 1, 1.0, True, False, "true", "1", [], ["a"], {}]
)
rows = st.fixed_dictionaries(
    {},
    optional={
        "level": values,
        "stage": values,
        "ms": st.sampled_from([None, 0, 2, "3", "x", True]),
        "user": st.just({"name": "ann"}) | values,
        "user.name": st.sampled_from(["ann", None]),
        "source": st.sampled_from(["own", None]),
    },
)


def batch(fields: list[dict[str, Any]], *, made: bool) -> Batch:
    """A batch with these fields, with records or without."""
    result = batch_of(*(b"xy"[: place % 3] for place in range(len(fields))))
    assert result.columns is not None
    found = [{**own, "place": place} for place, own in enumerate(fields)]
    result.columns.read("text", found, [10 + place for place in range(len(fields))], None)
    assert not made or len(result.records) == len(fields)
    return result


@pytest.mark.parametrize("text", EXPRESSIONS)
@settings(max_examples=30)
@given(fields=st.lists(rows, max_size=8), made=st.booleans())
def test_it_selects_what_the_expression_selects_of_records(text: str, fields: list[dict[str, Any]], made: bool) -> None:
    given = batch(fields, made=made)
    selected = Selection(given).select(Match(text))
    assert (given.columns is None) == made
    expected = Match(text).select(batch(fields, made=True))
    assert len(selected) == len(expected)
    assert selected["place"] == [record.fields["place"] for record in expected]
    assert selected["level"] == [record.fields.get("level") for record in expected]
    assert selected.times == [record.time_ns for record in expected]


def test_where_all_records_match_it_is_the_same_selection() -> None:
    whole = Selection(batch([{"level": "error"}, {"level": "info"}], made=False))
    assert whole.select(Match('{level!=""}')) is whole
    assert whole.select(Match('{level=~"error|info"}')) is whole


@pytest.mark.parametrize(
    ("column", "is_text"),
    [(["a", "b"], True), (["a", None], True), ([], True), (["a", 1], False), ([None, True], False), ([["a"]], False)],
    ids=str,
)
def test_text_is_text_or_nothing(column: list[Any], is_text: bool) -> None:
    assert Selection(batch([{"k": value} for value in column], made=False)).is_text("k") is is_text
