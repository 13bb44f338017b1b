from __future__ import annotations

import json
import re
import shutil
import time
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ..services.loki import Entry, Loki
from .shipper import Shipper, archived, new_app, unpacked

CORPUS = Path(__file__).parent.parent / "pipeline" / "tracebacks"
DAY_NS = 1_762_128_000_000_000_000
"""2025-11-03 in ns. Records of these tests have times of that day."""


@pytest.fixture
def app() -> str:
    return new_app()


def entries_of(loki: Loki, app: str, more: str = "") -> list[Entry]:
    """What Loki holds of an app on the day of these tests; `more`: the rest of the log query."""
    return loki.query(f'{{app="{app}"}}{more}', DAY_NS, DAY_NS + 86_400 * 10**9)


# ---- a round trip ------------------------------------------------------------------------------------------------


class Case(NamedTuple):
    """A JSON line and what Loki must hold of it beside the line itself."""

    line: str
    labels: dict[str, str]
    metadata: dict[str, str]
    time_ns: int


def cases() -> list[Case]:
    """Records that are hard on an encoder, each with an id, and a time in ns."""
    made: list[Case] = []

    def add(labels: dict[str, str], metadata: dict[str, str], *, at_ns: int | None = None, **fields: Any) -> None:
        number = len(made)
        at_ns = DAY_NS + 36_000 * 10**9 + number * 1_000_003 if at_ns is None else at_ns
        seconds, ns = divmod(at_ns - DAY_NS, 10**9)
        stamp = f"2025-11-03T{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{ns:09}Z"
        line = json.dumps({"timestamp": stamp, "id": f"j{number}", **fields}, ensure_ascii=number % 2 == 1)
        made.append(Case(line, labels, {"id": f"j{number}", **metadata}, at_ns))

    def text(value: str) -> None:
        """The same text in the line and in the metadata."""
        add({"level": "info"}, {"note": value}, level="info", note=value)

    add({"level": "info"}, {}, level="info")
    for value in TEXTS:
        text(value)
        text(value)  # once with escapes, once as it is
    add({}, {}, message="U+FFFD \ufffd stays in a line; in metadata Loki itself makes a space of it")
    add({}, {}, level=None, note=None)
    add({}, {}, level="", note="", trace_id="")
    add({"level": "warning", "kind": "a_b"}, {}, level="warning", kind="a b")
    add({"kind": "gr_e"}, {}, kind="größe")
    add({"kind": "it_s_"}, {}, kind="it's\"")
    add({"kind": "true"}, {"note": "12345678901234567890"}, kind=True, note=12345678901234567890)
    add({"kind": "4"}, {"note": "1.5"}, kind=4, note=1.5)
    add({}, {"note": '{"a": [1, "ü"]}'}, note={"a": [1, "ü"]})
    add({}, {"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"}, trace_id="4bf92f3577b34da6a3ce929d0e0e4736")
    at_ns = DAY_NS + 50_000 * 10**9 + 123_456_789
    for place in range(5):  # equal times tick on, and the next time is its own again
        add({"level": "info"}, {}, at_ns=at_ns, level="info")
        made[-1] = made[-1]._replace(time_ns=at_ns + place)
    add({"level": "info"}, {}, at_ns=at_ns + 5, level="info")
    add({"level": "info"}, {}, at_ns=at_ns - 3600 * 10**9 + 60 * 10**9, level="info", note="an hour late")
    made[-1] = made[-1]._replace(metadata={**made[-1].metadata, "note": "an hour late"})
    return made


TEXTS = (
    "ünïcödé, 漢字, עברית, 🦊👩‍👩‍👧, e\u0301",
    'quotes " \' ` and back\\slashes \\" \\\\ \\n',
    "tabs\tlines\nreturns\r\nand more",
    "".join(map(chr, range(0x20))) + "\x7f\x80\x9f",
    "line separators \u2028 \u2029, a BOM \ufeff, no character \ufffe",
    "<script>&amp;</script> {{.app}} {app} ${HOME} %s",
    " ",
    "x" * 5000,
)


EVENTS = (
    b"2025-11-03 10:00:00,001 INFO app.worker: t0 plain",
    "2025-11-03 10:00:00,001 INFO app.worker: t1 ünïcödé 🦊 \t tab".encode(),
    b'2025-11-03 10:00:00,002 WARNING app.worker: t2 control \x00\x01\x1b[31mred\x1b[0m\x7f "quotes" back\\slash',
    b"2025-11-03 10:00:00,003 ERROR app.worker: t3 of several lines\n  and one more\n\n  and the last",
    b"2025-11-03 10:00:00,003 INFO app.worker: t4 stands here twice",
    b"2025-11-03 10:00:00,003 INFO app.worker: t4 stands here twice",
    b"2025-11-03 10:00:00,004 INFO app.worker: t5 not UTF-8: \xff",
    b"2025-11-03 10:00:00,004 INFO app.worker: t6 " + b"long " * 20_000 + b"end",
)
"""Text events, with times in ms."""


class Shipped(NamedTuple):
    """What became of the round trip."""

    raw: list[Entry]
    json: list[Entry]
    archive: Path
    app: str


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory, loki: Loki) -> Shipped:
    """The cases and the events, shipped to Loki twice (as `raw` and as `json`) and into an archive."""
    folder, app = tmp_path_factory.mktemp("round-trip"), new_app()
    with Shipper(
        folder,
        f"""
sources:
  json: {{ use: file, include: ["logs/cases.log"] }}
  text: {{ use: file, include: ["logs/events.log"], multiline: traceback }}
stages:
  - {{ use: parse, format: auto }}
sinks:
  raw:
    use: loki
    url: "{loki.url}"
    labels: {{ app: {app}, source: "{{source}}", level: "{{level}}", kind: "{{kind}}" }}
    metadata: [id, note, trace_id, logger]
  json: {{ use: loki, url: "{loki.url}", line: json, labels: {{ app: {app}-json, source: "{{source}}" }} }}
  archive: {{ use: jsonl, path: "archive/{{source}}/{{date}}.jsonl.zst" }}
state: state
""",
    ) as shipper:
        (folder / "logs").mkdir()
        (folder / "logs" / "cases.log").write_text("".join(case.line + "\n" for case in cases()), newline="")
        (folder / "logs" / "events.log").write_bytes(b"".join(event + b"\n" for event in EVENTS))
        ended = shipper.once()
    assert ended.code == 0, ended.stderr
    return Shipped(entries_of(loki, app), entries_of(loki, f"{app}-json"), folder / "archive", app)


def of(source: str, entries: list[Entry]) -> list[Entry]:
    return [entry for entry in entries if entry.labels["source"] == source]


def test_every_json_record_is_in_loki_once_and_as_it_was_written(shipped: Shipped) -> None:
    found = of("json", shipped.raw)
    assert sorted(entry.metadata["id"] for entry in found) == sorted(case.metadata["id"] for case in cases())
    by_id = {entry.metadata["id"]: entry for entry in found}
    for case in cases():
        labels = {"app": shipped.app, "source": "json", **case.labels}
        assert by_id[case.metadata["id"]] == Entry(labels, case.time_ns, case.line, case.metadata)


def test_a_json_record_is_the_same_as_raw_and_as_json(shipped: Shipped) -> None:
    found = of("json", shipped.json)
    assert [(entry.time_ns, entry.line) for entry in found] == sorted((case.time_ns, case.line) for case in cases())


def test_every_text_event_is_in_loki_once_and_as_it_was_written(shipped: Shipped) -> None:
    found = of("text", shipped.raw)
    # JSON over HTTP has no way to say a byte that is not UTF-8.
    assert [entry.line for entry in found] == [event.decode(errors="replace") for event in EVENTS]
    levels = ["info", "info", "warning", "error", "info", "info", "info", "info"]
    assert [entry.labels["level"] for entry in found] == levels
    assert {entry.metadata["logger"] for entry in found} == {"app.worker"}
    assert [entry.time_ns // 1_000_000 % 1000 for entry in found] == [1, 1, 2, 3, 3, 3, 4, 4]
    assert len({entry.time_ns for entry in found}) == len(EVENTS)


def test_a_text_event_as_json_is_what_the_archive_holds(shipped: Shipped) -> None:
    events = archived(shipped.archive / "text")
    assert [entry.line.encode() for entry in of("text", shipped.json)] == events
    for line, event, entry in zip(events, EVENTS, of("text", shipped.raw), strict=True):
        fields = json.loads(line)
        assert fields.keys() == {"timestamp", "level", "logger", "message"}
        # `parse` takes NUL for no character, too, and leaves out colours.
        text = re.sub(r"\x1b\[[\d;]*m", "", event.decode(errors="replace").replace("\0", "\ufffd"))
        assert text.endswith(f"app.worker: {fields['message']}")
        assert fields["timestamp"] == rfc3339(entry.time_ns)


def test_the_archive_holds_json_lines_byte_for_byte(shipped: Shipped) -> None:
    (path,) = (shipped.archive / "json").iterdir()
    assert path.name == "2025-11-03.jsonl.zst"
    assert unpacked(path).decode() == "".join(case.line + "\n" for case in cases())


def test_equal_lines_of_two_files_in_one_stream_are_two_entries(tmp_path: Path, loki: Loki, app: str) -> None:
    config = f"""
sources: {{ app: {{ use: file, include: ["*.log"] }} }}
stages: [{{ use: parse, format: python }}]
sinks: {{ loki: {{ use: loki, url: "{loki.url}", labels: {{ app: {app} }} }} }}
"""
    line = "2025-11-03 10:00:00,614 INFO app: up"
    with Shipper(tmp_path, config) as shipper:
        for name in ("a.log", "b.log"):
            (tmp_path / name).write_text(f"{line}\n{line}\n")
        assert shipper.once().code == 0
    assert [entry.line for entry in entries_of(loki, app)] == [line] * 4


def rfc3339(time_ns: int) -> str:
    seconds, ns = divmod(time_ns, 10**9)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{ns:09}Z"


# ---- tracebacks --------------------------------------------------------------------------------------------------

TRACEBACK = """\
2025-11-03 10:00:00,614 ERROR app.worker: cannot plan the day
Traceback (most recent call last):
  File "/srv/app/agents/planner.py", line 120, in plan
    return parse(text)
           ^^^^^^^^^^^
  File "/srv/app/agents/parse.py", line 12, in parse
    raise ValueError(f"no such day: {text!r}")
ValueError: no such day: 'Blursday'"""


def test_a_whole_traceback_is_found_as_one_entry(tmp_path: Path, loki: Loki, app: str) -> None:
    before = "2025-11-03 10:00:00,500 INFO app.worker: planning"
    after = "2025-11-03 10:00:01,000 INFO app.worker: next"
    with Shipper(
        tmp_path,
        f"""
sources:
  app: {{ use: file, include: ["app.log"], multiline: traceback }}
stages:
  - {{ use: parse, format: python }}
  - {{ use: classify }}
sinks:
  loki:
    use: loki
    url: "{loki.url}"
    labels: {{ app: {app}, level: "{{level}}" }}
    metadata: [error_type, error_message, error_frame, error_fingerprint]
""",
    ) as shipper:
        (tmp_path / "app.log").write_text("\n".join([before, TRACEBACK, after, ""]))
        assert shipper.once().code == 0
    assert [entry.line for entry in entries_of(loki, app)] == [before, TRACEBACK, after]
    (found,) = entries_of(loki, app, " |= `ValueError: no such day: 'Blursday'`")
    assert found.line == TRACEBACK
    assert found.labels == {"app": app, "level": "error"}
    fingerprint, frame = found.metadata.pop("error_fingerprint"), found.metadata.pop("error_frame")
    assert frame.endswith("agents/parse.py:parse")
    assert re.fullmatch(r"[0-9a-f]{12}", fingerprint)
    assert found.metadata == {"error_type": "ValueError", "error_message": "no such day: 'Blursday'"}
    for more in (' | error_type="ValueError"', f' | error_fingerprint="{fingerprint}"', ' | error_frame=~".+:parse"'):
        assert [entry.line for entry in entries_of(loki, app, more)] == [TRACEBACK]
    assert entries_of(loki, app, ' | error_type="KeyError"') == []


def test_the_tracebacks_of_all_languages_are_whole_events(tmp_path: Path, loki: Loki, app: str) -> None:
    expected: dict[str, list[dict[str, Any]]] = json.loads((CORPUS / "expected.json").read_text())
    assert len(expected) >= 50
    with Shipper(
        tmp_path,
        f"""
sources:
  app: {{ use: file, include: ["logs/*.log"], multiline: traceback }}
sinks:
  loki: {{ use: loki, url: "{loki.url}", labels: {{ app: {app} }}, metadata: [file] }}
  archive: {{ use: jsonl, path: "archive/{{file}}.jsonl.zst" }}
""",
    ) as shipper:
        (tmp_path / "logs").mkdir()
        for name in expected:
            shutil.copy(CORPUS / f"{name}.log", tmp_path / "logs")
        assert shipper.once().code == 0
    in_loki: dict[str, list[Entry]] = defaultdict(list)
    now = time.time_ns()
    for entry in loki.query(f'{{app="{app}"}}', now - 3600 * 10**9, now + 60 * 10**9):  # without `parse`: as of reading
        in_loki[entry.metadata["file"]].append(entry)
    assert in_loki.keys() == {f"logs/{name}.log" for name in expected}
    for name, events in expected.items():
        found = in_loki[f"logs/{name}.log"]
        assert [(one.line.split("\n")[0], one.line.count("\n") + 1) for one in found] == [
            (event["first"], event["lines"]) for event in events
        ]
        read = (CORPUS / f"{name}.log").read_text().split("\n")
        assert list(filter(None, "\n".join([one.line for one in found]).split("\n"))) == list(filter(None, read))
        archive = unpacked(tmp_path / "archive" / f"logs_{name}.log.jsonl.zst").split(b"\n")[:-1]
        assert [json.loads(line)["message"] for line in archive] == [one.line for one in found]
