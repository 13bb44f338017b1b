"""Formats: from a line to its fields."""

from __future__ import annotations

from time import process_time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.pipeline.options import Regex
from tailrace.stages._formats import (
    AUTO,
    FORMATS,
    json_object,
    logfmt,
    prefixed_json,
    python,
    regex,
    times_and_levels,
)
from tailrace.stages._text_lines import Reader

T = "2026-11-03 10:00:00,123"


def record(level: str, message: str, logger: str | None = None, time: str | None = T) -> dict[str, Any]:
    fields = {"timestamp": time, "level": level, "logger": logger, "message": message}
    return {name: value for name, value in fields.items() if value is not None}


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        pytest.param(f"{T} INFO app.db: ready", record("info", "ready", "app.db"), id="colon"),
        pytest.param(f"{T} WARN app.db - slow", record("warning", "slow", "app.db"), id="dash"),
        pytest.param(f"{T} - app.db - ERROR - gone", record("error", "gone", "app.db"), id="dashes"),
        pytest.param(f"{T} - my app.db - ERROR - gone", None, id="a logger has no blanks"),
        pytest.param(f"{T} - APP - ERROR - gone", record("error", "gone", "APP"), id="dashes, logger in capitals"),
        pytest.param(f"{T} - INFO - up", record("info", "up"), id="dashes without logger"),
        pytest.param(f"{T} DEBUG a.b.c attempt=1/5", record("debug", "attempt=1/5", "a.b.c"), id="dotted logger"),
        pytest.param(f"{T} INFO Starting up", record("info", "Starting up"), id="no logger"),
        pytest.param(f"{T} INFO     app: up", record("info", "up", "app"), id="padded"),
        pytest.param(f"{T} [INFO] app: up", record("info", "up", "app"), id="brackets"),
        pytest.param(f"{T} FATAL app: http://x: y", record("critical", "http://x: y", "app"), id="colons in message"),
        pytest.param(f"{T} INFO http://x: y", record("info", "http://x: y"), id="a URL is no logger"),
        pytest.param(
            f"{T} ERROR app:\nTraceback", record("error", "\nTraceback", "app"), id="message on the next line"
        ),
        pytest.param(f"{T} ERROR app: a\n  b\nc", record("error", "a\n  b\nc", "app"), id="several lines"),
        pytest.param(f"{T} ERROR app: a\r", record("error", "a", "app"), id="CRLF"),
        pytest.param(f"\ufeff{T} INFO app: a", record("info", "a", "app"), id="byte order mark"),
        pytest.param(f"{T} INFO app: a\0b", record("info", "a\ufffdb", "app"), id="NUL"),
        pytest.param("2026-11-03 10:00:00 INFO app: a", record("info", "a", "app", T[:19]), id="no fraction"),
        pytest.param(
            "2026-11-03T10:00:00.1Z INFO app: a", record("info", "a", "app", "2026-11-03T10:00:00.1Z"), id="ISO"
        ),
        pytest.param("ERROR:app.db:gone: x", record("error", "gone: x", "app.db", None), id="basicConfig"),
        pytest.param("INFO:root:", record("info", "", "root", None), id="basicConfig, empty"),
        pytest.param(f"{T} GET /index", None, id="no level"),
        pytest.param("NOTE:app:x", None, id="no level before a colon"),
        pytest.param('  File "x.py", line 3', None, id="a traceback alone"),
        pytest.param("", None, id="empty"),
    ],
)
def test_python_logging(line: str, fields: dict[str, Any] | None) -> None:
    assert python([b"x", line.encode(), f"{T} INFO q: z".encode()]) == [None, fields, record("info", "z", "q")]


@pytest.mark.parametrize(
    "others",
    [
        [],
        [f"{T} INFO app: é\u2713\udcff\r"],
        [f"{T} INFO app: a\0b", "2026-11-03T10:00:00.123 INFO app: b"],
        ["2026-11-0\u0663 10:00:00,123 INFO app: c", "0026-11-03_10:00:00,123 INFO app: d", f"{T} INFO app"],
        [f"{T} - [WARNING] приложение: e", f"{T} INFO " + "x" * 300 + ": f", f"{T} INFO a b: g", f"{T}INFO a: h"],
    ],
    ids=["alone", "not ASCII", "layouts", "nearly times", "loggers"],
)
def test_usual_lines_say_the_same_whatever_stands_beside_them(others: list[str]) -> None:
    lines = [f"{T} INFO app.db: {n}: x".encode() for n in range(3)]
    odd = [other.encode("utf-8", "surrogateescape") for other in others]
    assert python([*odd, *lines])[len(odd) :] == [record("info", f"{n}: x", "app.db") for n in range(3)]
    assert python([*odd, *lines])[: len(odd)] == [fields for line in odd for fields in python([line])]


START = st.sampled_from(
    [T, T, T, "2026-11-03T10:00:00.123", T[:19], T + "4", f"\ufeff{T}", "2026-11-0\u0663 10:00:00,12", ""]
)
LEVEL = st.sampled_from(
    [" INFO ", " WARN  ", " - ERROR - ", " [DEBUG] ", " NOTE ", "INFO ", " | INFO | ", " \x1b[1mINFO "]
)
REST = st.sampled_from(
    ["app.db: x", "up", "- app - x", "-x", " -x", "", "\n", "\r", "a\0b", "\x1b[0m-x", '{"level": "x"}', "é", "€" * 20]
)


@given(st.lists(st.tuples(START, LEVEL, REST, st.text(max_size=9)).map("".join), min_size=1, max_size=3))
def test_time_and_level_alone_are_what_they_are_beside_the_rest(texts: list[str]) -> None:
    lines = [text.encode() for text in texts]
    fields = python(lines)
    found = times_and_levels(lines)
    if found is not None:
        table, levels = found
        times = [table[at : at + 23] for at in range(0, len(table), 23)]
        assert list(zip(times, levels, strict=True)) == [
            (one and one["timestamp"], one and one["level"]) for one in fields
        ]
        assert all(one and one.keys() <= {"timestamp", "level", "logger", "message"} for one in fields)


def test_time_and_level_of_usual_lines_are_told_alone() -> None:
    lines = [f"{T} INFO app.db: a\xff".encode("latin-1"), f"{T} FATAL up\nValueError".encode()]
    assert times_and_levels(lines) == (T + T, ["info", "critical"])
    assert times_and_levels([*lines, b"2026-11-03 10:00:00 INFO app.db: a"]) is None


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        pytest.param(f'{T} INFO {{"event":"x"}}', {"timestamp": T, "level": "info", "event": "x"}, id="session log"),
        pytest.param(f'{T} INFO {{"level":"HIGH"}}', {"timestamp": T, "level": "HIGH"}, id="the object's own level"),
        pytest.param(
            f'{T} INFO {{"a":"\u2028\u0085"}}', {"timestamp": T, "level": "info", "a": "\u2028\u0085"}, id="U"
        ),
        pytest.param(
            f'{T} INFO {{"a":1}}\nTraceback:\n  x',
            {"timestamp": T, "level": "info", "a": 1, "message": "Traceback:\n  x"},
            id="a traceback after it",
        ),
        pytest.param(f'{T} INFO {{"a":1', None, id="cut off"),
        pytest.param(
            f'{T} INFO app: {{"a":1}}',
            {"timestamp": T, "level": "info", "logger": "app", "a": 1},
            id="a logger before it",
        ),
        pytest.param('INFO:app:{"a":1}', {"level": "info", "logger": "app", "a": 1}, id="basicConfig"),
        pytest.param('{"a":1}', None, id="no prefix"),
    ],
)
def test_prefixed_json(line: str, fields: dict[str, Any] | None) -> None:
    assert prefixed_json([line.encode()]) == [fields]


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        pytest.param("a=1 b=two", {"a": "1", "b": "two"}, id="pairs"),
        pytest.param('a="x y" b=""', {"a": "x y", "b": ""}, id="quotes"),
        pytest.param(r'a="say \"hi\"\n\u00e9"', {"a": 'say "hi"\né'}, id="escapes"),
        pytest.param(r'a="\q"', {"a": r"\q"}, id="an escape that is none"),
        pytest.param(r'a="\ud800"', {"a": r"\ud800"}, id="a lone surrogate"),
        pytest.param("a= b=2", {"a": "", "b": "2"}, id="empty value"),
        pytest.param("a=1 debug b=2", {"a": "1", "debug": True, "b": "2"}, id="a key alone"),
        pytest.param("u=a==b", {"u": "a==b"}, id="equals in a value"),
        pytest.param("level=WARN msg=x", {"level": "warning", "msg": "x"}, id="level"),
        pytest.param("level=error msg=x\nTraceback", {"level": "error", "msg": "x\nTraceback"}, id="several lines"),
        pytest.param('a="x\ny"', {"a": "x\ny"}, id="a line break in quotes"),
        pytest.param("hello a=1", None, id="prose"),
        pytest.param('a="x', None, id="open quote"),
        pytest.param('a="x"y', None, id="text after a quote"),
        pytest.param("=1", None, id="no key"),
        pytest.param("", None, id="empty"),
    ],
)
def test_logfmt(line: str, fields: dict[str, Any] | None) -> None:
    assert logfmt([line.encode()]) == [fields]


@pytest.mark.parametrize(
    ("pattern", "line", "fields"),
    [
        pytest.param(r"(\d+) (?P<b>\w+)(?P<c>!)?", "1 x", {"b": "x", "message": "1 x"}, id="optional group"),
        pytest.param(r"^(?P<level>\w+) (?P<message>.*)$", "WARN a", {"level": "warning", "message": "a"}, id="level"),
        pytest.param(r"^(?P<message>\w+)$", "a\nTrace\n b", {"message": "a\nTrace\n b"}, id="several lines"),
        pytest.param(r"(?P<a>x)\n(?P<b>y)", "x\ny", {"a": "x", "b": "y", "message": "x\ny"}, id="over lines"),
        pytest.param(r"(?P<a>\d)", "x", None, id="no match"),
    ],
)
def test_regex(pattern: str, line: str, fields: dict[str, Any] | None) -> None:
    assert regex(Regex(pattern))([line.encode()]) == [fields]


@pytest.mark.parametrize(
    ("data", "fields"),
    [
        pytest.param(b'\xef\xbb\xbf{"a":1}', {"a": 1}, id="byte order mark"),
        pytest.param(b'{"a":NaN,"b":-Infinity}', {"a": None, "b": None}, id="NaN"),
        pytest.param(b'{"a":"x\xff"}', {"a": "x\ufffd"}, id="not UTF-8"),
        pytest.param(rb'{"a":"\ud800","\udfff":1}', {"a": "?", "?": 1}, id="lone surrogates"),
        pytest.param(b'{"a":1,"a":2}', {"a": 2}, id="the last of equal keys"),
        pytest.param(b'{"a":123456789012345678901234567890}', {"a": 123456789012345678901234567890}, id="large number"),
        pytest.param(b'{\n "a": 1\n}', {"a": 1}, id="pretty-printed"),
        pytest.param(b'{"message":"m"}\nTrace', {"message": "m\nTrace"}, id="a traceback after it"),
        pytest.param(b'{"a":1} x', None, id="text after it"),
        pytest.param(b'{"a":1}{"a":2}', None, id="two"),
        pytest.param(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", None, id="deep"),
        pytest.param(b'{"a":1' + b"0" * 9999 + b"}", None, id="endless number"),
        pytest.param(b'{"a":1e999}', None, id="out of range"),
        pytest.param(b"[1]", None, id="a list"),
        pytest.param(b"1", None, id="a number"),
        pytest.param(b"", None, id="empty"),
    ],
)
def test_nearly_json(data: bytes, fields: dict[str, Any] | None) -> None:
    assert json_object(data) == fields


TOKENS = st.sampled_from(
    [T.encode(), b"INFO", b"ERROR", b" ", b"  ", b":", b" - ", b"app.db", b"app", b'{"a":1}', b"{", b"}", b'"', b"\\",
     b"a=1", b"=", b"\0", b"\n", b"\r", b"\xff", b"\xc3", b"\xa9", b"\xef\xbb\xbf", b"[", b"]", b"x y",
     b"<34>", b"<34>1 ", b"Nov  3 10:00:00 ", b"host ", b"app[1]: ", b"app: ", b"2026-11-03T10:00:00Z ", b"stdout F ",
     b"stderr P ", b"- - [03/Nov/2026:10:00:00 +0000] ", b'"GET / HTTP/1.1" 200 5', b" | INFO | a:b:1 - ",
     b"[info     ] ", b"- ", b"INFO:a:b "]
)  # fmt: skip
LINES = st.lists(st.one_of(st.lists(TOKENS, max_size=9).map(b"".join), st.binary(max_size=40)), max_size=6)
READERS = {**FORMATS, "regex": regex(Regex(r"^(?P<a>\S+) (?P<level>\w+)")), **{f"auto {n}": r for n, r in AUTO.items()}}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS.keys())
@given(lines=LINES)
def test_any_bytes_give_one_result_a_line_whatever_stands_beside(read: Reader, lines: list[bytes]) -> None:
    assert read(lines) == [fields for line in lines for fields in read([line])]


@given(lines=LINES)
def test_no_line_fits_two_formats_of_auto_differently(lines: list[bytes]) -> None:
    for line in lines:
        found = [fields for read in AUTO.values() if (fields := read([line])[0]) is not None]
        assert all(fields == found[0] for fields in found)


@pytest.mark.parametrize("read", READERS.values(), ids=READERS.keys())
@pytest.mark.parametrize("unit", [b"a.", b"a=", b'="', b'\\"', b" - ", b"INFO:", b"a=1 ", T.encode() + b" "])
def test_no_line_takes_more_than_linear_time(read: Reader, unit: bytes) -> None:
    # A quadratic pattern takes minutes for these 400 kB, a linear one a fraction of a second.
    body = unit * (400_000 // len(unit))
    start = process_time()
    read([T.encode() + b" INFO " + body, T.encode() + b' INFO {"a":"' + body, body, body + b'"'])
    assert process_time() - start < 10
