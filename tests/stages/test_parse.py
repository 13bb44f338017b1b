"""Parse: fields and time from lines of any kind, the lines untouched."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import accumulate, pairwise
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailrace.pipeline.batch import Batch
from tailrace.pipeline.options import decode_option
from tailrace.pipeline.record import Record
from tailrace.stages.parse import Parse
from tailrace.testing import batch_of, lines_of, run_stage

TIME = 1_793_700_000_000_000_000
ISO = "2026-11-03T10:00:00Z"
PYTHON = b"2026-11-03 10:00:00,000 WARN app.db: slow"
SESSION = b'2026-11-03 10:00:00,000 INFO {"event": "turn", "stage": "Refine"}'
JSON = b'{"ts": "2026-11-03T10:00:00.000Z", "level": "WARN", "a": {"b": 1}}'
LOGFMT = b"ts=2026-11-03T10:00:00Z level=WARN msg=x"


def parse(**options: Any) -> Parse:
    stage = msgspec.convert(options, Parse, dec_hook=decode_option)
    assert list(stage.check()) == []
    return stage


def failures(stage: Parse) -> dict[str, float]:
    samples = [sample for family in stage.collect() for sample in family.samples]
    assert all(sample.labels["component"] == stage.name for sample in samples)
    return {sample.labels["reason"]: sample.value for sample in samples if sample.value}


def the_time() -> int:
    record = run_stage(parse(), batch_of(JSON)).records[0]
    assert record.time_ns is not None
    return record.time_ns


def test_json_has_only_the_wanted_fields_and_the_time() -> None:
    record = run_stage(parse(format="json"), batch_of(JSON), ["level"]).records[0]
    assert (record.format, record.line) == ("json", JSON)
    assert record.fields == {"ts": "2026-11-03T10:00:00.000Z", "level": "WARN"}
    assert record.whole() == json.loads(JSON)


@pytest.mark.parametrize("format", ["python", "auto"])
@pytest.mark.parametrize(
    "lines",
    [
        pytest.param([PYTHON, b"2026-11-03 10:00:00,123 INFO up: \xff\nTraceback"], id="usual"),
        pytest.param([PYTHON, SESSION], id="an object as message"),
        pytest.param([PYTHON, b"no record"], id="another line"),
        pytest.param([PYTHON, b"2026-13-03 10:00:00,123 INFO up"], id="no time"),
    ],
)
def test_text_of_which_little_is_wanted_says_the_same_when_it_is_asked(format: str, lines: list[bytes]) -> None:
    whole, little = (parse(format=format) for _ in range(2))
    little.prepare(frozenset({"level", "user"}))
    state: dict[str, Any] = {"": {"format": "python"}}
    for _ in range(3):
        expected = run_stage(whole, batch_of(*lines, state=dict(state)))
        batch = run_stage(little, batch_of(*lines, state=dict(state)), ["level", "user"])
        assert [batch.values(name) for name in ("level", "user")] == [expected.values(n) for n in ("level", "user")]
        assert [(r.time_ns, r.fields) for r in batch.records] == [(r.time_ns, r.fields) for r in expected.records]
    assert failures(whole) == failures(little)


def test_of_text_only_what_is_wanted_is_read_until_somebody_asks_for_more() -> None:
    stage = parse(format="python")
    batch = run_stage(stage, batch_of(PYTHON), ["level"])
    assert batch.columns is not None
    assert batch.columns.values("level") == ["warning"]
    assert not stage._whole
    assert batch.columns.values("logger") == ["app.db"]
    assert stage._whole


def test_json_has_all_fields_when_any_may_be_read() -> None:
    assert run_stage(parse(format="json"), batch_of(JSON)).records[0].fields == json.loads(JSON)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        pytest.param(b'{"a": {"b": {"c": 1}}}', 1, id="nested"),
        pytest.param(b'{"a.b.c": 2, "a": {"b": {"c": 1}}}', 2, id="a field of that very name"),
        pytest.param(b'{"a": {"b": 1}}', None, id="not deep enough"),
        pytest.param(b'{"a": [1]}', None, id="a list"),
        pytest.param(b'{"x": 1}', None, id="missing"),
        pytest.param(b'2026-11-03 10:00:00,000 INFO {"a": {"b": {"c": 1}}}', 1, id="in a session log"),
    ],
)
def test_a_wanted_name_with_dots_reaches_into_objects(line: bytes, found: int | None) -> None:
    assert run_stage(parse(), batch_of(line), ["a.b.c"]).records[0].fields.get("a.b.c") == found


def test_a_nested_time_can_be_named() -> None:
    stage = parse(format="json", timestamp=["meta.at"])
    assert run_stage(stage, batch_of(b'{"meta": {"at": 1793700000}}'), []).records[0].time_ns == TIME


OTHERS = {
    "cri": b'2026-11-03T10:00:00Z stdout F {"level": "WARN"}',
    "docker": b'{"log":"level=WARN msg=x\\n","stream":"stdout","time":"2026-11-03T10:00:00Z"}',
    "syslog": b"<28>1 2026-11-03T10:00:00Z host app 7 - - x",
    "combined": b'127.0.0.1 - - [03/Nov/2026:10:00:00 +0000] "GET / HTTP/1.1" 200 5',
    "structlog": b"2026-11-03 10:00:00 [warning  ] slow                           a=1",
    "loguru": b"2026-11-03 10:00:00.000 | WARNING  | app:f:1 - slow",
}


@pytest.mark.parametrize("form", OTHERS)
def test_auto_finds_what_servers_and_containers_write(form: str) -> None:
    stage, state = parse(), dict[str, Any]()
    for _ in range(2):
        record = run_stage(stage, batch_of(OTHERS[form], state=state)).records[0]
        assert (record.time_ns, record.format, record.line) == (the_time(), "text", OTHERS[form])
        assert state == {"parse": {"format": "python" if form == "loguru" else form}}
    assert failures(stage) == {}
    alone = run_stage(parse(format="python" if form == "loguru" else form), batch_of(OTHERS[form])).records[0]
    assert (alone.fields, alone.time_ns) == (record.fields, record.time_ns)


def test_auto_decides_anew_when_a_partition_changes() -> None:
    state: dict[str, Any] = {}
    for line, form in ((PYTHON, "python"), (OTHERS["docker"], "docker"), (JSON, "json"), (OTHERS["cri"], "cri")):
        run_stage(parse(), batch_of(line, line, state=state))
        assert state == {"parse": {"format": form}}


def test_an_object_that_only_looks_like_dockers_is_json() -> None:
    stage = parse()
    record = run_stage(stage, batch_of(b'{"log":"x","a":1}')).records[0]
    assert (record.format, record.fields, failures(stage)) == ("json", {"log": "x", "a": 1}, {})


def test_pairs_in_a_message_become_fields_with_their_types() -> None:
    stage = parse(pairs=True, types={"status": "int", "took": "float", "ok": "bool", "n": "int", "level": "int"})
    line = b"2026-11-03 10:00:00,000 INFO app: done status=200 took=1.5 ok=yes n=many level=9 logger=x"
    record = run_stage(stage, batch_of(line)).records[0]
    assert record.fields == {
        "timestamp": "2026-11-03 10:00:00,000",
        "level": "info",
        "logger": "app",
        "message": line.decode()[34:],
        "status": 200,
        "took": 1.5,
        "ok": True,
        "n": "many",
    }
    assert failures(stage) == {"bad_value": 2}


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("int", " 12 ", 12), ("int", "-3", -3), ("int", "1.5", "1.5"), ("int", "1_000", "1_000"), ("int", "٣", "٣"),
        ("int", "", ""), ("float", "1e3", 1000.0), ("float", "nan", "nan"), ("float", "1e999", "1e999"),
        ("bool", "False", False), ("bool", "2", "2"), ("bool", "on", True),
    ],
    ids=str,
)  # fmt: skip
def test_a_group_gets_its_type_or_stays_text(kind: str, text: str, value: Any) -> None:
    stage = parse(format="regex", pattern=r"^v=(?P<v>.*)$", types={"v": kind})
    assert run_stage(stage, batch_of(f"v={text}".encode())).records[0].fields["v"] == value
    assert failures(stage) == ({"bad_value": 1} if isinstance(value, str) else {})


def test_syslog_without_a_year_gets_that_of_the_time_of_reading() -> None:
    record = run_stage(parse(format="syslog"), batch_of(b"Nov  3 10:00:00 host app: x")).records[0]
    assert record.time_ns == the_time() - 365 * 86400 * 10**9


@pytest.mark.parametrize("line", [JSON, SESSION, PYTHON, LOGFMT], ids=["json", "prefixed_json", "python", "logfmt"])
def test_auto_finds_the_format_and_its_time(line: bytes) -> None:
    stage = parse()
    record = run_stage(stage, batch_of(line)).records[0]
    assert record.time_ns == the_time()
    assert record.format == ("json" if line == JSON else "text")
    assert failures(stage) == {}


def test_auto_remembers_what_a_partition_holds() -> None:
    state: dict[str, Any] = {}
    run_stage(parse(), batch_of(PYTHON, PYTHON, JSON, state=state))
    assert state == {"parse": {"format": "python"}}
    run_stage(parse(), batch_of(PYTHON, JSON, JSON, state=state))
    assert json.loads(json.dumps(state)) == {"parse": {"format": "json"}}


def test_auto_keeps_its_mind_when_nothing_fits() -> None:
    state: dict[str, Any] = {"parse": {"format": "python"}}
    run_stage(parse(), batch_of(b"hello", state=state))
    run_stage(parse(), batch_of(state=state))
    assert state == {"parse": {"format": "python"}}


@pytest.mark.parametrize("state", [{}, {"parse": {"format": "gone"}}, {"parse": {"format": "logfmt"}}], ids=repr)
def test_a_mixed_batch_is_read_line_by_line(state: dict[str, Any]) -> None:
    stage = parse()
    records = run_stage(stage, batch_of(JSON, b"hello", SESSION, PYTHON, LOGFMT, b"{broken", state=state)).records
    assert [record.fields.get("level") for record in records] == ["WARN", None, "info", "warning", "warning", None]
    assert records[1].fields == {"message": "hello"}
    assert failures(stage) == {"no_match": 1, "not_json": 1}


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"   ",
        b"hello",
        b'{"a": 1',
        b"[1]",
        b'"a"',
        b"1",
        b"null",
        b'{"a": 1} {"b": 2}',
        b'{"a": 1} x',
        b"\x00",
        b"\xff\xfe",
        b'{"a": "\x00"} \x00',
        b'{"a": ' + b"[" * 100_000,
        b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
    ids=lambda line: repr(line[:20]),
)
def test_a_line_that_is_not_json_ships_as_it_is_and_is_counted(line: bytes) -> None:
    stage = parse(format="json")
    before, odd, after = run_stage(stage, batch_of(JSON, line, JSON), ["level"]).records
    assert (odd.line, odd.format, odd.time_ns) == (line, "text", None)
    assert odd.fields == {"message": line.decode("utf-8", "replace")}
    assert before.fields["level"] == after.fields["level"] == "WARN"
    assert failures(stage) == {"not_json": 1}


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param([b'{"level":"a"}{"level":"b"}', b"", b'{"level":"c"}'], id="two on one line, one empty"),
        pytest.param([b'{"level":', b'"a"}', b'{"level":"b"} {"level":"c"}'], id="one over two lines"),
    ],
)
def test_objects_stay_with_their_lines(lines: list[bytes]) -> None:
    records = run_stage(parse(format="json"), batch_of(*lines), ["level"]).records
    for record, line in zip(records, lines, strict=True):
        whole = line == b'{"level":"c"}'
        assert record.fields == ({"level": "c"} if whole else {"message": line.decode()})


@pytest.mark.parametrize(
    ("line", "level"),
    [
        pytest.param(b'\xef\xbb\xbf{"level":"a"}', "a", id="byte order mark"),
        pytest.param(b'{"level":"a","x":NaN}', "a", id="NaN"),
        pytest.param(b'{"level":"a","x":"\xff"}', "a", id="not UTF-8"),
        pytest.param(rb'{"level":"a","x":"\ud800"}', "a", id="lone surrogate"),
        pytest.param(b'{\n"level":"a"}', "a", id="pretty-printed"),
        pytest.param(b'{"level":"a"}\nTraceback', "a", id="a traceback after it"),
    ],
)
@pytest.mark.parametrize("wanted", [["level"], None], ids=["one field", "all fields"])
def test_nearly_json_is_text_with_the_objects_fields(line: bytes, level: str, wanted: list[str] | None) -> None:
    stage = parse(format="json")
    record = run_stage(stage, batch_of(JSON, line), wanted).records[1]
    assert (record.line, record.format, record.fields["level"]) == (line, "text", level)
    assert b"\n" not in record.to_json()
    assert json.loads(record.to_json())["level"] == level
    assert failures(stage) == {}


@pytest.mark.parametrize(
    ("fields", "time", "bad"),
    [
        pytest.param({}, None, 0, id="no time"),
        pytest.param({"ts": None}, None, 0, id="null"),
        pytest.param({"ts": "soon"}, None, 1, id="unreadable"),
        pytest.param({"timestamp": "soon", "ts": ISO}, ISO, 0, id="the next that can be read"),
        pytest.param({"timestamp": ISO, "ts": 1}, ISO, 0, id="the first named"),
        pytest.param({"time": 12.5, "created_at": ISO}, ISO, 0, id="a duration is no time"),
        pytest.param({"@timestamp": ISO}, ISO, 0, id="at sign"),
    ],
)
def test_the_time_comes_from_the_first_field_that_holds_one(fields: dict[str, Any], time: str | None, bad: int) -> None:
    stage = parse(format="json")
    other = json.dumps({"ts": ISO}).encode()
    for lines in ([json.dumps(fields).encode()], [json.dumps(fields).encode(), other]):
        record = run_stage(stage, batch_of(*lines), []).records[0]
        assert record.time_ns == (the_time() if time else None)
    assert failures(stage) == ({"bad_timestamp": 2 * bad} if bad else {})


def test_a_time_that_the_source_gave_stays_when_the_line_has_none() -> None:
    batch = batch_of(b'{"a": 1}', JSON)
    for record in batch.records:
        record.time_ns = 7
    assert [record.time_ns for record in run_stage(parse(), batch).records] == [7, the_time()]


def test_the_zone_is_for_times_that_name_none() -> None:
    stage = parse(timezone="Europe/Amsterdam")
    local, zoned = run_stage(stage, batch_of(PYTHON, JSON)).records
    assert (local.time_ns, zoned.time_ns) == (the_time() - 3600 * 10**9, the_time())


# ---- the hour that comes twice -----------------------------------------------------------------------------------

CHANGES = {
    "Berlin, autumn": ("Europe/Berlin", datetime(2026, 10, 25, 1, tzinfo=UTC)),
    "Berlin, spring": ("Europe/Berlin", datetime(2026, 3, 29, 1, tzinfo=UTC)),
    "New York, autumn": ("America/New_York", datetime(2026, 11, 1, 6, tzinfo=UTC)),
    "New York, spring": ("America/New_York", datetime(2026, 3, 8, 7, tzinfo=UTC)),
}
FORMS: dict[str, tuple[dict[str, Any], str]] = {
    "python": ({"format": "python"}, "%Y-%m-%d %H:%M:%S,%f INFO app: x"),
    "json": ({"format": "json"}, '{"ts": "%Y-%m-%d %H:%M:%S.%f"}'),
    "strptime": ({"format": "logfmt", "timestamp_format": "%d.%m.%Y_%H:%M:%S.%f"}, "ts=%d.%m.%Y_%H:%M:%S.%f a=b"),
    "without a year": ({"format": "syslog"}, "%b %d %H:%M:%S host app: x"),
    "mixed": ({"format": "auto"}, '{"time": "%Y-%m-%dT%H:%M:%S"}'),
}


def around(change: datetime, minutes: Iterable[float]) -> list[datetime]:
    return [change + timedelta(minutes=minute) for minute in minutes]


def times_read(zone: str, options: dict[str, Any], lines: list[bytes], cuts: Iterable[int] = ()) -> list[int | None]:
    """Of the lines in chunks, by a stage each that has nothing but the saved state of the one before."""
    times: list[int | None] = []
    state = b"{}"
    for start, end in pairwise([0, *sorted(cuts), len(lines)]):
        batch = batch_of(*lines[start:end], state=json.loads(state))
        batch.read_at_ns = int(datetime(2026, 12, 1, tzinfo=UTC).timestamp()) * 10**9
        times += [record.time_ns for record in run_stage(parse(timezone=zone, **options), batch).records]
        state = json.dumps(batch.state).encode()
    return times


def local(when: datetime, zone: str, form: str) -> bytes:
    return when.astimezone(ZoneInfo(zone)).strftime(form).encode()


def instants(times: Iterable[datetime]) -> list[int]:
    return [int(when.timestamp()) * 10**9 for when in times]


@pytest.mark.parametrize(("options", "form"), FORMS.values(), ids=FORMS)
@pytest.mark.parametrize(("zone", "change"), CHANGES.values(), ids=CHANGES)
def test_local_times_around_a_change_of_the_clocks_are_those_at_which_it_was_written(
    zone: str, change: datetime, options: dict[str, Any], form: str
) -> None:
    times = around(change, range(-130, 140, 7))
    lines = [local(when, zone, form) for when in times]
    expected = instants(times)
    assert times_read(zone, options, lines) == expected
    for cut in range(len(lines)):
        assert times_read(zone, options, lines, [cut]) == expected


@settings(max_examples=30)
@given(
    gaps=st.lists(st.floats(0.02, 50), max_size=30),
    cuts=st.sets(st.integers(0, 30)),
    change=st.sampled_from(list(CHANGES.values())),
)
def test_where_a_log_is_cut_into_chunks_changes_no_hour(
    gaps: list[float], cuts: set[int], change: tuple[str, datetime]
) -> None:
    zone, when = change
    lines = [local(one, zone, FORMS["python"][1]) for one in around(when, accumulate(gaps, initial=-90))]
    cuts = {cut for cut in cuts if cut < len(lines)}
    assert times_read(zone, {}, lines, cuts) == times_read(zone, {}, lines)


def test_lines_of_the_first_hour_that_come_late_stay_in_it() -> None:
    zone, change = CHANGES["Berlin, autumn"]
    minutes = [-3, -1, 1, -0.5, 3, -1.5, 20, 40, 59, 61, 59.5]
    times = around(change, minutes)
    assert times_read(zone, {}, [local(when, zone, FORMS["python"][1]) for when in times]) == instants(times)


def test_a_time_with_its_own_zone_is_never_moved() -> None:
    zone, change = CHANGES["Berlin, autumn"]
    times = around(change, [-30, 20, -40])
    forms = [FORMS["python"][1], FORMS["python"][1], '{"ts": "%Y-%m-%dT%H:%M:%S%z"}']
    lines = [local(when, zone, form) for when, form in zip(times, forms, strict=True)]
    assert times_read(zone, {}, lines) == instants(times)


def test_an_older_log_behind_a_newer_one_begins_in_the_first_hour() -> None:
    zone, change = CHANGES["Berlin, autumn"]
    times = around(change, [3000, -50, -20, 10])
    assert times_read(zone, {}, [local(when, zone, FORMS["python"][1]) for when in times]) == instants(times)


def test_without_changes_of_the_clocks_nothing_is_remembered() -> None:
    batch = run_stage(parse(format="python"), batch_of(PYTHON))
    assert batch.state == {}


def test_no_time_is_taken_when_none_is_named() -> None:
    records = run_stage(parse(timestamp=[]), batch_of(PYTHON, JSON)).records
    assert [record.time_ns for record in records] == [None, None]


def test_a_text_time_counts_whatever_fields_are_named() -> None:
    stage = parse(timestamp=["created_at"], timestamp_format="%d/%m/%Y %H:%M:%S")
    records = run_stage(stage, batch_of(PYTHON, b'{"created_at": "03/11/2026 10:00:00"}')).records
    assert [record.time_ns for record in records] == [the_time(), the_time()]


@pytest.mark.parametrize(
    ("form", "line", "reason"),
    [("json", PYTHON, "not_json"), ("python", JSON, "no_match"), ("logfmt", PYTHON, "no_match")],
)
def test_a_format_that_was_set_is_the_only_one_tried(form: str, line: bytes, reason: str) -> None:
    stage = parse(format=form)
    assert run_stage(stage, batch_of(line)).records[0].fields == {"message": line.decode()}
    assert failures(stage) == {reason: 1}


def test_regex_groups_become_fields() -> None:
    stage = parse(format="regex", pattern=r"^\[(?P<ts>[^]]+)\] (?P<level>\w+) (?P<message>.*)$")
    record, other = run_stage(stage, batch_of(b"[1793700000] WARN hi", b"x")).records
    assert record.fields == {"ts": "1793700000", "level": "warning", "message": "hi"}
    assert (record.time_ns, other.fields) == (TIME, {"message": "x"})
    assert failures(stage) == {"no_match": 1}


def test_fields_that_stages_before_added_stay() -> None:
    batch = batch_of(JSON, PYTHON, b"hello")
    for record in batch.records:
        record.set("app", "x")
    records = run_stage(parse(), batch, ["app", "level"]).records
    assert [record.fields["app"] for record in records] == ["x"] * 3
    assert [record.fields.get("level") for record in records] == ["WARN", "warning", None]


@pytest.mark.parametrize(
    ("options", "path", "word"),
    [
        ({"format": "regex"}, "pattern", "needs a pattern"),
        ({"format": "regex", "pattern": "a(b)"}, "pattern", "named group"),
        ({"format": "json", "pattern": "(?P<a>b)"}, "pattern", "no effect"),
        ({"format": "json", "pairs": True}, "pairs", "no effect"),
        ({"format": "json", "types": {"a": "int"}}, "types", "no effect"),
        ({"format": "regex", "pattern": "(?P<status>b)", "types": {"statsu": "int"}}, "types.statsu", "'status'"),
        ({"timezone": "Europe/Amsterdm"}, "timezone", "Europe/Amsterdam"),
        ({"timezone": "../../etc/passwd"}, "timezone", "IANA"),
        ({"timestamp_format": "%H:%M"}, "timestamp_format", "whole date"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_options_that_do_not_go_together_are_refused(options: dict[str, Any], path: str, word: str) -> None:
    problems = dict(msgspec.convert(options, Parse, dec_hook=decode_option).check())
    assert word in problems[path]


def test_a_pattern_that_is_no_expression_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="RE2"):
        msgspec.convert({"format": "regex", "pattern": "("}, Parse, dec_hook=decode_option)


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        ({}, ["*"]),
        ({"format": "json"}, ["*"]),
        ({"format": "python"}, ["timestamp", "level", "logger", "function", "line", "message"]),
        ({"format": "python", "pairs": True}, ["*"]),
        ({"format": "structlog"}, ["*"]),
        ({"format": "regex", "pattern": "(?P<b>.)(?P<a>.)"}, ["b", "a", "message"]),
    ],
    ids=["auto", "json", "python", "pairs", "structlog", "regex"],
)
def test_it_says_what_it_writes(options: dict[str, Any], fields: list[str]) -> None:
    stage = parse(**options)
    assert list(stage.writes()) == fields
    assert list(stage.reads()) == []


TOKENS = st.sampled_from(
    [JSON, PYTHON, SESSION, LOGFMT, b"{", b"}", b'"', b'{"a":1}', b'{"ts":', b"1e999", b"NaN", b"1793700000",
     b"\\ud800", b"\xff", b"\xc3", b"\xa9", b"\0", b"\n", b"\r", b" ", b"a=1 ", b"level=x ", b"INFO:a:b",
     *OTHERS.values()]
)  # fmt: skip
LINES = st.lists(st.one_of(TOKENS, st.lists(TOKENS, max_size=5).map(b"".join), st.binary(max_size=30)), max_size=8)
OPTIONS: list[dict[str, Any]] = [
    *({"format": form} for form in ("auto", "json", "logfmt", "python", "prefixed_json", "cri", "docker", "syslog")),
    {"format": "auto", "timezone": "America/New_York"},
    {"format": "auto", "pairs": True, "types": {"a": "int", "level": "bool"}},
    {"format": "regex", "pattern": r"(?P<ts>\d+)|(?P<level>\w+)"},
]


def outcome(records: list[Record]) -> list[Any]:
    return [(record.line, record.format, record.time_ns, record.fields, record.to_json()) for record in records]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: " ".join(map(str, options)) + options["format"])
@given(lines=LINES)
def test_any_bytes_go_through_untouched(options: dict[str, Any], lines: list[bytes]) -> None:
    batch = run_stage(parse(**options), batch_of(*lines), ["level", "a.b"])
    assert lines_of(batch) == lines
    assert all(isinstance(record.fields, dict) for record in batch.records)
    json.dumps(batch.state)


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: " ".join(map(str, options)) + options["format"])
@given(lines=LINES, cut=st.integers(0, 8))
def test_a_batch_cut_in_two_gives_the_same_records(options: dict[str, Any], lines: list[bytes], cut: int) -> None:
    whole = run_stage(parse(**options), batch_of(*lines), ["level", "a.b"])
    stage = parse(**options)
    first: Batch = run_stage(stage, batch_of(*lines[:cut]), ["level", "a.b"])
    second = run_stage(parse(**options), batch_of(*lines[cut:], state=first.state), ["level", "a.b"])
    assert outcome(first.records + second.records) == outcome(whole.records)
