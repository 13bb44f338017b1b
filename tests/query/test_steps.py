from __future__ import annotations

import pytest

from tailrace.query.logql import Logs, parse
from tailrace.query.row import Row
from tailrace.query.steps import Unwrap


def passed(query: str, line: bytes, stream: dict[str, str] | None = None) -> tuple[bytes, dict[str, str]] | None:
    logs = parse("{} " + query)
    assert isinstance(logs, Logs)
    row = Row(line, stream or {}, {}, None, open=False)
    return (row.line, row.known()) if all(step(row) for step in logs.steps) else None


@pytest.mark.parametrize(
    ("query", "line", "labels"),
    [
        ("| json", b'{"a":1}', {"a": "1"}),
        ('| json x="a.b[1]", y="c"', b'{"a":{"b":[1,"two"]}}', {"x": "two"}),
        ("| logfmt", b'a=1 b="two \\"x\\"" c= d', {"a": "1", "b": 'two "x"'}),
        ('| logfmt x="a"', b"a=1 b=2", {"x": "1"}),
        ('| regexp "(?P<verb>[A-Z]+) (?P<path>\\\\S+)"', b"-> GET /x", {"verb": "GET", "path": "/x"}),
        ('| pattern "<ip> - <_> [<t>]"', b"1.2.3.4 - joe [now]", {"ip": "1.2.3.4", "t": "now"}),
        ('| pattern "<a> = <b>"', b"no equals", {"a": "no equals"}),
        ('| json | label_format c=a, d="<{{.b}}>"', b'{"a":1,"b":2}', {"b": "2", "c": "1", "d": "<2>"}),
        ("| json | drop a", b'{"a":1,"b":2}', {"b": "2"}),
        ('| json | drop a="2", b="2"', b'{"a":1,"b":2}', {"a": "1"}),
        ("| json | keep a", b'{"a":1,"b":2}', {"a": "1"}),
        ("| json | a >= 1 | b != 2", b'{"a":1,"b":3}', {"a": "1", "b": "3"}),
        ('| json | (a="2" or b="3"), a=1', b'{"a":1,"b":3}', {"a": "1", "b": "3"}),
        ("| json | t > 1s and s < 5KB", b'{"t":"1.5s","s":"4KB"}', {"t": "1.5s", "s": "4KB"}),
    ],
)
def test_a_step_finds_labels(query: str, line: bytes, labels: dict[str, str]) -> None:
    assert passed(query, line) == (line, labels)


@pytest.mark.parametrize("query", ['| json | a="2"', "| json | a > 1", "| json | x > 0", '| json |= "zzz"'])
def test_a_filter_leaves_records_out(query: str) -> None:
    assert passed(query, b'{"a":1}') is None


@pytest.mark.parametrize(
    ("query", "line", "error"),
    [
        ("| json", b"no json", "JSONParserErr"),
        ('| json a="b"', b"no json", "JSONParserErr"),
        ("| unpack", b"[1]", "JSONParserErr"),
        ("| logfmt --strict", b'a="open', "LogfmtParserErr"),
        ("| json | a > 5", b'{"a":"many"}', "LabelFilterErr"),
        ('| json | line_format "{{ duration .a }}"', b'{"a":"many"}', "TemplateFormatErr"),
    ],
)
def test_what_a_step_cannot_do_is_marked_and_the_record_stays(query: str, line: bytes, error: str) -> None:
    found = passed(query, line)
    assert found is not None
    assert found[0] == line
    assert found[1]["__error__"] == error


def test_a_line_is_written_anew_and_read_again() -> None:
    assert passed('| json | line_format "x={{.a}}" | logfmt | x="1"', b'{"a":1}') == (b"x=1", {"a": "1", "x": "1"})
    assert passed("| unpack", b'{"_entry":"the line","pod":"p"}') == (b"the line", {"pod": "p"})
    assert passed("| decolorize", b"\x1b[31mred\x1b[0m") == (b"red", {})


@pytest.mark.parametrize(
    ("unwrap", "text", "value"),
    [
        (Unwrap("a"), "1.5", 1.5),
        (Unwrap("a", "duration"), "250ms", 0.25),
        (Unwrap("a", "bytes"), "5KB", 5000),
        (Unwrap("b"), "1", None),
    ],
)
def test_unwrap_reads_numbers_durations_and_sizes(unwrap: Unwrap, text: str, value: float | None) -> None:
    assert unwrap.value(Row(b"", {"a": text}, {}, None, open=False)) == value
