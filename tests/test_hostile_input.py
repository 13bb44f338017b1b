"""Whatever stands in a log: the run ends well, the books are closed, and every line is where it belongs, just once."""

from __future__ import annotations

import asyncio
import io
import json
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import NamedTuple

import cramjam
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailrace.config.data_flow import wanted
from tailrace.config.load import check
from tailrace.pipeline.dead_letter import FILE, DeadLetter, Letter
from tailrace.pipeline.runner import Runner

from .live.shipper import Shipper

MIB = 1 << 20
SECONDS = 60
"""A run that takes longer waits for something that never comes."""

SOURCES = {"file": 'use: file, include: ["app.log"]', "stdin": "use: stdin"}

CONFIG = """
sources:
  app: { @SOURCE@, multiline: @MULTILINE@ }
stage_files: [ choke.py ]
stages:
  - { use: parse, format: @FORMAT@ }
  - { use: drop, match: '{} |= "dropme"' }
  - { use: redact, pii: [email, card, phone] }
  - { use: truncate, @TRUNCATE@ }
  - { use: enrich, fields: { tier: hostile }, trace_id: [trace_id, traceparent], carry: [user] }
  - { use: classify }
  - use: derive_metrics
    metrics:
      - { name: lines_total, type: counter, labels: { level: "{level}", kind: "{kind}-{user}" } }
      - { name: cost_total, type: counter, value: cost, labels: { kind: "{kind}" } }
      - { name: last_cost, type: gauge, value: cost }
      - { name: duration_seconds, type: histogram, value: duration_ms, scale: 0.001 }
  - { use: choke }
  - { use: keep, match: '{tier="hostile"}' }
  - { use: rename, fields: { lvl: level, message: msg } }
sinks:
  archive: { use: jsonl, path: "archive/all.jsonl" }
  out: { use: stdout, line: json }
  loki:
    use: loki
    url: "@URL@"
    labels: { tier: "{tier}", level: "{level}", kind: "{kind}-{user}" }
    metadata: [trace_id, kind, error_type]
    line: @LINE@
    max_line: null
state: state
"""


CHOKE = """
from tailrace.pipeline.component import Stage


class Choke(Stage):
    def process(self, batch):
        for record in batch.records:
            if b"choke-on-this" in record.line:
                raise ValueError(f"cannot swallow {record.text[:60]}")
            if b"odd-for-sinks" in record.line:
                record.set("odd", Odd())
        return batch


class Odd:
    def __str__(self):
        raise TypeError("nobody can say this")
"""
"""A stage of a user's own, with faults."""


class Loki:
    """Takes every push, and keeps what is in it."""

    def __init__(self) -> None:
        self.pushes: list[bytes] = []
        taken = self.pushes

        class Take(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                taken.append(bytes(cramjam.snappy.decompress_raw(body)))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *told: object) -> None:
                """Silence."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Take)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def take_all(self) -> bytes:
        """What was pushed since the last call."""
        data = b"".join(self.pushes)
        self.pushes.clear()
        return data


@pytest.fixture(scope="module")
def loki() -> Iterator[Loki]:
    loki = Loki()
    thread = Thread(target=loki.server.serve_forever, args=(0.01,))
    thread.start()
    yield loki
    loki.server.shutdown()
    thread.join()
    loki.server.server_close()


class Shipped(NamedTuple):
    """What became of the input of one run."""

    read: int
    archive: list[bytes]
    """The lines of the archive."""
    stdout: list[bytes]
    pushed: bytes
    """The bodies of all pushes to Loki."""
    letters: list[Letter]
    dropped: Counter[str]
    """Events that stages left out."""
    metrics: dict[str, float]


async def ship(folder: Path, config: str, loki: Loki, data: bytes) -> Shipped:
    """One run with `--once` over this input, in this process, and its books."""
    (folder / "tailrace.yaml").write_text(config)
    (folder / "choke.py").write_text(CHOKE)
    (folder / "app.log").write_bytes(data)
    buffer = io.BytesIO()
    out = io.TextIOWrapper(buffer)
    with pytest.MonkeyPatch.context() as patch, (folder / "app.log").open() as stdin:
        patch.chdir(folder)
        patch.setattr(sys, "stdin", stdin)
        patch.setattr(sys, "stdout", out)
        loaded, problems = check(Path("tailrace.yaml"))
        assert loaded is not None, problems
        runner = Runner(
            loaded.sources,
            loaded.stages,
            loaded.sinks,
            wanted=wanted(loaded.stages, loaded.sinks.values()),
            state=folder / "state",
        )
        async with asyncio.timeout(SECONDS):
            assert await runner.run(once=True) == 0
    read = runner.meters["app"].events_in
    for delivery in runner.deliveries:
        assert runner.residual(delivery) == 0
        assert (delivery.held_events, delivery.held_bytes) == (0, 0)
    for partition in runner.partitions.of("app").values():
        assert [partition.ledger.books.residual(sink) for sink in loaded.sinks] == [0] * len(loaded.sinks)
        assert partition.ledger.in_flight == 0
    archive = folder / "archive" / "all.jsonl"
    dropped: Counter[str] = Counter()
    for meter in runner.chain.meters:
        dropped[meter.component] += sum(meter.dropped.values())
    metrics = {
        f"{sample.name}{sorted(sample.labels.items())}": sample.value
        for stage in loaded.stages
        for family in stage.collect()
        for sample in family.samples
    }
    return Shipped(
        read,
        archive.read_bytes().split(b"\n")[:-1] if archive.exists() else [],
        buffer.getvalue().split(b"\n")[:-1],
        loki.take_all(),
        list(DeadLetter(folder / "state" / FILE).letters()),
        dropped,
        metrics,
    )


def config(loki: Loki, **options: str) -> str:
    """The whole chain; options by the names between the @."""
    chosen = {
        "SOURCE": SOURCES["file"],
        "MULTILINE": '"off"',
        "FORMAT": "auto",
        "TRUNCATE": "max_chars: 2000",
        "LINE": "raw",
        "URL": loki.url,
    }
    text = CONFIG
    for name, value in (chosen | options).items():
        text = text.replace(f"@{name}@", value)
    return text


MARK = re.compile(rb"<<id([a-j]+)>>")
DIGITS, LETTERS = b"0123456789", b"abcdefghij"


def mark(number: int) -> bytes:
    """What tells a line from all others: letters, as a number might be a secret that stands elsewhere in the line."""
    return b"<<id%s>>" % (b"%d" % number).translate(bytes.maketrans(DIGITS, LETTERS))


def marks(data: bytes) -> set[int]:
    return {int(found.translate(bytes.maketrans(LETTERS, DIGITS))) for found in MARK.findall(data)}


def marked(data: bytes) -> dict[int, int]:
    """Where each marked line starts."""
    offset, found = 0, dict[int, int]()
    for line in data.split(b"\n"):
        found |= dict.fromkeys(marks(line), offset)
        offset += len(line) + 1
    return found


def assert_each_is_somewhere(data: bytes, shipped: Shipped) -> None:
    """Every line was dropped, or is in the dead letter, or in the archive, on stdout and in Loki: one of them, once."""
    places = marked(data)
    archived = Counter(mark for line in shipped.archive for mark in marks(line))
    assert set(archived.values()) <= {1}
    assert all(isinstance(json.loads(line), dict) for line in shipped.archive)
    assert sorted(shipped.stdout) == sorted(shipped.archive)
    at = {offset: mark for mark, offset in places.items()}
    letters = {where: [at[letter.offset] for letter in some] for where, some in by_place(shipped.letters).items()}
    refused = letters.pop("loki", [])
    given_up = [mark for some in letters.values() for mark in some]
    assert len(set(refused)) == len(refused)
    assert len(set(given_up)) == len(given_up)
    dropped = marks(b"".join(re.findall(rb"<<\w+>>dropme", data))).difference(given_up)
    assert sorted([*archived, *given_up, *dropped]) == sorted(places)
    assert marks(shipped.pushed) == archived.keys() - refused
    assert shipped.dropped == Counter({"drop": len(dropped)})
    assert shipped.read == len(shipped.archive) + len(dropped) + len(given_up)


def by_place(letters: list[Letter]) -> dict[str, list[Letter]]:
    """The dead letters of each stage and sink."""
    found: dict[str, list[Letter]] = {}
    for letter in letters:
        found.setdefault(letter.where, []).append(letter)
    return found


# ---- what lines are made of ----------------------------------------------------------------------------------------


def nested(depth: int, inner: str = "1") -> str:
    """Lists and objects in turn."""
    opened = "".join('{"a":' if level % 3 == 0 else "[" for level in range(depth))
    closed = "".join("}" if level % 3 == 0 else "]" for level in reversed(range(depth)))
    return opened + inner + closed


TRACE = r"Traceback (most recent call last):\n  File \"a.py\", line 1, in f\nValueError: \ud800"
JUNK = st.sampled_from(
    [
        *(r'"\ud800"', r'"\udc00\ud800 x"', r'"\u0000"', r'"\uD83D\uDE00"', '"\x00"', '"\x1b[31m\x7f"', r'"\x"', '"'),
        *(
            "NaN",
            "-Infinity",
            "1e999",
            "-1e-999",
            "-0",
            "0.1e1",
            "01",
            "9" * 30,
            "-" + "9" * 400,
            "1" * 5000,
            "1.",
            "+1",
        ),
        *(
            '"1e400"',
            '"१२"',
            '"12.5"',
            '"NaN"',
            '"' + "9" * 5000 + '"',
            '"1_0"',
            '" 5 "',
            "true",
            "null",
            '""',
            "[]",
            "{}",
        ),
        *(f'"{TRACE}"', f'["{TRACE}", 1]', '{"stack": "' + TRACE + '"}', r'"a@b.example \u0000 4539578763621486"'),
        *('"password=hunter2hunter2"', '{"password": {"a": [1, "x"]}}', '{"name": "authorization", "value": 1.50}'),
        *('"2026-11-03T10:00:00Z"', '"9999-99-99T99:99:99Z"', "1762128000", "1e18", "-1", '"' + "٣" * 19 + '"'),
        *(
            '"00-' + "a" * 32 + "-" + "b" * 16 + '-01"',
            '"' + "x" * 3000 + '"',
            '"' + "\u00e9\u2028\U0001f600" * 700 + '"',
        ),
    ]
)
VALUES = (
    JUNK
    | st.builds(nested, st.sampled_from([2, 60, 63, 64, 65, 66, 70, 150, 300, 600, 10_000]), JUNK)
    | st.builds(nested, st.integers(600, 1000))
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=5,
    ).map(json.dumps)
)
KEYS = st.sampled_from(
    [
        *(
            "level",
            "lvl",
            "kind",
            "user",
            "cost",
            "duration_ms",
            "trace_id",
            "traceparent",
            "session_key",
            "message",
            "msg",
        ),
        *(
            "timestamp",
            "ts",
            "time",
            "password",
            "api_key",
            "exc_info",
            "error",
            "stack",
            "name",
            "value",
            "app",
            "source",
        ),
        *(
            "error_type",
            "",
            " ",
            "a.b",
            "a",
            r"\ud800",
            r"\u0000",
            r"level",
            r"\u006c\u0076l",
            "x" * 300,
            "sk_live_4eC39HqLyjWDarjtT1zdp7dc",
        ),
    ]
)


@st.composite
def objects(draw: st.DrawFn) -> bytes:
    """Something like a JSON object, now and then with a key twice, or not whole."""
    members = draw(st.lists(st.tuples(KEYS, VALUES), max_size=5))
    text = '{"id":"@MARK@@DROP@"' + "".join(f', "{key}" : {value}' for key, value in members) + "}"
    return text.encode("utf-8", "surrogatepass")


WORDS = st.sampled_from(
    ["level=warn", 'kind="a \\"b', "cost=1e400", "cost=-5", "user=", "=x", "duration_ms=12", '"', "password=hunter2"]
)
LINES = (
    objects()
    | st.binary(max_size=60).map(lambda data: b"@MARK@@DROP@" + data.replace(b"\n", b" ").replace(b"<", b"("))
    | st.lists(WORDS, max_size=5).map(lambda words: " ".join(["id=@MARK@@DROP@", *words]).encode())
    | st.builds(
        lambda head, tail: head.encode() + b" @MARK@@DROP@ " + tail,
        st.sampled_from(
            [
                *("2026-11-03 10:00:00,123 INFO app.db:", "2026-11-03 10:00:00,123 - app - WARNING -", "ERROR:app:"),
                *(
                    "9999-99-99 99:99:99 INFO app:",
                    "2026-11-03 10:00:00 LOUD app:",
                    "Traceback (most recent call last):",
                ),
            ]
        ),
        st.binary(max_size=20).map(lambda data: data.replace(b"\n", b" ").replace(b"<", b"(")),
    )
    | st.builds(
        lambda head, body: head + body,
        st.sampled_from([b"2026-11-03 10:00:00,123 INFO ", b"\xef\xbb\xbf", b" ", b"\x00", b"[", b"\r"]),
        objects(),
    )
    | st.builds(
        lambda body, cut, tail: body[:cut] + tail,
        objects(),
        st.integers(20, 60),
        st.sampled_from([b"", b"\xff", b"\\"]),
    )
)
ENDS = st.sampled_from([b"\n", b"\n", b"\n", b"\r\n", b"\n\n", b"\n\r\n", b"\r\r\n"])


@st.composite
def logs(draw: st.DrawFn) -> bytes:
    """A log, each line with its mark."""
    lines = draw(st.lists(st.tuples(LINES, ENDS, st.sampled_from([b"", b"", b"dropme"])), min_size=1, max_size=25))
    data = b"".join(
        line.replace(b"@DROP@", drop).replace(b"@MARK@", mark(number), 1) + end
        for number, (line, end, drop) in enumerate(lines)
    )
    return draw(st.sampled_from([b"", b"\xef\xbb\xbf", b"\n\n"])) + (
        data if draw(st.booleans()) else data.rstrip(b"\r\n")
    )


@settings(max_examples=80)
@given(
    data=logs(),
    source=st.sampled_from(list(SOURCES.values())),
    form=st.sampled_from(["auto", "json", "logfmt", "prefixed_json"]),
    truncate=st.sampled_from(
        ["max_chars: 2000", "max_bytes: 200", "max_chars: 100, fields: [message, kind, a.b, error]"]
    ),
    line=st.sampled_from(["raw", "json"]),
)
def test_every_line_is_somewhere_once(
    loki: Loki, data: bytes, source: str, form: str, truncate: str, line: str
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        text = config(loki, SOURCE=source, FORMAT=form, TRUNCATE=truncate, LINE=line)
        assert_each_is_somewhere(data, asyncio.run(ship(Path(folder), text, loki, data)))


@settings(max_examples=40)
@given(data=logs(), source=st.sampled_from(list(SOURCES.values())), form=st.sampled_from(["auto", "json"]))
def test_every_line_of_joined_events_is_somewhere_once(loki: Loki, data: bytes, source: str, form: str) -> None:
    data = data.replace(b"dropme", b"")
    with tempfile.TemporaryDirectory() as folder:
        text = config(loki, SOURCE=source, FORMAT=form, MULTILINE="traceback", TRUNCATE="max_chars: 1000000")
        shipped = asyncio.run(ship(Path(folder), text, loki, data))
    letters = [(letter.raw or (letter.line or "").encode()) for letter in shipped.letters if letter.where != "loki"]
    found = Counter(mark for line in [*shipped.archive, *letters] for mark in marks(line))
    assert set(found.values()) <= {1}
    assert found.keys() == marked(data).keys() or not all(letters), "a line is nowhere"
    assert shipped.read == len(shipped.archive) + len(letters)


@pytest.mark.parametrize("line", ["raw", "json"])
def test_json_of_any_depth_is_shipped(loki: Loki, tmp_path: Path, line: str) -> None:
    """The line between what can be decoded and what cannot lies elsewhere in each stage and sink."""
    depths = [*range(50, 80), *range(800, 1010), 3000, 10_000]
    lines = [
        f'{{"id": "{mark(number).decode()}", "{name}": {nested(depth)}}}'
        for number, (depth, name) in enumerate((depth, name) for depth in depths for name in ("kind", "cost", "x"))
    ]
    data = "\n".join([*lines, ""]).encode()
    shipped = asyncio.run(ship(tmp_path, config(loki, LINE=line, TRUNCATE="max_chars: 100000"), loki, data))
    assert_each_is_somewhere(data, shipped)
    assert not [letter for letter in shipped.letters if letter.where != "loki"]


def test_a_stage_that_raises_on_a_record_gives_up_that_one_alone(loki: Loki, tmp_path: Path) -> None:
    """Long before it, others were counted; none of them is counted again."""
    lines = [
        f'{{"id": "{mark(n).decode()}", "cost": 2, "level": "{"choke-on-this" if n % 10 == 7 else "info"}"}}'
        for n in range(50)
    ]
    data = "\n".join([*lines, ""]).encode()
    shipped = asyncio.run(ship(tmp_path, config(loki), loki, data))
    assert_each_is_somewhere(data, shipped)
    assert [(letter.where, letter.line, letter.reason) for letter in shipped.letters] == [
        ("choke", lines[n], f"ValueError: cannot swallow {lines[n][:60]}") for n in range(7, 50, 10)
    ]
    assert {letter.hint for letter in shipped.letters} == {"raised at choke.py:9, in process"}
    (calls,) = {tuple(letter.traceback) for letter in shipped.letters}
    assert calls[0].startswith("choke.py:9, in process: raise ValueError(")
    assert len(shipped.archive) == 45
    assert shipped.metrics["cost_total[('kind', '')]"] == 100


def test_a_record_that_no_sink_can_say_is_given_up_by_each(loki: Loki, tmp_path: Path) -> None:
    lines = [f"{mark(n).decode()} {'odd-for-sinks' if n == 7 else 'well'}" for n in range(20)]
    data = "\n".join([*lines, ""]).encode()
    shipped = asyncio.run(ship(tmp_path, config(loki, LINE="json"), loki, data))
    rest = set(range(20)) - {7}
    assert [marks(line) for line in shipped.archive] == [{n} for n in sorted(rest)]
    assert sorted(shipped.stdout) == sorted(shipped.archive)
    assert marks(shipped.pushed) == rest
    assert sorted((letter.where, letter.line, letter.reason) for letter in shipped.letters) == [
        (sink, lines[7], "TypeError: nobody can say this") for sink in ("archive", "loki", "out")
    ]


NULS = b"\0" * MIB


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_a_megabyte_of_nul_bytes_is_shipped(loki: Loki, tmp_path: Path, source: str) -> None:
    data = mark(0) + b" a\n" + NULS + b"\n" + mark(1) + NULS[: -len(mark(1)) - 1] + b"\n" + mark(2) + b" b\n"
    text = config(loki, SOURCE=source, TRUNCATE="max_bytes: 10000000")
    shipped = asyncio.run(ship(tmp_path, text, loki, data))
    assert shipped.letters == []
    messages = [json.loads(line)["msg"].encode() for line in shipped.archive]
    assert messages == data.removesuffix(b"\n").split(b"\n")
    assert shipped.pushed.count(NULS) == 1


@pytest.mark.parametrize("on_long", ["split", "truncate"])
@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_a_line_of_fifty_megabytes_is_shipped_in_pieces_or_cut(
    loki: Loki, tmp_path: Path, source: str, on_long: str
) -> None:
    long = b'{"id": "' + b"0123456789abcde " * (50 * MIB // 16) + b'"}'
    text = config(loki, SOURCE=f"{source}, on_long: {on_long}", TRUNCATE="max_bytes: 10000000")
    shipped = asyncio.run(ship(tmp_path, text, loki, mark(0) + b" a\n" + long + b"\n" + mark(1) + b" b\n"))
    assert shipped.letters == []
    first, *pieces, last = [json.loads(line)["msg"].encode() for line in shipped.archive]
    assert (first, last) == (mark(0) + b" a", mark(1) + b" b")
    assert max(map(len, pieces)) <= MIB
    assert b"".join(pieces) == (long if on_long == "split" else long[:MIB])


def peak_rss(folder: Path, data: bytes, on_long: str) -> int:
    """The most memory in bytes that a run with `--once` over this input has, as a process of its own."""
    text = f"""
sources: {{ app: {{ use: file, include: ["app.log"], on_long: {on_long} }} }}
stages: [ {{ use: parse }}, {{ use: redact }}, {{ use: truncate, max_bytes: 4000 }}, {{ use: classify }} ]
sinks: {{ archive: {{ use: jsonl, path: "archive/all.jsonl" }} }}
"""
    with Shipper(folder, text) as shipper:
        (folder / "app.log").write_bytes(data)
        shipper.start("--once")
        while shipper.running():
            time.sleep(0.002)
        assert shipper.wait().code == 0
        return shipper.peak_rss


def test_a_line_of_fifty_megabytes_is_never_in_memory_as_a_whole(tmp_path: Path) -> None:
    short = peak_rss(tmp_path / "short", b"a\n", "split")
    for on_long in ("split", "truncate"):
        data = b"0123456789abcde " * (50 * MIB // 16) + b"\n"
        assert peak_rss(tmp_path / on_long, data, on_long) - short < 30 * MIB
