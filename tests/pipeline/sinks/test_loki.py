"""Pushes to a server in the test that answers as Loki only does on a bad day."""

from __future__ import annotations

import asyncio
import hashlib
import json
import ssl
import sys
from base64 import b64decode
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st

from tailrace.pipeline.batch import Batch, Dead
from tailrace.pipeline.component import ProbeError, Rejected, RetryAfter
from tailrace.pipeline.delivery import Delivery
from tailrace.pipeline.http_client import Client, NotSent
from tailrace.pipeline.match import Match
from tailrace.pipeline.options import Duration, Secret, Size, Template, Tls
from tailrace.pipeline.record import Record
from tailrace.pipeline.runner import Runner
from tailrace.pipeline.sinks._answer import retry_after
from tailrace.pipeline.sinks._lookup import queries
from tailrace.pipeline.sinks.jsonl import Jsonl
from tailrace.pipeline.sinks.loki import BasicAuth, Loki
from tailrace.query.search import search
from tailrace.testing import READ_AT, ListSource, batch_of

TOKEN = "hunter2-is-not-told"


class Pushed(NamedTuple):
    labels: str
    time_ns: int
    line: bytes
    metadata: dict[str, str]


Read = Callable[[bytes], list[Pushed]]
Answer = Callable[[web.Request, list[Pushed]], "web.StreamResponse | Awaitable[web.StreamResponse]"]


class Server:
    """Answers pushes as it is told, and keeps them."""

    def __init__(self, read: Read) -> None:
        self.answer: Answer = lambda request, entries: web.Response(status=204)
        self.requests: list[web.Request] = []
        self.pushes: list[list[Pushed]] = []
        self.url = ""
        self._read = read

    async def handle(self, request: web.Request) -> web.StreamResponse:
        entries = self._read(await request.read()) if request.method == "POST" else []
        self.requests.append(request)
        if request.method == "POST":
            self.pushes.append(entries)
        answer = self.answer(request, entries)
        return answer if isinstance(answer, web.StreamResponse) else await answer


@pytest.fixture
async def server(read_body: Read) -> AsyncIterator[Server]:
    server = Server(read_body)
    app = web.Application(client_max_size=1 << 26)
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield server
    await runner.cleanup()


@pytest.fixture
async def sink(server: Server) -> AsyncIterator[Loki]:
    sink = sink_at(server.url)
    await sink.open()
    yield sink
    await sink.close()


def sink_at(url: str, **options: Any) -> Loki:
    """A sink in whose eyes the batches of these tests have just been read."""
    labels = {name: Template(text) for name, text in options.pop("labels", {"app": "{app}"}).items()}
    sink = Loki(name="loki", url=url, labels=labels, **{"reconcile": False, **options})
    sink._plan.clock = lambda: READ_AT / 1e9
    return sink


def batch_with(*fields: Mapping[str, Any], **labels: str) -> Batch:
    """A batch whose lines are numbered, with these fields and a time each."""
    batch = batch_of(*[b"line %d" % n for n in range(len(fields))], labels=labels)
    for place, (record, more) in enumerate(zip(batch.records, fields, strict=True)):
        record.time_ns, record.parsed = READ_AT + place, {"message": record.text, **more}
    batch.size = batch.measure()
    return batch


def plain(lines: int) -> Batch:
    return batch_with(*[{"app": "a"}] * lines)


def refusing(*bad: bytes, status: int = 400, text: str = "refused") -> Answer:
    """Loki stores what it can, then says 400."""

    def answer(request: web.Request, entries: list[Pushed]) -> web.Response:
        found = [entry.line for entry in entries if entry.line in bad]
        return web.Response(status=status, text=f"{text}: {found[0].decode()}") if found else web.Response(status=204)

    return answer


async def test_a_push_has_streams_times_lines_and_nothing_else(server: Server, sink: Loki) -> None:
    await sink.send([batch_with({"app": "a"}, {"app": "b"})])  # from now on Loki knows the streams
    server.pushes.clear()
    server.requests.clear()
    await sink.send([batch_with({"app": "a"}, {"app": "b"}, {"app": "a"}), batch_with({"app": "b"})])
    (push,) = server.pushes
    assert [tuple(entry) for entry in push] == [
        ('{app="a"}', READ_AT, b"line 0", {}),
        ('{app="a"}', READ_AT + 2, b"line 2", {}),
        ('{app="b"}', READ_AT + 1, b"line 1", {}),
        ('{app="b"}', READ_AT, b"line 0", {}),
    ]
    (request,) = server.requests
    assert (request.method, request.path) == ("POST", "/loki/api/v1/push")
    assert request.headers["Content-Type"] == "application/x-protobuf"
    assert "X-Scope-OrgID" not in request.headers
    assert "Authorization" not in request.headers


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("", "/loki/api/v1/push"),
        ("/", "/loki/api/v1/push"),
        ("/custom/push", "/custom/push"),
        ("/tenant/?x=1", "/tenant/"),
    ],
)
async def test_the_path_is_added_unless_there_is_one(server: Server, url: str, path: str) -> None:
    sink = sink_at(server.url + url)
    await sink.open()
    await sink.send([plain(1)])
    await sink.close()
    assert server.requests[0].path == path


async def test_tenant_and_token_are_sent(server: Server) -> None:
    sink = sink_at(server.url, tenant="team", bearer=Secret(TOKEN, "env TOKEN"))
    await sink.open()
    await sink.send([plain(1)])
    await sink.close()
    assert server.requests[0].headers["X-Scope-OrgID"] == "team"
    assert server.requests[0].headers["Authorization"] == f"Bearer {TOKEN}"
    assert TOKEN not in repr(sink)


async def test_user_and_password_are_sent(server: Server) -> None:
    sink = sink_at(server.url, basic_auth=BasicAuth("me", Secret("pä:☃", "env PW")))
    await sink.open()
    await sink.send([plain(1)])
    await sink.close()
    scheme, _, pair = server.requests[0].headers["Authorization"].partition(" ")
    assert (scheme, b64decode(pair).decode()) == ("Basic", "me:pä:☃")


@pytest.mark.parametrize(
    ("labels", "fields", "stream"),
    [
        pytest.param(
            {"app": "{app}", "level": "{level}"}, {"app": "a", "level": "info"}, '{app="a", level="info"}', id="two"
        ),
        pytest.param({"z": "{app}", "b": "{app}"}, {"app": "a"}, '{b="a", z="a"}', id="sorted by name"),
        pytest.param(
            {"app": "shop", "level": "{level}"}, {"level": "info"}, '{app="shop", level="info"}', id="a fixed one"
        ),
        pytest.param({"app": "shop"}, {}, '{app="shop"}', id="fixed only"),
        pytest.param({"app": 'a"b\\c\n'}, {}, '{app="a\\"b\\\\c\\n"}', id="quoted"),
        pytest.param({"app": "{app}", "level": "{level}"}, {"app": "a"}, '{app="a"}', id="a missing one is left out"),
        pytest.param(
            {"app": "{app}", "level": "{level}"}, {"app": "a", "level": None}, '{app="a"}', id="null is missing"
        ),
        pytest.param({"app": "{app}"}, {}, '{source="unknown"}', id="none at all"),
        pytest.param({"job": "{source}"}, {}, '{job="s"}', id="of the partition"),
        pytest.param(
            {"node": "x-{node}"},
            {"node": "Node_3f2b8c1e-9d4a-4e7b-8a6f-0c1d2e3f4a5b"},
            '{node="x-Node"}',
            id="ids are cut out",
        ),
        pytest.param({"n": "{n}"}, {"n": 5}, '{n="5"}', id="a number"),
        pytest.param({"n": "{n}"}, {"n": ["a", 1]}, '{n="_a_1_"}', id="a list"),
        pytest.param(
            {"n": "{n}", "app": "{app}"},
            {"n": {"a": 1}, "app": "a"},
            '{app="a", n="_a_:_1_"}',
            id="an object beside another",
        ),
    ],
)
async def test_labels_are_filled_from_fields(
    server: Server, labels: dict[str, str], fields: dict[str, Any], stream: str
) -> None:
    sink = sink_at(server.url, labels=labels)
    await sink.open()
    await sink.send([batch_with(fields, source="s")])
    await sink.close()
    assert [entry.labels for entry in server.pushes[0]] == [stream]


async def test_values_that_python_takes_for_equal_are_streams_of_their_own(server: Server, sink: Loki) -> None:
    values = [1, True, 1.0, "1", "true"]
    await sink.send([batch_with(*[{"app": value} for value in values])])
    assert {entry.line: entry.labels for push in server.pushes for entry in push} == {
        b"line 0": '{app="1"}',
        b"line 1": '{app="true"}',
        b"line 2": '{app="1.0"}',
        b"line 3": '{app="1"}',
        b"line 4": '{app="true"}',
    }


async def test_metadata_is_sent_beside_the_line(server: Server) -> None:
    sink = sink_at(server.url, metadata=["trace_id", "http.path", "n", "tags"])
    await sink.open()
    await sink.send(
        [
            batch_with(
                {"app": "a", "trace_id": "t1", "http.path": "/ä", "n": 0, "tags": ["x", 1]},
                {"app": "a", "trace_id": "", "n": None},
                {"app": "a", "n": False},
            )
        ]
    )
    await sink.close()
    assert [entry.metadata for entry in server.pushes[0]] == [
        {"trace_id": "t1", "http_path": "/ä", "n": "0", "tags": '["x", 1]'},
        {},
        {"n": "false"},
    ]


async def test_a_line_as_json_has_all_fields(server: Server) -> None:
    sink = sink_at(server.url, line="json")
    await sink.open()
    batch = batch_with({"app": "a"}, {"app": "a"})
    batch.records[0].format, batch.records[0].line = "json", b'{"app": "a",  "x": 1}'
    await sink.send([batch])
    await sink.close()
    assert server.pushes[0][0].line == b'{"app": "a",  "x": 1}'
    assert json.loads(server.pushes[0][1].line)["message"] == "line 1"


FIELDS = st.dictionaries(
    st.sampled_from(["app", "level", "trace_id"]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=5) | st.none() | st.integers() | st.booleans(),
)


@given(fields=st.lists(FIELDS, min_size=1, max_size=8), cut=st.integers(0, 8), line=st.sampled_from(["raw", "json"]))
def test_what_a_record_becomes_does_not_depend_on_those_beside_it(
    read_body: Read, fields: list[dict[str, Any]], cut: int, line: str
) -> None:
    sink = sink_at("http://x", labels={"app": "{app}", "level": "{level}"}, metadata=["trace_id"], line=line)
    batch = batch_with(*fields)
    whole = pushed(read_body, sink, batch)
    parts = [batch.with_records(batch.records[:cut]), batch.with_records(batch.records[cut:])]
    assert sorted([entry for part in parts for entry in pushed(read_body, sink, part)]) == whole
    assert pushed(read_body, sink, *parts) == whole
    assert len(whole) == len(fields)


def pushed(read: Read, sink: Loki, *batches: Batch) -> list[str]:
    """All entries of the pushes that these batches become, as text."""
    return sorted(str(entry) for lane in sink._plan.lanes(batches) for push in lane for entry in read(push.body))


# ---- long lines --------------------------------------------------------------------------------------------------

LONG = b"start " + b"x" * 300 + b" end"
OBJECT = b'{"app":"a","n":1.50,"text":"' + b"y" * 300 + b'"}'


def with_long(*lines: bytes, **labels: str) -> Batch:
    batch = batch_of(*lines, labels=labels)
    for place, record in enumerate(batch.records):
        record.time_ns, record.parsed = READ_AT + place, {"app": "a"}
        record.format = "json" if record.line.startswith(b"{") else "text"
    batch.size = batch.measure()
    return batch


async def test_of_a_line_over_the_limit_loki_gets_an_excerpt_that_points_to_the_whole(server: Server) -> None:
    sink = sink_at(server.url, max_line=Size(200))
    await sink.open()
    batch = with_long(b"short", LONG, OBJECT, file="/var/log/a.log")
    await sink.send([batch])
    await sink.close()
    short, text, thing = server.pushes[0]
    assert (short.line, short.metadata) == (b"short", {})
    assert (len(text.line), text.line[:7], text.line[-5:]) == (200, b"start x", b"x end")
    digest = hashlib.sha256(LONG).hexdigest()[:12]
    assert f"…(truncated, 310 bytes, sha256 {digest})" in text.line.decode()
    assert text.metadata == {
        "source_file": "/var/log/a.log",
        "source_offset": "6",
        "line_bytes": "310",
        "line_sha256": digest,
        "archive_sha256": hashlib.sha256(batch.records[1].to_json()).hexdigest()[:12],
    }
    assert json.loads(thing.line)["n"] == 1.5
    assert b'"n":1.50' in thing.line
    assert thing.metadata["source_offset"] == "317"
    assert batch.lines == [b"short", LONG, OBJECT]  # what other sinks get


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.zst"])
async def test_the_pointer_of_an_excerpt_finds_the_whole_record_in_an_archive(
    server: Server, tmp_path: Path, name: str
) -> None:
    loki, archive = sink_at(server.url, max_line=Size(200)), Jsonl(path=Template(str(tmp_path / name)), name="archive")
    batch = with_long(b"short", LONG, OBJECT, LONG + b" as well")
    batch.records[2].set("session_key", "abc")
    for sink in (loki, archive):
        await sink.open()
        await sink.send([batch])
        await sink.close()
    digests = [entry.metadata["archive_sha256"] for entry in server.pushes[0] if "archive_sha256" in entry.metadata]
    found = [list(search(Match("{}"), [tmp_path], sha256=digest)) for digest in digests]
    assert found == [[record.to_json()] for record in batch.records[1:]]


async def test_the_pointer_stands_beside_metadata_and_names_no_file_where_there_is_none(server: Server) -> None:
    sink = sink_at(server.url, max_line=Size(200), metadata=["trace_id", "line_bytes"], line="json")
    await sink.open()
    batch = with_long(LONG)
    batch.records[0].parsed = {"app": "a", "trace_id": "t", "line_bytes": "its own", "message": LONG.decode()}
    await sink.send([batch])
    await sink.close()
    ((_, _, line, metadata),) = server.pushes[0]
    assert metadata.keys() == {"trace_id", "line_bytes", "source_offset", "line_sha256", "archive_sha256"}
    assert (metadata["trace_id"], metadata["line_bytes"]) == ("t", "its own")
    assert json.loads(line)["trace_id"] == "t"


async def test_without_a_limit_of_its_own_a_line_is_sent_as_it_is(server: Server) -> None:
    sink = sink_at(server.url, max_line=None)
    await sink.open()
    await sink.send([with_long(b"z" * (300 << 10))])
    await sink.close()
    assert server.pushes[0][0] == ('{app="a"}', READ_AT, b"z" * (300 << 10), {})


@pytest.mark.parametrize("cut", range(5))
def test_an_excerpt_does_not_depend_on_what_stands_beside_it(read_body: Read, cut: int) -> None:
    batch = with_long(LONG, b"short", OBJECT, b"short, too", file="a.log")
    sink = sink_at("http://x", max_line=Size(200), metadata=["trace_id"])
    whole = pushed(read_body, sink, batch)
    parts = [batch.with_records(batch.records[:cut]), batch.with_records(batch.records[cut:])]
    assert sorted([entry for part in parts for entry in pushed(read_body, sink, part)]) == whole
    assert pushed(read_body, sink, *parts) == whole


async def test_an_excerpt_that_loki_has_is_not_pushed_again(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Loki, "settle", 0.01)
    sink = sink_at(server.url, max_line=Size(200), reconcile=True)
    await sink.open()
    batch = with_long(b"short", LONG, OBJECT)
    await sink.send([batch])
    _, text, thing = server.pushes.pop()
    held = {"app": "a"}
    values = [
        [str(text.time_ns), text.line.decode(), {"structuredMetadata": {**text.metadata, "added_by_loki": "x"}}],
        [str(thing.time_ns), thing.line.decode(), {"structuredMetadata": {**thing.metadata, "source_offset": "7"}}],
    ]
    data = {"status": "success", "data": {"resultType": "streams", "result": [{"stream": held, "values": values}]}}
    server.answer = lambda request, _: web.Response(status=204) if request.method == "POST" else web.json_response(data)
    await sink.send([repeated(batch)])
    await sink.close()
    assert lines_pushed(server) == [b"short", thing.line]  # another offset is another record


# ---- which streams share a push ----------------------------------------------------------------------------------

HOUR = 3600 * 10**9


def shares(server: Server) -> list[list[str]]:
    """The streams of each push so far, the pushes in any order; and forgets them."""
    found = sorted([*dict.fromkeys(entry.labels for entry in push)] for push in server.pushes)
    server.pushes.clear()
    return found


async def test_a_stream_is_first_pushed_alone_for_loki_tells_about_the_last_one_only(
    server: Server, sink: Loki
) -> None:
    await sink.send([batch_with({"app": "a"}, {"app": "b"}, {"app": "c"})])
    assert shares(server) == [['{app="a"}'], ['{app="b"}'], ['{app="c"}']]
    await sink.send([batch_with({"app": "a"}, {"app": "b"}, {"app": "new"}, {"app": "c"})])
    assert shares(server) == [['{app="a"}', '{app="b"}', '{app="c"}', '{app="new"}']]


async def test_streams_that_loki_may_have_forgotten_are_pushed_alone_again(server: Server, sink: Loki) -> None:
    batch = batch_with({"app": "a"}, {"app": "b"})
    await sink.send([batch])
    sink._plan.clock = lambda: READ_AT / 1e9 + 601
    shares(server)
    await sink.send([batch_with({"app": "a"}, {"app": "b"})])
    assert shares(server) == [['{app="a"}'], ['{app="b"}']]


async def test_much_of_a_stream_and_old_entries_are_pushed_alone(server: Server, sink: Loki) -> None:
    await sink.send([batch_with({"app": "a"}, {"app": "b"}, {"app": "c"})])
    shares(server)
    batch = batch_with({"app": "a"}, {"app": "b"}, {"app": "c"})
    batch.records[0].line = batch.records[1].line = bytes(17_000)
    await sink.send([batch])
    assert shares(server) == [['{app="b"}'], ['{app="c"}', '{app="a"}']]
    batch = batch_with({"app": "a"}, {"app": "b"})
    for record in batch.records:
        record.time_ns = READ_AT - HOUR
    await sink.send([batch])
    assert shares(server) == [['{app="a"}'], ['{app="b"}']]


def spread(*hours: float) -> Batch:
    batch = plain(len(hours))
    for record, hour in zip(batch.records, hours, strict=True):
        record.time_ns = READ_AT - int(hour * HOUR)
    return batch


async def test_no_push_spans_more_than_lokis_window(server: Server, sink: Loki) -> None:
    await sink.send([spread(9, 1, 8.5, 8), spread(7, 0, 7.75, 2)])
    ages = [[(READ_AT - entry.time_ns) / HOUR for entry in push] for push in server.pushes]
    assert ages == [[9, 8.5, 8], [7.75, 7], [2, 1], [0]]


async def test_a_span_is_seen_in_the_middle_of_a_batch_too(server: Server, sink: Loki) -> None:
    await sink.send([spread(0.5, 2, 0.5)])
    assert [[entry.line for entry in push] for push in server.pushes] == [[b"line 1"], [b"line 0", b"line 2"]]


async def test_what_was_taken_of_a_send_is_not_pushed_again_after_an_error(server: Server, sink: Loki) -> None:
    """It would be too far behind by then."""
    refuse = refusing(b"line 1")

    def answer(request: web.Request, entries: list[Pushed]) -> web.StreamResponse:
        if entries[0].line == b"line 2" and len(server.pushes) < 6:
            return web.Response(status=503, text="weather")
        response = refuse(request, entries)
        assert isinstance(response, web.StreamResponse)
        return response

    server.answer = answer
    batch = spread(9, 8.5, 4)
    for _ in range(2):
        with pytest.raises(OSError, match="weather"):
            await sink.send([batch])
    with pytest.raises(Rejected) as caught:
        await sink.send([batch])
    assert [record.line for record, _ in caught.value.records] == [b"line 1"]
    lines = [[entry.line for entry in push] for push in server.pushes]
    assert lines == [[b"line 0", b"line 1"], [b"line 0"], [b"line 1"], [b"line 2"], [b"line 2"], [b"line 2"]]


async def test_when_one_push_fails_those_that_wait_are_not_begun(server: Server, sink: Loki) -> None:
    server.answer = lambda request, entries: web.Response(status=503)
    with pytest.raises(OSError, match="503"):
        await sink.send([batch_with(*[{"app": str(n)} for n in range(100)])])
    assert len(server.pushes) <= 4
    server.answer = lambda request, entries: web.Response(status=204)
    server.pushes.clear()
    await sink.send([batch_with(*[{"app": str(n)} for n in range(100)])])
    assert len(server.pushes) == 100


# ---- refusals ----------------------------------------------------------------------------------------------------


TOO_LONG = "max entry size '9' bytes exceeded for stream '{app=\"a\"}' while adding an entry with length '20' bytes"


async def test_a_refusal_that_is_understood_takes_one_push(server: Server, sink: Loki) -> None:
    too_long = f"3 errors like: {TOO_LONG}"
    server.answer = lambda request, entries: web.Response(status=400, text=too_long)
    batch = plain(1000)
    for place in (3, 500, 999):
        batch.records[place].line = bytes(20)
    with pytest.raises(Rejected) as caught:
        await sink.send([batch])
    assert [record for record, _ in caught.value.records] == [batch.records[place] for place in (3, 500, 999)]
    assert "max_line_size" in caught.value.hint
    assert len(server.pushes) == 1


def far_behind(entry: Pushed, out_of: int) -> str:
    seconds, fraction = divmod(entry.time_ns, 10**9)
    at, later = datetime.fromtimestamp(seconds, UTC), datetime.fromtimestamp(seconds + 1, UTC)
    return (
        f"entry with timestamp {at:%Y-%m-%d %H:%M:%S}.{fraction:09} +0000 UTC ignored, reason: 'entry too far behind, "
        f"entry timestamp is: {at:%Y-%m-%dT%H:%M:%SZ}, oldest acceptable timestamp is: {later:%Y-%m-%dT%H:%M:%SZ}',\n"
        f"user 'fake', total ignored: 1 out of {out_of} for stream: {entry.labels}\n"
    )


async def test_a_repeat_that_is_too_far_behind_was_delivered(server: Server, sink: Loki) -> None:
    """The first answer hides that another is too long; by the second push somebody else has moved the window."""

    def answer(request: web.Request, entries: list[Pushed]) -> web.Response:
        said = {1: far_behind(entries[0], 3), 2: far_behind(entries[0], 2), 3: TOO_LONG}
        return web.Response(status=400, text=said[len(server.pushes)])

    server.answer = answer
    batch = spread(0.9, 0.8, 0.1, 0)
    batch.records[3].line = bytes(20)
    with pytest.raises(Rejected) as caught:
        await sink.send([batch])
    assert [record for record, _ in caught.value.records] == [batch.records[0], batch.records[3]]
    assert [len(push) for push in server.pushes] == [4, 3, 2]


async def test_a_rate_limit_inside_a_refusal_is_weather(server: Server, sink: Loki) -> None:
    limited = (
        "entry with timestamp 2026-01-01 00:00:00 +0000 UTC ignored, reason: 'Per stream rate limit exceeded (limit: "
        "10KB/sec) while attempting …',\n"
    )

    def answer(request: web.Request, entries: list[Pushed]) -> web.Response:
        if len(server.pushes) > 1:
            return web.Response(status=204)
        return web.Response(status=400, text=limited + far_behind(entries[0], 3).replace("ignored: 1", "ignored: 2"))

    server.answer = answer
    batch = spread(0.5, 0.1, 0)
    with pytest.raises(OSError, match="Loki answers 400: entry with timestamp"):
        await sink.send([batch])
    with pytest.raises(Rejected) as caught:
        await sink.send([batch])
    assert [record.line for record, _ in caught.value.records] == [b"line 0"]
    assert [len(push) for push in server.pushes] == [3, 2]


async def test_a_push_that_is_too_large_inside_loki_is_split(server: Server, sink: Loki) -> None:
    text = "rpc error: code = ResourceExhausted desc = grpc: received message larger than max (5120026 vs. 4194304)\n"
    server.answer = lambda request, entries: web.Response(status=500 if len(entries) > 3 else 204, text=text)
    await sink.send([plain(10)])
    assert sorted(len(push) for push in server.pushes if len(push) <= 3) == [2, 2, 3, 3]


async def test_a_push_that_is_throttled_for_long_goes_in_smaller_ones(server: Server, sink: Loki) -> None:
    """One over the burst of a rate limit would never get through. A single entry waits for ever."""
    server.answer = lambda request, entries: web.Response(status=429 if len(entries) > 1 else 204)
    batch = plain(2)
    batch.records[0].line = batch.records[1].line = bytes(100_000)
    for _ in range(4):
        with pytest.raises(OSError, match="429"):
            await sink.send([batch])
    await sink.send([batch])
    assert [len(push) for push in server.pushes] == [2, 2, 2, 2, 1, 1]
    server.answer = lambda request, entries: web.Response(status=429)
    batch = batch.with_records(batch.records[:1])
    for _ in range(9):
        with pytest.raises(OSError, match="429"):
            await sink.send([batch])


@pytest.mark.parametrize("count", [1, 2, 7, 16])
@pytest.mark.parametrize("status", [400, 413])
async def test_exactly_the_entries_that_are_refused_are_rejected(
    server: Server, sink: Loki, count: int, status: int
) -> None:
    bad = {b"line 0", b"line 5", b"line 6"}
    server.answer = refusing(*bad, status=status, text="too old")
    batch = plain(count)
    with pytest.raises(Rejected) as caught:
        await sink.send([batch])
    rejected = {record.line: reason for record, reason in caught.value.records}
    assert rejected == {line: f"too old: {line.decode()}" for line in bad if int(line[5:]) < count}
    assert all(any(record is own for own in batch.records) for record, _ in caught.value.records)
    stored = {entry.line for push in server.pushes for entry in push if not bad & {e.line for e in push}}
    assert stored == {record.line for record in batch.records} - bad
    assert ("limits_config" if status == 400 else "grpc_server_max_recv_msg_size") in caught.value.hint


async def test_entries_of_several_batches_and_streams_are_told_apart(server: Server, sink: Loki) -> None:
    first, second = batch_with({"app": "a"}, {"app": "b"}), batch_with({"app": "b"}, {"app": "a"})
    second.records[0].line = b"bad"
    server.answer = refusing(b"bad")
    with pytest.raises(Rejected) as caught:
        await sink.send([first, second])
    assert [record for record, _ in caught.value.records] == [second.records[0]]
    times = {entry.labels for push in server.pushes for entry in push if entry.line == b"bad"}
    assert times == {'{app="b"}'}


async def test_a_push_that_is_too_large_is_split_until_it_is_taken(server: Server, sink: Loki) -> None:
    server.answer = lambda request, entries: web.Response(status=413 if len(entries) > 3 else 204)
    await sink.send([plain(10)])
    taken = [entry.line for push in server.pushes if len(push) <= 3 for entry in push]
    assert sorted(taken) == sorted(b"line %d" % n for n in range(10))


async def test_to_find_one_refused_entry_takes_few_pushes(server: Server, sink: Loki) -> None:
    server.answer = refusing(b"line 77")
    with pytest.raises(Rejected):
        await sink.send([plain(1024)])
    assert len(server.pushes) == 1 + 2 * 10


async def test_a_refusal_without_words_names_the_status(server: Server, sink: Loki) -> None:
    server.answer = lambda request, entries: web.Response(status=400)
    with pytest.raises(Rejected) as caught:
        await sink.send([plain(1)])
    assert [reason for _, reason in caught.value.records] == ["Loki answers 400"]


async def test_a_refusal_that_is_not_text_is_one_all_the_same(server: Server, sink: Loki) -> None:
    server.answer = lambda request, entries: web.Response(status=400, body=b"\xff\xfe", content_type="text/plain")
    with pytest.raises(Rejected) as caught:
        await sink.send([plain(1)])
    assert caught.value.records[0][1] == "\ufffd\ufffd"


async def test_when_the_search_is_cut_off_everything_is_tried_again(server: Server, sink: Loki) -> None:
    def answer(request: web.Request, entries: list[Pushed]) -> web.Response:
        return web.Response(status=400 if len(server.pushes) < 3 else 503, text="weather")

    server.answer = answer
    with pytest.raises(OSError, match="Loki answers 503: weather"):
        await sink.send([plain(4)])
    server.answer = refusing(b"line 2")
    with pytest.raises(Rejected) as caught:
        await sink.send([plain(4)])
    assert [record.line for record, _ in caught.value.records] == [b"line 2"]


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        pytest.param(429, {}, id="429 without a time"),
        pytest.param(500, {}, id="500"),
        pytest.param(503, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, id="503 with a date that is past"),
        pytest.param(503, {"Retry-After": "soon"}, id="503 with no date"),
        pytest.param(401, {}, id="401"),
        pytest.param(404, {}, id="404"),
        pytest.param(200, {}, id="200, a login page"),
        pytest.param(260, {}, id="260, a blocked tenant"),
        pytest.param(302, {"Location": "/login"}, id="302"),
        pytest.param(307, {"Location": "/login"}, id="307"),
    ],
)
async def test_anything_but_204_and_a_refusal_is_tried_again(
    server: Server, sink: Loki, status: int, headers: dict[str, str]
) -> None:
    server.answer = lambda request, entries: web.Response(status=status, headers=headers, text="told why")
    with pytest.raises(OSError, match=f"Loki answers {status}: told why"):
        await sink.send([plain(2)])
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"Retry-After": "7"}, id="seconds"),
        pytest.param(
            {"Retry-After": "Wed, 21 Oct 2015 07:28:05 GMT", "Date": "Wed, 21 Oct 2015 07:27:58 GMT"},
            id="a date, on the clock of who answers",
        ),
    ],
)
async def test_it_comes_again_when_it_was_told_to(
    server: Server, sink: Loki, status: int, headers: dict[str, str]
) -> None:
    server.answer = lambda request, entries: web.Response(status=status, headers=headers, text="slow down")
    with pytest.raises(RetryAfter, match=f"Loki answers {status}: slow down") as caught:
        await sink.send([plain(1)])
    assert caught.value.seconds == 7.0


async def test_a_date_to_come_again_counts_from_now_where_the_answer_has_none() -> None:
    at = datetime.now(UTC) + timedelta(seconds=100)
    assert 90 < (retry_after({"Retry-After": format_datetime(at, usegmt=True)}) or 0) <= 100


async def cut_before_the_answer(request: web.Request) -> web.StreamResponse:
    assert request.transport
    request.transport.abort()
    return web.Response(status=204)


async def store_and_cut(request: web.Request) -> web.StreamResponse:
    await request.read()
    return await cut_before_the_answer(request)


async def cut_inside_the_answer(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(status=500, headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b"half of")
    assert request.transport
    request.transport.abort()
    return response


@pytest.mark.parametrize("cut", [cut_before_the_answer, store_and_cut, cut_inside_the_answer])
async def test_a_connection_that_is_cut_is_tried_again_and_the_repeat_is_the_same(
    server: Server, sink: Loki, cut: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> None:
    server.answer = lambda request, entries: cut(request)
    batch = plain(2)
    with pytest.raises(OSError, match=r"closed|cut short|reset"):
        await sink.send([batch])
    server.answer = lambda request, entries: web.Response(status=204)
    await sink.send([batch])
    first, second = server.pushes
    assert first == second


async def test_an_answer_that_takes_too_long_is_tried_again(server: Server) -> None:
    never = asyncio.Event()

    async def hang(request: web.Request) -> web.StreamResponse:
        await never.wait()
        return web.Response(status=204)

    server.answer = lambda request, entries: hang(request)
    sink = sink_at(server.url, timeout=Duration(0.01))
    await sink.open()
    with pytest.raises(TimeoutError):
        await sink.send([plain(1)])
    await sink.close()
    never.set()


async def test_nobody_there_is_tried_again() -> None:
    sink = sink_at("http://127.0.0.1:1")
    await sink.open()
    with pytest.raises(OSError, match=r"cannot connect to 127\.0\.0\.1:1: Connection refused"):
        await sink.send([plain(1)])
    await sink.close()


async def test_under_delivery_refused_entries_are_dead_and_the_rest_is_delivered(server: Server, sink: Loki) -> None:
    dead: list[Dead] = []

    async def keep(batch: Batch, more: list[Dead]) -> None:
        dead.extend(more)

    answers = iter([429, 503])
    refuse = refusing(b"line 3")

    def answer(request: web.Request, entries: list[Pushed]) -> web.StreamResponse:
        if status := next(answers, None):
            return web.Response(status=status, headers={"Retry-After": "0"})
        response = refuse(request, entries)
        assert isinstance(response, web.StreamResponse)
        return response

    server.answer = answer
    sink.batch_wait = Duration(0)
    delivery = Delivery(sink, keep, jitter=lambda most: 0.0)
    delivery.put(plain(8))
    delivery.close()
    await delivery.run()
    assert [(one.record.line, one.where, one.reason) for one in dead] == [(b"line 3", "loki", "refused: line 3")]
    assert (delivery.meter.events_out, delivery.meter.dead, delivery.meter.retries) == (7, 1, 2)
    assert (delivery.held_events, delivery.failing) == (0, "")


async def test_in_a_run_every_record_is_pushed_once(server: Server, tmp_path: Path) -> None:
    sink = sink_at(server.url, labels={"job": "{source}"}, batch_wait=Duration(0), batch_bytes=Size(1))
    source = ListSource(name="app", lines=[[b"one", b"two"], [b"two"]])
    runner = Runner({"app": source}, [], {"loki": sink}, wanted=[], state=tmp_path, clock_ns=lambda: READ_AT)
    assert await runner.run(once=True) == 0
    assert runner.residual(runner.deliveries[0]) == 0
    entries = [entry for push in server.pushes for entry in push]
    assert sorted(entry.line for entry in entries) == [b"one", b"two", b"two"]
    assert len({(entry.labels, entry.time_ns) for entry in entries}) == 3


async def test_what_a_run_loads_has_no_aiohttp(server: Server, tmp_path: Path) -> None:
    """It alone would take as long as the rest of a start."""
    (tmp_path / "a.log").write_text("one\n")
    (tmp_path / "tailrace.yaml").write_text(f"""
sources: {{ app: {{ use: file, include: ["{tmp_path}/*.log"] }} }}
sinks: {{ loki: {{ use: loki, url: "{server.url}", labels: {{ app: x }} }} }}
exporter: {{ listen: "127.0.0.1:0" }}
state: "{tmp_path}/state"
""")
    command = f"-X importtime -m tailrace.cli run {tmp_path}/tailrace.yaml --once".split()
    run = await asyncio.create_subprocess_exec(sys.executable, *command, stderr=asyncio.subprocess.PIPE)
    _, told = await run.communicate()
    loaded = {line.rpartition(b"|")[2].strip().decode() for line in told.splitlines() if line.startswith(b"import")}
    assert (run.returncode, lines_pushed(server)) == (0, [b"one"])
    assert {"tailrace.pipeline.http_client", "tailrace.pipeline.exporter"} <= loaded
    assert not {name for name in loaded if name.partition(".")[0] in ("aiohttp", "yarl", "multidict")}


# ---- reconcile ---------------------------------------------------------------------------------------------------


class Holding:
    """Answers range queries from what it holds, a page at a time, as Loki does."""

    def __init__(self, *held: tuple[dict[str, str], int, str], most: int = 5000) -> None:
        self.held = held
        self.most = most
        self.queries: list[web.Request] = []

    def __call__(self, request: web.Request, entries: list[Pushed]) -> web.Response:
        if request.method == "POST":
            return web.Response(status=204)
        self.queries.append(request)
        start, end, limit = (int(request.query[name]) for name in ("start", "end", "limit"))
        found = [one for one in self.held if start <= one[1] < end][:limit]
        if len(found) > self.most:
            return web.Response(status=500, text="received message larger than max (5120026 vs. 4194304)")
        result = [{"stream": labels, "values": [[str(at), line, {}]]} for labels, at, line in found]
        return web.json_response({"status": "success", "data": {"resultType": "streams", "result": result}})


@pytest.fixture
async def asking(server: Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Loki]:
    monkeypatch.setattr(Loki, "settle", 0.01)
    sink = sink_at(server.url, reconcile=True)
    await sink.open()
    yield sink
    await sink.close()


def repeated(batch: Batch) -> Batch:
    batch.repeated = True
    return batch


def lines_pushed(server: Server) -> list[bytes]:
    return [entry.line for push in server.pushes for entry in push]


async def test_what_loki_has_is_not_pushed_again(server: Server, asking: Loki) -> None:
    own = {"app": "a", "service_name": "a"}
    server.answer = holding = Holding(
        (own, READ_AT, "line 0"),
        (own, READ_AT + 1, "another line"),
        ({"app": "a", "host": "x"}, READ_AT + 2, "line 2"),
        (own, READ_AT + 3, "line 3"),
    )
    await asking.send([repeated(plain(5))])
    assert lines_pushed(server) == [b"line 1", b"line 2", b"line 4"]
    request, _ = holding.queries  # the second asks for what may have arrived since
    assert request.path == "/loki/api/v1/query_range"
    assert request.query["query"] == '{app="a"}'
    assert (request.query["start"], request.query["end"]) == (str(READ_AT), str(READ_AT + 5))
    assert request.headers["X-Loki-Response-Encoding-Flags"] == "categorize-labels"


async def test_what_loki_has_is_asked_for_page_by_page(server: Server, asking: Loki) -> None:
    """Others have more entries in that time than a page holds."""
    others = [({"app": "a", "host": str(n)}, READ_AT + n // 300, "line 0") for n in range(3000)]
    server.answer = holding = Holding(*others, ({"app": "a"}, READ_AT + 10, "line 10"))
    await asking.send([repeated(plain(11))])
    assert lines_pushed(server) == [b"line %d" % n for n in range(10)]
    assert len(holding.queries) > 5


async def test_nothing_is_pushed_where_loki_has_it_all_and_nothing_asked_where_nothing_is_repeated(
    server: Server, asking: Loki
) -> None:
    server.answer = holding = Holding(({"app": "a"}, READ_AT, "line 0"))
    await asking.send([repeated(plain(1))])
    assert lines_pushed(server) == []
    await asking.send([plain(1)])
    assert (lines_pushed(server), len(holding.queries)) == ([b"line 0"], 1)


async def test_many_entries_are_asked_for_in_portions(server: Server, asking: Loki) -> None:
    held = [({"app": "a"}, READ_AT + n, f"line {n}") for n in range(9000)]
    server.answer = holding = Holding(*held)
    await asking.send([repeated(plain(9001))])
    assert lines_pushed(server) == [b"line 9000"]
    assert all(int(request.query["limit"]) <= 5000 for request in holding.queries)


async def test_a_time_that_holds_none_of_ours_is_not_asked_for(server: Server, asking: Loki) -> None:
    batch = spread(0.9, 0.5, 0.4999, 0)
    at = [record.time_ns or 0 for record in batch.records]
    others = [({"app": "a", "host": "x"}, time_ns, "line 0") for time_ns in range(at[0] + 1, at[3], 10**8)]
    server.answer = holding = Holding(*others, *[({"app": "a"}, time_ns, f"line {n}") for n, time_ns in enumerate(at)])
    await asking.send([repeated(batch)])
    assert lines_pushed(server) == []
    assert len(holding.queries) == 3


async def test_a_page_that_is_too_much_for_loki_is_asked_for_in_smaller_ones(server: Server, asking: Loki) -> None:
    held = [({"app": "a"}, READ_AT + n, f"line {n}") for n in range(100)]
    server.answer = Holding(*held, most=10)
    await asking.send([repeated(plain(101))])
    assert lines_pushed(server) == [b"line 100"]


async def test_more_entries_of_one_time_than_a_page_holds_are_pushed_again(server: Server, asking: Loki) -> None:
    others = [({"app": "a", "host": str(n)}, READ_AT, "line 0") for n in range(6000)]
    server.answer = Holding(*others, ({"app": "a"}, READ_AT, "line 0"), ({"app": "a"}, READ_AT + 1, "line 1"))
    await asking.send([repeated(plain(3))])
    assert lines_pushed(server) == [b"line 0", b"line 2"]


async def test_what_arrives_between_two_looks_is_not_pushed_again(server: Server, asking: Loki) -> None:
    holding = Holding()

    def answer(request: web.Request, entries: list[Pushed]) -> web.Response:
        response = holding(request, entries)
        holding.held = (({"app": "a"}, READ_AT, "line 0"),)
        return response

    server.answer = answer
    await asking.send([repeated(plain(1))])
    assert (lines_pushed(server), len(holding.queries)) == ([], 2)


WEATHER = [
    pytest.param(lambda: web.Response(status=503), id="503"),
    pytest.param(lambda: web.Response(status=429), id="429"),
    pytest.param(lambda: web.Response(text='{"data"', content_type="application/json"), id="cut short"),
]
REFUSALS = [
    pytest.param(lambda: web.Response(status=403), id="not allowed"),
    pytest.param(lambda: web.Response(status=400, text="the query time range exceeds the limit"), id="a limit"),
    pytest.param(lambda: web.Response(text="<html>"), id="a login page"),
    pytest.param(lambda: web.json_response({"status": "success"}), id="no data"),
    pytest.param(lambda: web.json_response({"data": {"result": [{"metric": {}, "value": [1, "2"]}]}}), id="a metric"),
    pytest.param(lambda: web.json_response([]), id="a list"),
]


@pytest.mark.parametrize("answer", WEATHER)
async def test_until_loki_can_be_asked_nothing_is_pushed_again(
    server: Server, asking: Loki, answer: Callable[[], web.Response]
) -> None:
    server.answer = lambda request, entries: answer() if request.method == "GET" else web.Response(status=204)
    batch = repeated(plain(2))
    for _ in range(5):
        with pytest.raises(OSError, match=r"Loki answers|cut short"):
            await asking.send([batch])
    server.answer = Holding(({"app": "a"}, READ_AT, "line 0"))
    await asking.send([batch])
    assert lines_pushed(server) == [b"line 1"]


@pytest.mark.parametrize("answer", REFUSALS)
async def test_where_loki_will_never_tell_everything_is_pushed_again(
    server: Server, asking: Loki, answer: Callable[[], web.Response]
) -> None:
    server.answer = lambda request, entries: answer() if request.method == "GET" else web.Response(status=204)
    await asking.send([repeated(plain(2))])
    assert lines_pushed(server) == [b"line 0", b"line 1"]


@pytest.mark.parametrize(
    ("status", "text", "asked"),
    [
        (500, "weather", True),
        (504, "weather", True),
        (429, "Maximum active stream limit exceeded", True),
        (429, "Ingestion rate limit exceeded for user fake (limit: 1 bytes/sec) while attempting to ingest", False),
        (401, "no token", False),
        (302, "go to /login", True),
    ],
)
async def test_a_push_of_which_something_may_be_there_is_asked_for_before_it_is_repeated(
    server: Server, asking: Loki, status: int, text: str, asked: bool
) -> None:
    holding = Holding(({"app": "a"}, READ_AT, "line 0"))
    server.answer = lambda request, entries: web.Response(status=status, text=text)
    batch = plain(2)
    with pytest.raises(OSError, match=str(status)):
        await asking.send([batch])
    server.answer = holding
    await asking.send([batch])
    assert bool(holding.queries) == asked
    assert [len(push) for push in server.pushes] == [2, 1 if asked else 2]


async def test_a_push_that_was_never_sent_is_not_asked_for(server: Server, asking: Loki) -> None:
    there, asking._http = asking._http, Client("http://127.0.0.1:1", headers={}, timeout=30)
    batch = plain(2)
    with pytest.raises(NotSent, match="cannot connect"):
        await asking.send([batch])
    asking._http = there
    server.answer = holding = Holding()
    await asking.send([batch])
    assert (lines_pushed(server), holding.queries) == ([b"line 0", b"line 1"], [])


async def test_the_parts_of_a_refused_push_are_asked_for(server: Server, asking: Loki) -> None:
    holding = Holding(*[({"app": "a"}, READ_AT + n, f"line {n}") for n in range(100) if n != 7])
    refuse = refusing(b"line 7")
    server.answer = lambda request, entries: (holding if request.method == "GET" else refuse)(request, entries)
    with pytest.raises(Rejected) as caught:
        await asking.send([plain(100)])
    assert [record.line for record, _ in caught.value.records] == [b"line 7"]
    assert [len(push) for push in server.pushes] == [100, 1]


@pytest.mark.parametrize(
    ("path", "where"),
    [
        ("", "http://loki:3100/loki/api/v1/query_range"),
        ("/a/loki/api/v1/push?x=1", "http://loki:3100/a/loki/api/v1/query_range?x=1"),
        ("/custom/push", ""),
    ],
)
def test_where_to_ask_follows_from_where_to_push(path: str, where: str) -> None:
    sink = sink_at("http://loki:3100" + path, reconcile=True)
    assert queries(sink._push_url) == where
    assert list(sink.check()) == []


async def test_the_probe_pushes_nothing(server: Server, sink: Loki) -> None:
    await sink.probe()
    assert server.pushes == [[]]


@pytest.mark.parametrize(
    ("status", "message", "option"),
    [
        (401, "Loki answers 401", "tenant"),
        (403, "Loki answers 403", "tenant"),
        (404, "answers 404: there is no Loki at this path", "url"),
        (302, "answers 302: there is no Loki at this path", "url"),
    ],
)
async def test_what_will_never_work_is_found_by_the_probe(
    server: Server, sink: Loki, status: int, message: str, option: str
) -> None:
    server.answer = lambda request, entries: web.Response(status=status, headers={"Location": "/login"})
    with pytest.raises(ProbeError, match=message) as caught:
        await sink.probe()
    assert caught.value.option == option
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("auth", "option"),
    [
        ({"bearer": Secret(TOKEN, "env TOKEN")}, "bearer"),
        ({"basic_auth": BasicAuth("me", Secret(TOKEN, "env TOKEN"))}, "basic_auth"),
    ],
)
async def test_the_probe_says_which_secret_to_check_and_never_tells_it(
    server: Server, auth: dict[str, Any], option: str
) -> None:
    server.answer = lambda request, entries: web.Response(status=401, text="no")
    sink = sink_at(server.url, **auth)
    await sink.open()
    with pytest.raises(ProbeError, match="Loki answers 401 no; check the token, user and tenant") as caught:
        await sink.probe()
    await sink.close()
    assert caught.value.option == option
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize("status", [204, 400, 422, 429, 500, 503])
async def test_weather_does_not_stop_the_start(server: Server, sink: Loki, status: int) -> None:
    server.answer = lambda request, entries: web.Response(status=status)
    await sink.probe()
    assert len(server.requests) == 1


async def test_nobody_there_is_found_by_the_probe() -> None:
    sink = sink_at("http://127.0.0.1:1")
    await sink.open()
    with pytest.raises(ProbeError, match=r"cannot reach Loki: .*127\.0\.0\.1") as caught:
        await sink.probe()
    assert caught.value.option == "url"
    await sink.close()


async def test_certificate_files_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("not a certificate")
    for ca in ("ca.pem", "missing.pem"):
        sink = sink_at("https://127.0.0.1:1", tls=Tls(ca=str(tmp_path / ca)))
        with pytest.raises(ProbeError, match=r"cannot use these files: .+") as caught:
            await sink.open()
        assert caught.value.option == "tls"
        await sink.close()


@pytest.mark.parametrize("verify", [True, False])
async def test_with_tls_both_sides_show_their_certificates(certificates: Path, verify: bool) -> None:
    pushes = []

    async def take(request: web.Request) -> web.Response:
        pushes.append(await request.read())
        return web.Response(status=204)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "server.pem")
    context.load_verify_locations(certificates / "client.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    app = web.Application()
    app.router.add_post("/loki/api/v1/push", take)
    ca = str(certificates / "server.pem") if verify else ""
    server = TestServer(app, scheme="https", host="127.0.0.1")
    await server.start_server(ssl=context)
    sink = sink_at(str(server.make_url("")).rstrip("/"), tls=Tls(ca, str(certificates / "client.pem"), verify=verify))
    await sink.open()
    await sink.send([plain(1)])
    await sink.close()
    await server.close()
    assert len(pushes) == 1


async def test_a_token_that_cannot_be_sent_is_told_of_but_not_told() -> None:
    sink = sink_at("http://127.0.0.1:1", bearer=Secret(f"{TOKEN}\n", "env TOKEN"))
    with pytest.raises(ProbeError, match="header Authorization has a line break") as caught:
        await sink.open()
    assert TOKEN not in str(caught.value)


def test_certificates_are_checked_unless_told_otherwise() -> None:
    assert Tls().context().check_hostname
    assert not Tls(verify=False).context().check_hostname


@pytest.mark.parametrize(
    ("options", "found"),
    [
        pytest.param({}, [], id="as in the documentation"),
        pytest.param({"url": "https://loki.example/tenant/push"}, [], id="a path"),
        pytest.param({"url": "loki:3100"}, ["url"], id="no scheme"),
        pytest.param({"url": "http://"}, ["url"], id="no host"),
        pytest.param({"url": f"http://me:{TOKEN}@loki:3100"}, ["url"], id="a password in the URL"),
        pytest.param({"url": f"htp://me:{TOKEN}@loki:3100"}, ["url"], id="a password in what is no URL"),
        pytest.param({"labels": {}}, ["labels"], id="no labels"),
        pytest.param({"labels": {f"l{n}": "x" for n in range(16)}}, ["labels"], id="too many labels"),
        pytest.param({"labels": {"a-b": "x"}}, ["labels.a-b"], id="a bad name"),
        pytest.param({"labels": {"__a": "x"}}, ["labels.__a"], id="a reserved name"),
        pytest.param({"labels": {"a": "{trace_id}"}}, ["labels.a"], id="an id as label"),
        pytest.param({"max_line": Size(100)}, ["max_line"], id="no room for a marker"),
        pytest.param({"max_line": None}, [], id="no limit"),
        pytest.param(
            {"bearer": Secret(TOKEN, "env T"), "basic_auth": BasicAuth("me", Secret(TOKEN, "env T"))},
            ["bearer"],
            id="two secrets",
        ),
    ],
)
def test_what_loki_would_refuse_or_suffer_from_is_told(options: dict[str, Any], found: list[str]) -> None:
    problems = list(sink_at(options.pop("url", "http://loki:3100"), **options).check())
    assert [option for option, _ in problems] == found
    assert all(TOKEN not in message for _, message in problems)


def test_it_reads_the_fields_of_labels_metadata_and_match() -> None:
    sink = sink_at("http://x", labels={"app": "{app}-{env}"}, metadata=["trace_id"], match=Match('{level="error"}'))
    assert set(sink.reads()) == {"app", "env", "trace_id", "level"}


async def test_closing_what_was_never_opened_does_nothing() -> None:
    sink = sink_at("http://x")
    await sink.close()
    assert sink._http is None


def test_records_are_not_changed_by_sending_them(read_body: Read) -> None:
    sink = sink_at("http://x", metadata=["trace_id"], line="json")
    batch = batch_with({"app": "a", "trace_id": "t"})
    before = Record(batch.records[0].line, time_ns=READ_AT, parsed=dict(batch.records[0].fields))
    assert len(pushed(read_body, sink, batch)) == 1
    assert batch.records == [before]
