from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailrace.pipeline.batch import Batch
from tailrace.pipeline.match import Field, Line, Match, MatchError, line_scanner, text_of
from tailrace.pipeline.options import Regex, decode_option
from tailrace.pipeline.record import Record
from tailrace.testing import batch_of

RECORDS: list[dict[str, Any]] = [
    {"id": "1", "level": "error", "status": 200, "message": "connection refused", "app": "api"},
    {"id": "2", "level": "critical", "status": 500, "message": "Timeout reached", "app": "api", "retry": True},
    {"id": "3", "level": "info", "status": "503", "message": "ok a+b", "app": "web", "retry": False},
    {"id": "4", "level": "debug", "status": "abc", "message": "tab\there"},
    {"id": "5", "level": "warn", "message": "größe äöü", "app": "errors", "error_type": "ValueError"},
    {"id": "6", "level": "info", "status": 1.5, "message": "multi\nline Timeout", "app": "web", "error_type": None},
    {"id": "7", "level": "Error", "status": -3, "message": 'say "hi"', "user": {"name": "Ann", "ids": [1, 2]}},
]


def batch_from(*records: dict[str, Any]) -> Batch:
    batch = batch_of(*[msgspec.json.encode(record) for record in records])
    for record in batch.records:
        record.format = "json"
    return batch


def ids(records: list[Record]) -> str:
    return "".join(record.fields["id"] for record in records)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", "1234567"),
        ('{level="error"}', "1"),
        ('{} |> "<_>Timeout<_>"', "26"),
        ('{} |> "<_>Timeout"', ""),
        ('{} !> "<_>Timeout<_>"', "13457"),
        ('{} |> "<_>\\"id\\":\\"1\\"<_>" or "<_>größe<_>"', "15"),
        ('{level!="error"}', "234567"),
        ('{level=~"error|critical"}', "12"),
        ('{level=~"err"}', ""),
        ('{level=~"(?i)error"}', "17"),
        ('{level!~"e.*|info"}', "2457"),
        ('{ level =~ "error|critical" , app = "api" , id != "1" }', "2"),
        ('{app=""}', "47"),
        ('{app!=""}', "12356"),
        ('{app=~".*"}', "1234567"),
        ('{app=~"|web"}', "3467"),
        ('{error_type=""}', "123467"),
        ('{status="200"}', "1"),
        ('{status="1.5"}', "6"),
        ('{status="-3"}', "7"),
        ('{retry="true"}', "2"),
        ('{retry="false"}', "3"),
        ('{retry="1"}', ""),
        ('{message=~"multi.*Timeout"}', "6"),
        ('{user.name="Ann"}', "7"),
        ('{user.name=""}', "123456"),
        ('{user.ids="[1,2]"}', "7"),
        ('{user.name.first=""}', "1234567"),
        ('{} |= "Timeout"', "26"),
        ('{} != "Timeout"', "13457"),
        ('{} |= "Timeout" or "refused"', "126"),
        ('{} |= "Timeout" OR `a+b` != "web"', "2"),
        ('{} != "Timeout" or "refused"', "3457"),
        ('{} |~ "refused|t.b"', "14"),
        ('{} !~ "refused|t.b"', "23567"),
        ('{} |~ "re[f]used" or "gr..e"', "15"),
        ('{} |~ "^.{1,9}1"', "1"),
        ('{} |~ `\\A\\{"id":"2"`', "2"),
        ('{} |= ""', "1234567"),
        ('{} != ""', ""),
        ('{} |= "gr\\u00f6\\xc3\\237e"', "5"),
        ('{app="api"}|="reached"|~"T"!="x"!~"z"', "2"),
        ("{} | status >= 500", "23"),
        ("{} | status == 200", "1"),
        ("{} | status = 200", "1"),
        ("{} | status != 200", "2367"),
        ("{} | status < 2", "67"),
        ("{} | status > -3.5", "12367"),
        ("{} | status <= 1.5e0", "67"),
        ("{} | missing != 5", ""),
        ('{} | missing != "5"', "1234567"),
        ('{} | level="info" | app="web" |= "ok"', "3"),
        ('{} | app="api" and level="error" or level="info"', "136"),
        ('{} | app="errors" or app="api" and level="info"', "5"),
        ('{} | app="api", level="info" or app="errors"', ""),
        ('{} | app="api" level="info" or level="error"', "1"),
        ('{} | (app="errors" or app="api") and level="error"', "1"),
        ('{level=~"error|critical"} or {error_type!=""}', "125"),
        ('{app="web"} | level="info" or level="debug" or {level="warn"} |= "äöü"', "356"),
        ('{app="api"} |= "refused" or {id="4"}', "14"),
        ('{app="api"} and {level="error"} or {id="4"}', "14"),
        ('{app="api"} unless {level="error"}', "2"),
        ('not {app="api"} and not ({level="info"} or {level="warn"})', "47"),
        ('({app="api"} or {app="web"}) |= "Timeout"', "26"),
        ('{app="api"} | level="error" and {id="1"}', "1"),
        ('{app="api"} # a comment\n | level="error"', "1"),
    ],
)
def test_it_selects_what_loki_would_select(text: str, expected: str) -> None:
    batch = batch_from(*RECORDS)
    match = Match(text)
    assert ids(match.select(batch)) == expected
    assert ids([r for r in batch.records if match.matches(r, {})]) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", 'expected a label matcher such as {level="error"} at column 1'),
        ("level", "at column 1, found 'level'"),
        ("{level}", "expected one of = != =~ !~ after level at column 7, found '}'"),
        ("{level=error}", "expected text in quotes, such as \"error\" at column 8, found 'error'"),
        ('{level="error"', "expected `,` or `}` at column 15"),
        ('{level="error" app="x"}', "expected `,` or `}` at column 16"),
        ('{level="error",}', 'expected a label matcher such as {level="error"} at column 16'),
        ('{or="error"}', "at column 2"),
        ('{level="error}', "expected the closing quote at column 8"),
        ("{level='error'}", "at column 8"),
        ("{} |", "expected a label filter such as status >= 500 at column 5"),
        ("{} | json", "expected one of = != =~ !~ == > >= < <= after json at column 10"),
        ("{} | took > 10s", "expected a plain number (durations and sizes are not understood) at column 13"),
        ('{} | status > "5"', "expected a number after > at column 15"),
        ('{} |> "<_><_> x"', "two <_> side by side: write one at column 7"),
        ('{} !> "<ip> x"', "<ip> has a name: in a line filter write <_> at column 7"),
        ('{} |= "a" or |= "b"', 'expected a label matcher such as {level="error"} at column 14'),
        ('{} "a"', "expected a filter, `or`, `and` or the end at column 4"),
        ("({}", "expected `)` at column 4"),
        ('{} | (a="x"', "expected `)` at column 12"),
        ('{level=~"a("}', "missing ): a( at column 9"),
        ('{} |~ "a" or "("', "missing ): ( at column 14"),
        (r'{} |= "\w"', r"\w is no escape: write \\w, or the text between backticks, at column 7"),
        (r'{} |= "\ud800"', r"\ud800 is no escape"),
        (r'{} |= "\U00110000"', r"\U00110000 is no escape"),
        (r'{} |= "\xff"', "expected UTF-8 at column 7"),
        ("{} |= \x00", "at column 7"),
        ('{} |~ "' + '" or "'.join([f"{n}[^a]{{999}}" for n in range(99)]) + '"', "pattern too large"),
        ("(" * 5000, "too many parentheses inside each other"),
    ],
)
def test_what_is_not_logql_is_refused_with_the_column(text: str, message: str) -> None:
    with pytest.raises(MatchError) as refused:
        Match(text)
    assert message in str(refused.value)
    assert 1 <= refused.value.column <= len(text) + 1


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({'level="error"': None}, "quotes around them"),
        (["{}"], "expected LogQL"),
        (None, "expected LogQL"),
    ],
    ids=["braces without quotes", "a list", "nothing"],
)
def test_yaml_that_is_not_text_is_refused_with_what_would_do(value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Match.decode(value)


def test_msgspec_decodes_it_as_an_option() -> None:
    match = msgspec.convert('{a="b"}', Match, dec_hook=decode_option)
    assert match.text == '{a="b"}'
    assert repr(match) == """Match('{a="b"}')"""


def test_it_names_every_field_that_it_reads_once() -> None:
    match = Match('{a="1", b!="2"} |= "x" | c >= 3 or (a=~"4" and d.e="5") or not {f="6"}')
    assert match.fields == ("a", "b", "c", "d.e", "d", "f")


def test_labels_of_the_partition_count_as_fields_where_the_record_has_none() -> None:
    batch = batch_of(b'{"id":"1"}', b'{"id":"2","file":"own.log"}', labels={"file": "app.log", "source": "s"})
    for record in batch.records:
        record.format = "json"
    assert ids(Match('{file="app.log"}').select(batch)) == "1"
    assert Match('{file="app.log"}').matches(batch.records[0], batch.labels)
    assert not Match('{file="app.log"}').matches(batch.records[0], {})


def test_a_flat_key_with_a_dot_goes_before_the_path() -> None:
    batch = batch_from({"id": "1", "a.b": "flat", "a": {"b": "deep"}}, {"id": "2", "a": {"b": "deep"}})
    assert ids(Match('{a.b="flat"}').select(batch)) == "1"
    assert ids(Match('{a.b="deep"}').select(batch)) == "2"


def test_line_filters_read_the_line_as_it_ships_and_decode_nothing() -> None:
    batch = batch_of(b"not json \xff\xfe error", b"ok", b"Traceback\n  File\nValueError: x", b"")
    for record in batch.records:
        record.format = "json"  # reading a field would raise
    assert Match('{} |= "error"').select(batch) == batch.records[:1]
    assert Match('{} |~ "Error: .$"').select(batch) == [batch.records[2]]
    assert Match("{} |~ `^$`").select(batch) == [batch.records[3]]
    assert Match("{}").fields == ()


def test_an_empty_batch_selects_nothing() -> None:
    assert Match('{a="b"} |~ "x|y" | c > 1 or not {}').select(batch_of()) == []


def test_the_same_record_twice_is_selected_twice() -> None:
    batch = batch_from({"id": "1"}, {"id": "2"})
    batch.records.append(batch.records[0])
    assert ids(Match('{id="2"} or {id="1"}').select(batch)) == "121"


def test_what_a_regex_said_about_values_is_remembered_within_bounds() -> None:
    match = Match('{id=~".*7"}')
    for start in range(0, 20_000, 1_000):
        found = match.select(batch_from(*[{"id": str(n)} for n in range(start, start + 1_000)]))
        assert len(found) == 100
    assert isinstance(match.expression, Field)
    assert len(match.expression.test.__self__) <= 4096  # type: ignore[attr-defined]  # a bound method of the cache


def test_a_lone_surrogate_is_a_character_and_breaks_nothing() -> None:
    batch = batch_of(b"x")
    batch.records[0].parsed = {"a": "\ud800", "b": ["\ud800"]}
    assert Match('{a=~".", b!="x"}').select(batch) == batch.records
    assert Match('{a=""} or {b=""}').select(batch) == []


@settings(deadline=None)
@given(st.text(alphabet='{}()|=!~<>,"`\\ \nabornotd.1#', max_size=40))
def test_any_text_is_either_an_expression_or_refused(text: str) -> None:
    try:
        match = Match(text)
    except MatchError as error:
        column = error.column
    else:
        assert match.select(batch_from()) == []
        column = 1
    assert 1 <= column <= len(text) + 1


@settings(deadline=None)
@given(st.text())
def test_any_text_can_be_quoted_as_json_quotes_it(text: str) -> None:
    quoted = json.dumps(text, ensure_ascii=False)
    expression = Match(f"{{a={quoted}}}").expression
    assert expression == Field("a", "=", text)


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["1", "ab"]),
)


@settings(deadline=None)
@given(st.lists(VALUES, max_size=8), VALUES)
def test_equality_and_its_negation_split_every_batch(values: list[Any], wanted: Any) -> None:
    batch = batch_from(*[{"a": value, "n": n} for n, value in enumerate(values)])
    text = json.dumps(text_of(wanted))
    same, other = Match(f"{{a={text}}}").select(batch), Match(f"{{a!={text}}}").select(batch)
    assert [r.fields["n"] for r in same] == [n for n, v in enumerate(values) if text_of(v) == text_of(wanted)]
    assert sorted(r.fields["n"] for r in same + other) == list(range(len(values)))


PIECES = [
    "a",
    "b",
    r"\s",
    "[^a]",
    ".",
    "*",
    "+",
    "?",
    "|",
    "^",
    "$",
    r"\b",
    r"\B",
    r"\W",
    "(?s:.)",
    "(?i)A",
    r"\n",
    "()",
]


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=5).map("".join),
    st.lists(st.text("abA .", max_size=4).map(str.encode), min_size=1, max_size=5),
)
def test_scanning_joined_lines_finds_what_searching_each_finds(pattern: str, lines: list[bytes]) -> None:
    try:
        search = Regex(pattern).search
    except ValueError:
        return
    assert line_scanner(pattern) is not None
    batch = batch_of(*lines)
    assert Line("|~", (pattern,)).select(batch) == [r for r in batch.records if search(r.line)]
    assert Line("!~", (pattern,)).select(batch) == [r for r in batch.records if not search(r.line)]
