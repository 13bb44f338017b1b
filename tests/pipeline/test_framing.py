import json
import random
from itertools import pairwise
from pathlib import Path
from time import process_time
from typing import Literal, TypeAlias

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tailrace.pipeline import _grammar
from tailrace.pipeline._multiline import Containers, Tracebacks
from tailrace.pipeline.framing import EVENT, LINE, Framed, Framer, Lines, StartPattern, framer
from tailrace.pipeline.options import Regex

CORPUS = Path(__file__).parent / "tracebacks"
EXPECTED = json.loads((CORPUS / "expected.json").read_text())
MIB = 1 << 20

POLICIES: list[Literal["split", "truncate"]] = ["split", "truncate"]
Mode: TypeAlias = Literal["off", "traceback", "container"] | StartPattern
MODES: list[Mode] = ["off", "traceback", "container", StartPattern(Regex(r"^\d{4}-|^>"))]


def feed(framing: Framer, parts: list[bytes], begin: int = 0) -> Framed:
    """Give the parts one after the other, as a source that reads a growing file."""
    all_of_it = Framed([], [])
    rest, offset, skip = b"", begin, 0
    for place, part in enumerate(parts, 1):
        rest += part
        framed = framing.split(rest, offset, place == len(parts), skip)
        rest, offset, skip = rest[framed.taken :], offset + framed.taken, framed.skip
        all_of_it.events += framed.lines
        all_of_it.starts += framed.offsets
        all_of_it.taken += framed.taken
        all_of_it.long += framed.long
        all_of_it.cut += framed.cut
        all_of_it.skip = framed.skip
    return all_of_it


@given(
    st.lists(st.sampled_from([b"a", b"bcd", b"e" * 9, b"", b"\r", b" "]), max_size=12),
    st.sampled_from([b"", b"\n", b"rest", b"r" * 9]),
    st.integers(4, 10),
    st.sampled_from(POLICIES),
)
def test_lines_that_are_left_in_one_piece_are_those_that_are_cut(
    lines: list[bytes], rest: bytes, most: int, on_long: Literal["split", "truncate"]
) -> None:
    data = b"".join(line + b"\n" for line in lines) + rest
    whole = framer("off", most, on_long, whole=True).split(data, 100, final=False)
    cut = framer("off", most, on_long).split(data, 100, final=False)
    assert len(whole.lines) == len(cut.lines)
    assert whole.lines == cut.lines
    assert list(whole.offsets) == list(cut.offsets)
    assert (whole.taken, whole.long, whole.cut, whole.skip) == (cut.taken, cut.long, cut.cut, cut.skip)
    assert (whole.joined is None) == (cut.first is None)


def parts_of(data: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in pairwise(places)]


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_real_traceback_is_one_event_and_the_lines_around_it_stay_apart(name: str) -> None:
    data = (CORPUS / f"{name}.log").read_bytes()
    framed = framer("traceback", MIB, "split").split(data, 0, final=True)
    got = [(line.decode().split("\n")[0], line.count(b"\n") + 1) for line in framed.lines]
    assert got == [(event["first"], event["lines"]) for event in EXPECTED[name]]
    for line, event in zip(framed.lines, EXPECTED[name], strict=True):
        assert (event["error_type"] or "").split(".")[-1] in line.decode()


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_file_read_byte_by_byte_gives_the_events_of_one_read(name: str) -> None:
    data = (CORPUS / f"{name}.log").read_bytes()[:3000]
    framing = framer("traceback", MIB, "split")
    assert feed(framing, [data[i : i + 1] for i in range(len(data))] + [b""]) == framing.split(data, 0, final=True)


def test_the_corpus_has_five_languages_and_half_of_it_stands_in_a_log() -> None:
    assert len(EXPECTED) >= 50
    assert {path.stem for path in CORPUS.glob("*.log")} == set(EXPECTED)
    assert {name.split("_")[0] for name in EXPECTED} == {"python", "java", "node", "go", "ruby", "csharp"}
    assert sum(len(events) > 1 for events in EXPECTED.values()) * 2 >= len(EXPECTED)


def test_a_whole_log_of_all_corpus_files_gives_the_same_events_at_any_read_size() -> None:
    files = sorted(CORPUS.glob("*.log"), key=lambda path: ("_log_" in path.name, path.name))
    data = b"".join(path.read_bytes() for path in files)
    framing = framer("traceback", 2000, "split")
    whole = framing.split(data, 0, final=True)
    assert whole.long > 0
    for size in (1, 2, 4, 8, 16, 32, 64):
        size = size * 1024 - 1
        assert feed(framing, [data[i : i + size] for i in range(0, len(data), size)]) == whole


LOG_LINES = [
    b"2026-11-03 10:00:00 INFO up",
    b'{"level": "info", "msg": "m"}',
    b'{"role": "user"}',
    b"Nov 03, 2026 10:00:00 AM Main main",
    b"SEVERE: failed",
    b"> quoted",
    b"Traceback (most recent call last):",
    b'  File "/srv/app/main.py", line 3, in f',
    b"ValueError: bad",
    b"During handling of the above exception, another exception occurred:",
    b"  + Exception Group Traceback (most recent call last):",
    b"  | ValueError: x",
    b'Exception in thread "main" java.lang.Error: x',
    b"\tat a.B.c(B.java:1)",
    b"Caused by: java.lang.Error: y",
    b"/srv/app/main.js:3",
    b"      ^",
    b"TypeError: x",
    b"    at f (/srv/app/main.js:3:1)",
    b"Node.js v20.20.2",
    b"panic: x",
    b"goroutine 1 [running]:",
    b"main.f(0x1)",
    b"\t/srv/app/main.go:3 +0x1",
    b"exit status 2",
    b"/srv/app/a.rb:3:in 'f': m (E)",
    b"\tfrom /srv/app/a.rb:9:in '<main>'",
    b"thread 'main' (7) panicked at src/main.rs:3:29:",
    b"thread 'main' panicked at 'x', src/main.rs:3:29",
    b"stack backtrace:",
    b"   0: shop::main",
    b"note: run with `RUST_BACKTRACE=1`",
    b"Error: x",
    b"Caused by:",
    b"PHP Fatal error:  Uncaught Stop: x in /a.php:1",
    b"Stack trace:",
    b"#0 {main}",
    b"Next Stop: y in /a.php:2",
    b"  thrown in /a.php on line 2",
    b"Unhandled exception:",
    b"#0      main (file:///a.dart:2:3)",
    "╭── Traceback (most recent call last) ──╮".encode(),
    "│ /srv/a.py:1 in f │".encode(),
    "╰──────────────────╯".encode(),
    b"2026-11-03T10:00:00Z stdout F 2026-11-03 10:00:00 INFO up",
    b"2026-11-03T10:00:00Z stderr F Traceback (most recent call last):",
    b'2026-11-03T10:00:00Z stderr F   File "/srv/app/main.py", line 3, in f',
    b"2026-11-03T10:00:00Z stderr F ValueError: bad",
    b"2026-11-03T10:00:00Z stderr F panic: x",
    b"2026-11-03T10:00:00Z stderr F",
    b"2026-11-03T10:00:00Z stdout P part",
    b"2026-11-03T10:00:00Z stderr P   part",
    b"2026-11-03T10:00:00Z stdout F rest",
    b'{"log":"2026-11-03 10:00:00 INFO up\\n","stream":"stdout","time":"x"}',
    b'{"log":"part","stream":"stdout","time":"x"}',
    b'{"log":"rest\\n","stream":"stdout","time":"x"}',
    b"plain text",
    b"[SQL: SELECT 1]",
    b"During handling of the above exception, another exception occurred:",
    b"job failed: DivisionByZeroError: x in /a.php:2",
    b"Unexpected exception:",
    b"Unhandled Exception:",
    b"<internal:kernel>:288:in 'Kernel#Integer': m (E)",
    b"package:a/a.dart 2:3  main",
    b"  indented",
    "grün ✓ 漢字 🎉".encode(),
    b"\xff\xfe\x80\x80\x80\x80\x80\x80",
    b"",
    b" ",
    b"\r",
    b"y" * 300,
    b"z" * 5000,
    b"Traceback " * 500,
]
some_lines = st.lists(st.sampled_from(LOG_LINES), max_size=25)


@given(
    lines=some_lines,
    ending=st.sampled_from([b"\n", b"\r\n"]),
    tail=st.sampled_from([b"", *LOG_LINES]),
    cuts=st.lists(st.integers(0, 1 << 20), max_size=12),
    max_bytes=st.sampled_from([1, 3, 4, 7, 20, 27, 64, 200, 6000, MIB]),
    mode=st.sampled_from(MODES),
    on_long=st.sampled_from(POLICIES),
    begin=st.sampled_from([0, 1000]),
)
@example([b"panic: x", b"", b"", b"up"], b"\n", b"", [9, 10], 20, "traceback", "split", 0)
@example([b"2026-11-03 10:00:00 INFO up"], b"\n", b"", [28], 27, "traceback", "split", 0)
@example([b"goroutine 1 [running]:", b"exit status 2" + b"y" * 5000], b"\n", b"", [5000], MIB, "traceback", "split", 0)
@example([b"> x", b"Nov 03, 2026 10:00:00 AM Main main", b"SEVERE: x"], b"\n", b"", [39], 7, "traceback", "split", 0)
def test_the_events_do_not_depend_on_how_much_is_read_at_once(
    lines: list[bytes],
    ending: bytes,
    tail: bytes,
    cuts: list[int],
    max_bytes: int,
    mode: Mode,
    on_long: Literal["split", "truncate"],
    begin: int,
) -> None:
    data = b"".join(line + ending for line in lines) + tail
    framing = framer(mode, max_bytes, on_long)
    whole = framing.split(data, begin, final=True)
    assert feed(framing, parts_of(data, cuts), begin) == whole
    assert whole.taken == len(data)
    assert whole.skip == 0
    covered = bytearray(data)
    for line, offset in zip(whole.lines, whole.offsets, strict=True):
        at = offset - begin
        assert data[at : at + len(line)] == line
        assert 0 < len(line) <= max_bytes
        covered[at : at + len(line)] = b"\n" * len(line)
    left_out = bytes(covered).replace(b"\r", b"").replace(b"\n", b"")
    assert len(left_out) <= whole.cut
    assert whole.offsets == sorted(set(whole.offsets))


NEARLY_USUAL = [
    *(b"2026-11-03 10:00:00 x", b"2026-11-03T10:00", b"2026-11-03 10:0", b"2026-11-03_10:00:00", b"2026-11-03", b"20"),
    *(b'{"ts":1}', b'{"time": 1}', b'{"timestamp":', b'{"level": "x"}', b'{"timestamps":', b'{"t":1}', b"{", b""),
    *(b"ERROR:app:x", b"  more", b"\xff", "é".encode(), b"Traceback (most recent call last):", b"more\r"),
]


@given(
    lines=st.lists(st.sampled_from(NEARLY_USUAL), max_size=12),
    often=st.sampled_from([1, 40]),
    ending=st.sampled_from([b"", b"\n", b"\n\n"]),
)
def test_records_that_begin_in_a_usual_way_are_cut_as_one_by_one(lines: list[bytes], often: int, ending: bytes) -> None:
    body = b"\n".join([NEARLY_USUAL[0], *lines * often]) + ending
    events, at, several = _grammar.records(body)
    rest = _grammar.next_record.split(body[at:]) if at < len(body) else []
    assert events + rest == _grammar.next_record.split(body)
    assert several == [place for place, event in enumerate(events) if b"\n" in event]


@pytest.mark.parametrize(
    ("under", "single"),
    [
        pytest.param(b"", True, id="lines"),
        pytest.param(b"Traceback (most recent call last):\nValueError: x\n", False, id="a traceback"),
    ],
)
def test_where_records_start_that_follow_each_other_is_counted_when_somebody_asks(under: bytes, single: bool) -> None:
    record = b"2026-11-03 10:00:00 x\n"
    framed = framer("traceback", MIB, "split").split(record + under + record + record, 100, final=False)
    assert (framed.starts, framed.first, framed.single) == ([], 100, single)
    assert framed.sizes == list(map(len, framed.lines))
    assert list(framed.offsets) == [100, 100 + len(record + under)]


def test_blank_lines_between_records_ship_nothing_and_are_counted() -> None:
    framed = framer("traceback", MIB, "split").split(b"2026-11-03 10:00:00 x\n\n" * 3, 100, final=False)
    assert framed.lines == [b"2026-11-03 10:00:00 x"] * 2
    assert framed.offsets == [100, 123]


@given(
    lines=some_lines,
    cuts=st.lists(st.integers(0, 1 << 20), max_size=5),
    mode=st.sampled_from(MODES),
    number=st.integers(0, 1 << 20),
)
def test_a_restart_at_the_start_of_any_event_gives_the_same_events(
    lines: list[bytes], cuts: list[int], mode: Mode, number: int
) -> None:
    data = b"".join(line + b"\n" for line in lines)
    framing = framer(mode, MIB, "split")
    whole = framing.split(data, 0, final=True)
    at = number % (len(whole.lines) + 1)
    begin = [*whole.offsets, len(data)][at]
    again = feed(framing, parts_of(data[begin:], cuts), begin)
    assert (again.lines, list(again.offsets)) == (whole.lines[at:], list(whole.offsets)[at:])


@pytest.mark.parametrize("mode", MODES, ids=["off", "traceback", "container", "pattern"])
@pytest.mark.parametrize("on_long", POLICIES)
def test_a_line_of_50_mb_is_never_held_in_memory(mode: Mode, on_long: Literal["split", "truncate"]) -> None:
    framing = framer(mode, MIB, on_long)
    rest, offset, skip, shipped, cut, long = b"2026-11-03 10:00:00 ", 0, 0, 0, 0, 0
    for _ in range(50):
        rest += b"x" * MIB
        framed = framing.split(rest, offset, False, skip)
        rest, offset, skip = rest[framed.taken :], offset + framed.taken, framed.skip
        shipped, cut, long = shipped + sum(map(len, framed.lines)), cut + framed.cut, long + framed.long
        assert len(rest) <= MIB + 5000
    framed = framing.split(rest + b"\n2026-11-03 10:00:01 next\n", offset, True, skip)
    assert framed.lines[-1] == b"2026-11-03 10:00:01 next"
    shipped += sum(map(len, framed.lines[:-1]))
    assert shipped + cut + framed.cut == 50 * MIB + 20
    assert shipped == (MIB if on_long == "truncate" else 50 * MIB + 20)
    assert long + framed.long == 1


def test_what_may_be_part_of_a_trace_is_not_waited_for_without_end() -> None:
    framing = framer("traceback", MIB, "split")
    data = b"ValueError: x\n" + b"y" * 20_000
    assert framing.split(data, 0, final=False).lines == [b"ValueError: x"]


def test_lines_are_cut_at_line_breaks_and_know_where_they_start() -> None:
    framed = Lines(MIB, "split").split(b"one\r\ntwo\nthr", 100, final=False)
    assert framed == Framed([b"one", b"two"], [100, 105], taken=9)


def test_an_unfinished_last_line_is_taken_when_nothing_more_will_come() -> None:
    framed = Lines(MIB, "split").split(b"one\ntwo", 0, final=True)
    assert framed == Framed([b"one", b"two"], [0, 4], taken=7)


def test_empty_lines_ship_nothing_but_white_space_does() -> None:
    framed = Lines(MIB, "split").split(b"\na\n\r\n \n\n", 0, final=False)
    assert framed == Framed([b"a", b" "], [1, 5], taken=8)


@pytest.mark.parametrize("framing", [Lines(9, "split"), Tracebacks(9, "split")], ids=["lines", "tracebacks"])
@pytest.mark.parametrize("final", [True, False])
def test_no_bytes_are_no_events(framing: Framer, final: bool) -> None:
    assert framing.split(b"", 7, final) == Framed([], [])


def test_a_too_long_line_is_split_between_characters() -> None:
    data = "aaä€🎉z\nnext\n".encode()
    framed = Lines(4, "split").split(data, 10, final=False)
    assert framed.lines == ["aaä".encode(), "€".encode(), "🎉".encode(), b"z", b"next"]
    assert framed.long == 1
    assert framed.offsets == [10, 14, 17, 21, 23]


def test_truncate_ships_the_beginning_and_counts_the_rest() -> None:
    framed = Lines(4, "truncate").split(b"abcdefgh\nnext\n", 0, final=False)
    assert framed == Framed([b"abcd", b"next"], [0, 9], taken=14, long=1, cut=4)


@pytest.mark.parametrize(("head", "skip"), [(b"2026-11-03 10:00:00 ", EVENT), (b"", LINE)], ids=["record", "bare line"])
def test_a_position_inside_a_too_long_event_says_how_it_ends(head: bytes, skip: int) -> None:
    framed = Tracebacks(1000, "truncate").split(head + b"x" * 9000, 0, final=False)
    assert (framed.skip, framed.long, len(framed.lines)) == (skip, 1, 1)
    later = Tracebacks(1000, "truncate").split(b"xx\nmore\n2026-11-03 10:00:01 y\n", 9000, True, framed.skip)
    assert later.lines == ([] if skip == EVENT else [b"more"]) + [b"2026-11-03 10:00:01 y"]


def test_text_that_looks_like_a_record_in_the_middle_of_a_too_long_line_does_not_begin_one() -> None:
    framed = Tracebacks(1000, "truncate").split(b"2026-11-03 10:00:01 no\n2026-11-03 10:00:02 y\n", 5000, True, EVENT)
    assert framed.lines == [b"2026-11-03 10:00:02 y"]


RECORDS = [
    "2026-11-03 10:00:00 x",
    "2026-11-03T10:00:00.123Z stdout F x",
    "[2026-11-03 10:00:00 +0000] [12] [ERROR] x",
    "(2026-11-03 10:00:00) x",
    "2026/11/03 10:00:00 http: panic serving",
    "[03/Nov/2026:10:00:00 +0000] x",
    "26/11/03 10:00:00 INFO x",
    "20261103T100000Z x",
    "Nov  3 10:00:00 host app: x",
    "Mon Nov 23 10:00:00 2026 x",
    "[Mon Nov 23 10:00:00.123 2026] [core:error] x",
    "1:M 23 Nov 2026 10:00:00.123 * x",
    "<34>1 2026-11-03T10:00:00Z host app - - - x",
    "E1103 10:00:00.123456       1 main.go:3] x",
    "10:00:00,123 INFO x",
    "10:00:00.123 [main] ERROR x",
    "[10:00:00 ERR] x",
    "ERROR:app.worker:x",
    'INFO:     127.0.0.1:1 - "GET / HTTP/1.1" 200',
    "[ERROR] x",
    "[error    ] x",
    "ERROR x",
    "INFO[0000] x",
    "[main] INFO app.Main - x",
    "\x1b[31mERROR\x1b[0m: x",
    "E, [2026-11-03T10:00:00.123456 #71] ERROR -- : x",
    "fail: App.Worker[0]",
    "level=error msg=x",
    "ts=2026-11-03T10:00:00Z level=info",
    'time="2026-11-03T10:00:00Z" level=info',
    '{"level":"info","msg":"x"}',
    '{"a": {"b": 1}, "@timestamp": "2026"}',
    '{"log":"x","stream":"stderr","time":"2026"}',
    '127.0.0.1 - - [03/Nov/2026:10:00:00 +0000] "GET / HTTP/1.1" 200 1',
    "[    1.234567] usb 1-1: x",
    "\ufeff2026-11-03 10:00:00 x",
]


@pytest.mark.parametrize("line", RECORDS)
def test_the_beginning_of_a_record_is_known_in_many_formats(line: str) -> None:
    data = f"{line}\nTraceback (most recent call last):\n\n  free text\n{line}\n".encode()
    framed = framer("traceback", MIB, "split").split(data, 0, final=True)
    assert framed.lines == [f"{line}\nTraceback (most recent call last):\n\n  free text".encode(), line.encode()]


OTHERS = [
    "ValueError: 2026-11-03 10:00:00 is in the past",
    "  2026-11-03 10:00:00 indented",
    "at 10:00:00 it rained",
    '{"role": "user", "content": "x"}',
    "{",
    "Error: cannot find module",
    "ERRORS found: 3",
    "SELECT * FROM users",
    "Caused by: java.io.IOException",
    "[a] list",
    "- 127.0.0.1",
    "goroutine 1 [running]:",
]


@pytest.mark.parametrize("line", OTHERS)
def test_other_lines_belong_to_the_record_before_them(line: str) -> None:
    data = f"2026-11-03 10:00:00 ERROR x\n{line}\n2026-11-03 10:00:01 INFO y\n".encode()
    framed = framer("traceback", MIB, "split").split(data, 0, final=True)
    assert framed.lines == data[:-1].replace(b"\n2026", b"\0" + b"2026").split(b"\0")


def test_the_last_record_waits_for_the_next_one() -> None:
    framing = framer("traceback", MIB, "split")
    data = b"ERROR:app:failed\nTraceback (most recent call last):\n"
    assert framing.split(data, 0, final=False) == Framed([], [])
    framed = framing.split(data + b"KeyError: 1\nINFO:app:next\n", 0, final=False)
    assert framed.lines == [data + b"KeyError: 1"]


def test_bare_lines_do_not_wait() -> None:
    framed = framer("traceback", MIB, "split").split(b"starting\nlisten", 0, final=False)
    assert framed == Framed([b"starting"], [0], taken=9)


@pytest.mark.parametrize(
    ("text", "events"),
    [
        ("panic: a\n\ngoroutine 1 [running]:\nmain.main()\n\t/a.go:1\nexit status 2\npanic: b\n", 2),
        ('Traceback (most recent call last):\n  File "a", line 1, in f\nKeyError: 1\n' * 3, 3),
        ("/a.rb:1:in 'f': x (E)\n\tfrom /a.rb:9:in 'g'\n" * 3, 3),
        ("java.lang.Error: x\n\tat a.B.c(B.java)\n" * 3, 3),
        ("ValueError: a line alone\nplain\n", 2),
        ("panic: no goroutines are printed\nplain\n" + "more\n" * 20, 22),
        ('Traceback (most recent call last):\n  File "a", line 1, in f\nstarting up\n', 2),
        ('  File "a", line 1\n    x y\n      ^\nSyntaxError: invalid syntax\n' * 2, 2),
        ("\tat a.B.c(B.java)\n\tat a.B.d(B.java)\nplain\n", 2),
        ('Traceback (most recent call last):\n  File "a", line 1, in f\nKeyError: 1\n\nplain\n', 2),
        ("  plain\n  indented\n", 2),
    ],
    ids=[
        "panics one after the other",
        "Python's again and again",
        "the same Ruby error again",
        "Java's again and again",
        "an error without frames",
        "a panic without goroutines",
        "a traceback cut short",
        "syntax errors without a header",
        "frames without a beginning",
        "a blank line behind it",
        "indented text",
    ],
)
def test_bare_traces_end_where_they_end(text: str, events: int) -> None:
    assert len(framer("traceback", MIB, "split").split(text.encode(), 0, final=True).lines) == events


PYTHON = 'Traceback (most recent call last):\n  File "a", line 1, in f\n'
RECORD = "2026-11-03 10:00:00 INFO up\n"


@pytest.mark.parametrize(
    ("text", "events"),
    [
        pytest.param(f"{PYTHON}E: 2 errors\nport\nmissing\n{RECORD}", [5, 1], id="a record behind it"),
        pytest.param(f"{PYTHON}E: 2 errors\nport\nmissing\n", [3, 1, 1], id="no record behind it"),
        pytest.param(f"{PYTHON}E: 2 errors\n\nport\n\n{RECORD}", [5, 1], id="blank lines in it and behind it"),
        pytest.param(f"{PYTHON}E: 2 errors\n  port\nhost\nmissing\n{RECORD}", [6, 1], id="indented lines in it"),
        pytest.param(f"{PYTHON}E: x\n\n{RECORD}", [3, 1], id="one line"),
        pytest.param(f"{PYTHON}E: x\n" + "more\n" * 16 + RECORD, [19, 1], id="16 lines"),
        pytest.param(f"{PYTHON}E: x\n" + "more\n" * 17 + RECORD, [3, *[1] * 17, 1], id="17 lines"),
        pytest.param(f"{PYTHON}E: x\n{'y' * 20_000}\nmore\n{RECORD}", [3, 1, 1, 1], id="more than 16 KiB"),
        pytest.param(f"{PYTHON}E: x\nnote\n{PYTHON}E: y\nmore\n{RECORD}", [3, 1, 4, 1], id="another traceback"),
        pytest.param(
            f"{PYTHON}E: x\nnote\n\nDuring handling of the above exception, another exception occurred:\n\n"
            f"{PYTHON}F: y\nplain\n",
            [10, 1],
            id="in a chain",
        ),
        pytest.param(
            f"{PYTHON}sqlalchemy.exc.IntegrityError: (psycopg.errors.UniqueViolation) twice\nDETAIL:  Key (id)=(7).\n"
            "[SQL: INSERT INTO t VALUES (?)]\n[parameters: (7,)]\n"
            "(Background on this error at: https://sqlalche.me/e/20/gkpj)\nplain\n",
            [7, 1],
            id="of a database",
        ),
        pytest.param(f'{PYTHON}E: {{\n  "port": 0\n}}\nplain\n', [5, 1], id="brackets"),
    ],
)
def test_the_message_of_a_bare_traceback_goes_on_to_the_next_record(text: str, events: list[int]) -> None:
    data = text.encode()
    framing = framer("traceback", MIB, "split")
    framed = framing.split(data, 0, final=True)
    assert [line.count(b"\n") + 1 for line in framed.lines] == events
    assert feed(framing, [data[i : i + 1] for i in range(min(len(data), 3000))] + [data[3000:]]) == framed
    wrapped = framer("container", MIB, "split").split(cri(*(f"stderr F {line}" for line in text.split("\n"))), 0, True)
    begun = [line.partition(b"\n")[0][len(CRI) + len("stderr F ") :] for line in wrapped.lines]
    assert list(filter(None, begun)) == [line.partition(b"\n")[0] for line in framed.lines]


def test_a_message_that_would_be_too_long_with_its_lines_ends_at_its_first_one() -> None:
    data = f"{PYTHON}E: x\n{'y' * 90}\n{RECORD}".encode()
    assert [line.count(b"\n") + 1 for line in Tracebacks(100, "split").split(data, 0, final=True).lines] == [3, 1, 1]


def test_lines_that_may_be_part_of_a_message_wait_for_a_record_until_they_are_too_many() -> None:
    framing = framer("traceback", MIB, "split")
    data = f"{PYTHON}E: x\n".encode() + b"more\n" * 15
    assert framing.split(data, 0, final=False).lines == []
    assert len(framing.split(data + b"more\n" * 2, 0, final=False).lines) == 18


REAL = [
    path
    for path in sorted((Path(__file__).parents[1] / "stages" / "tracebacks").glob("*.txt"))
    if path.stem != "js_logged"  # more than one record
]


@pytest.mark.parametrize("path", REAL, ids=lambda path: path.stem)
def test_what_a_real_program_printed_before_a_record_is_one_event(path: Path) -> None:
    trace = path.read_bytes().strip(b"\n")
    data = b"starting\n" + trace + b"\n" + RECORD.encode()
    assert framer("traceback", MIB, "split").split(data, 0, final=True).lines == [
        b"starting",
        trace,
        RECORD[:-1].encode(),
    ]


CRI = "2026-11-03T10:00:00.5Z "


def cri(*lines: str) -> bytes:
    return "".join(f"{CRI}{line}\n" for line in lines).encode()


@pytest.mark.parametrize(
    ("data", "events"),
    [
        pytest.param(cri("stdout F a", "stdout F b"), [1, 1], id="plain lines"),
        pytest.param(cri("stdout P a", "stdout P b", "stdout F c", "stdout F d"), [3, 1], id="parts"),
        pytest.param(cri("stdout P a", "stderr F b", "stdout F c"), [1, 1, 1], id="another stream between parts"),
        pytest.param(
            cri("stderr F ERROR:app:x", "stderr F Traceback:", "stderr F   y", "stderr F INFO:app:z"),
            [3, 1],
            id="a record",
        ),
        pytest.param(
            cri("stderr F up", "stderr F Traceback (most recent call last):", 'stderr F   File "a", line 1, in f')
            + cri("stderr F KeyError: 1", "stderr F on"),
            [1, 3, 1],
            id="a bare traceback",
        ),
        pytest.param(
            cri("stderr F Traceback (most recent call last):", 'stderr P   File "a",', "stderr F  line 1, in f")
            + cri("stderr F KeyError: 1", "stderr F on"),
            [4, 1],
            id="a bare traceback with a split line",
        ),
        pytest.param(cri("stdout F INFO:app:x", "stderr F y", "stdout F z"), [1, 1, 1], id="streams apart"),
        pytest.param(cri('stdout F {"level":"info"}', 'stdout F {"level":"info"}'), [1, 1], id="JSON inside"),
        pytest.param(b"INFO:app:x\n  y\nINFO:app:z\n", [2, 1], id="lines of no runtime"),
        pytest.param(b'{"log":1}\n{"log":"x"}\n', [1, 1], id="nearly Docker's"),
    ],
)
def test_lines_of_containers_are_joined_by_what_is_inside(data: bytes, events: list[int]) -> None:
    framing = framer("container", MIB, "split")
    framed = framing.split(data, 0, final=True)
    assert [line.count(b"\n") + 1 for line in framed.lines] == events
    assert b"\n".join(framed.lines) + b"\n" == data
    assert feed(framing, [data[i : i + 1] for i in range(len(data))] + [b""]) == framed


def test_dockers_lines_are_joined_by_what_is_inside() -> None:
    logs = ["ERROR:app:x\n", "Traceback:\n", "par", "t\n", "INFO:app:y\n"]
    lines = [json.dumps({"log": log, "stream": "stderr", "time": "x"}, separators=(",", ":")).encode() for log in logs]
    framed = framer("container", MIB, "split").split(b"\n".join(lines) + b"\n", 0, final=True)
    assert framed.lines == [b"\n".join(lines[:4]), lines[4]]


def test_an_event_of_containers_ends_before_the_line_that_is_too_much() -> None:
    data = cri("stdout F INFO:app:x", *("stdout F   more" for _ in range(9)), "stdout F INFO:app:y")
    framed = Containers(200, "truncate").split(data, 0, final=True)
    assert b"\n".join(framed.lines) + b"\n" == data
    assert max(map(len, framed.lines)) <= 200
    assert (framed.long, framed.cut) == (0, 0)


def test_a_long_run_of_errors_without_frames_takes_no_quadratic_time() -> None:
    data = cri(*("stderr F ValueError: x" for _ in range(20_000)))
    start = process_time()
    assert len(framer("container", MIB, "split").split(data, 0, final=True).lines) == 20_000
    assert process_time() - start < 10


RICH = "╭── Traceback (most recent call last) ──╮\n│ /srv/a.py:1 in f                      │\n╰{}╯\n".format("─" * 39)
MORE = {
    "a box of rich": RICH + "ValueError: bad\n",
    "boxes linked to each other": f"{RICH}KeyError: 1\n\n"
    f"During handling of the above exception, another exception occurred:\n\n{RICH}ValueError: bad\n",
    "a box in colours": "\x1b[31m╭─\x1b[0m\x1b[31m──\x1b[0m\x1b[31m \x1b[0m\x1b[1;31mTraceback \x1b[0m"
    "\x1b[1;2;31m(most recent call last)\x1b[0m\x1b[31m ─╮\x1b[0m\n\x1b[31m│\x1b[0m a.py:1 in f\n"
    "\x1b[31m╰──╯\x1b[0m\n\x1b[1;91mValueError: \x1b[0mbad\n",
    "a Rust panic": "thread 'main' (7) panicked at a.rs:3:29:\none\ntwo\nstack backtrace:\n   0: a::main\n"
    "             at ./a.rs:3:29\nnote: Some details are omitted\n",
    "a Rust panic without a stack": "thread 'main' panicked at a.rs:3:29:\nboom\nnote: run with `RUST_BACKTRACE=1`\n",
    "a Rust panic before 1.73": "thread 'main' panicked at 'boom', a.rs:3:29\nnote: run with `RUST_BACKTRACE=1`\n",
    "anyhow": "Error: outer\n\nCaused by:\n    0: middle\n    1: inner\n\nStack backtrace:\n   0: a::main\n"
    "             at ./a.rs:3:29\n",
    "anyhow without a stack": "Error: outer\n\nCaused by:\n    inner\n",
    "JavaScript's plain error": "Error: boom\n    at f (/srv/a.js:1:1)\n",
    "PHP": "PHP Fatal error:  Uncaught A: one\ntwo in /a.php:1\nStack trace:\n#0 /b.php(2): f()\n#1 {main}\n\n"
    "Next B: three in /a.php:3\nStack trace:\n#0 {main}\n  thrown in /a.php on line 3\n",
    "Dart": "Unhandled exception:\nFormatException: bad\nabc\n^\n\n#0      f (package:a/a.dart:1:2)\n"
    "<asynchronous suspension>\n#1      main (file:///a.dart:2:3)\n",
    "Flutter's box": "══╡ EXCEPTION CAUGHT BY WIDGETS LIBRARY ╞══\nThe following _TypeError was thrown:\nNull check\n\n"
    "When the exception was thrown, this was the stack:\n#0      f (package:a/a.dart:1:2)\n"
    "(elided 3 frames)\n\n═══════════\n",
    "Flutter on a device": "E/flutter ( 12): [ERROR:flutter/a.cc(41)] Unhandled Exception: Bad state\n"
    "E/flutter ( 12): #0      f (package:a/a.dart:1:2)\nE/flutter ( 12): <asynchronous suspension>\n",
}


@pytest.mark.parametrize("text", MORE.values(), ids=MORE.keys())
@pytest.mark.parametrize("record", ["", "2026-11-03 10:00:00 ERROR job failed\n"], ids=["bare", "under a record"])
def test_traces_of_other_renderings_and_languages_are_one_event(text: str, record: str) -> None:
    before, after = ("2026-11-03 10:00:00 INFO up", "2026-11-03 10:00:01 INFO on") if record else ("up", "on")
    data = f"{before}\n{record}{text}{after}\n".encode()
    framing = framer("traceback", MIB, "split")
    framed = framing.split(data, 0, final=True)
    assert framed.lines == [before.encode(), (record + text).rstrip("\n").encode(), after.encode()]
    assert feed(framing, [data[i : i + 1] for i in range(len(data))] + [b""]) == framed


def test_a_pattern_of_ones_own_begins_events_and_lines_before_the_first_stand_alone() -> None:
    framing = framer(StartPattern(Regex("^--- ")), MIB, "split")
    data = b"a\nTraceback (most recent call last):\n  b\n--- 1\n2026-11-03 10:00:00 c\n\n--- 2\n"
    framed = framing.split(data, 0, final=False)
    assert framed.lines == [*data.split(b"\n")[:3], b"--- 1\n2026-11-03 10:00:00 c"]
    assert framed.taken == len(data) - 6


def test_a_pattern_sees_one_line_at_a_time() -> None:
    framed = framer(StartPattern(Regex(r"^\s*$")), MIB, "split").split(b"\na\nb\n\nc\nd\n", 0, final=True)
    assert framed.lines == [b"\na\nb", b"\nc\nd"]


def test_random_bytes_are_cut_the_same_twice() -> None:
    data = random.Random(7).randbytes(20_000).replace(b"\t", b"\n")
    framing = framer("traceback", 500, "split")
    assert feed(framing, parts_of(data, [77, 5000, 5001, 12_345])) == framing.split(data, 0, final=True)
